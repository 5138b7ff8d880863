"""Access to the file of an archive: open it, read columns and cells, sequences that read lazily."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

import numpy as np

from qexp.archive.atomic_files import DamagedFileError
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME, REPORT_NAME, SCHEMA
from qexp.errors import ArchiveError
from qexp.text import one_line

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_MAX_SINGLE_READS: Final = 16
"""Single values of a column to read before the whole column is read and kept."""


class ArchiveFile:
    """An open archive, or a part (`is_part`) of an unfinished run, which states no schema.

    `opened` is the file of `open_hdf5`, where it is open already.

    Opening it and every method raise `ArchiveError` if the file is damaged, closed or of another
    version, or lacks what is read.
    """

    def __init__(
        self, path: Path, opened: h5py.File | None = None, *, is_part: bool = False
    ) -> None:
        self.path = path
        self._h5 = open_hdf5(path) if opened is None else opened
        #: True until `close` is called.
        self.is_open = True
        if not is_part:
            _check_schema(path, self._h5)
        self._names: dict[str, list[str]] = {}
        self._datasets: dict[str, Any] = {}
        self._columns: dict[str, Any] = {}
        self._single_reads: Counter[str] = Counter()
        self._max_single_reads = 0 if is_part else _MAX_SINGLE_READS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def minor(self) -> int:
        """Minor version of its schema."""
        minor = str(self.attribute("/", "qexp_schema")).partition(".")[2]
        return int(minor) if minor.isdecimal() else 0

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        self.is_open = False
        self._h5.close()

    @contextmanager
    def reading(self) -> Iterator[h5py.File]:
        """Yield the root; turn what h5py raises on damaged files into `ArchiveError`.

        Also a decorator: `file.reading()(function)`.
        """
        if not self.is_open:
            raise ArchiveError(f"{self.path} has been closed: open it with qexp.open_archive")
        try:
            yield self._h5
        except ArchiveError:
            raise
        except Exception as error:
            # A flipped bit makes any name, type, shape or value, and so any exception.
            raise _damaged(self.path, error) from error

    def attribute(self, group: str, name: str) -> Any:
        """Return an attribute: text, or a NumPy scalar."""
        with self.reading() as root:
            return _attribute(root, group, name)

    def text(self, path: str) -> str:
        """Return one text, stored as a string or as UTF-8 bytes."""
        with self.reading() as root:
            values = _values(_dataset(root, path))
            return values.tobytes().decode() if values.dtype.kind == "S" else str(values[()])

    def document(self, path: str) -> Any:
        """Return one JSON document, parsed."""
        text = self.text(path)
        with self.reading():
            return json.loads(text)

    def texts(self, path: str) -> list[str]:
        """Return a column of texts, empty if it was left out."""
        if path in self._columns:
            return list(self._columns[path])
        with self.reading() as root:
            stored = _dataset(root, path)
            return [] if stored is None else list(_values(stored))

    def numbers(self, path: str) -> NDArray[Any]:
        """Return a column of numbers, empty if it was left out."""
        with self.reading() as root:
            stored = None if path in self._columns else _dataset(root, path)
            if stored is not None:
                self._columns[path] = _values(stored)
        return self._columns.get(path, np.empty(0))

    def count(self, path: str) -> int:
        """Return the length of a column, 0 if it was left out."""
        with self.reading() as root:
            stored = _dataset(root, path)
            return 0 if stored is None else int(stored.shape[0])

    def column(self, path: str) -> NDArray[Any]:
        """Return a whole column, read once."""
        if path not in self._columns:
            with self.reading() as root:
                self._columns[path] = _values(_dataset(root, path))
        return self._columns[path]

    def hold(self, path: str, values: NDArray[Any]) -> None:
        """Keep a column that is not in a dataset of its own."""
        self._columns[path] = values

    def cell(self, path: str, row: int | slice) -> Any:
        """Return one value of a column, or a slice of it, without reading the others."""
        with self.reading() as root:
            if path in self._columns:
                return self._columns[path][row]
            if path not in self._datasets:
                dataset = root[path]
                self._datasets[path] = dataset.asstr() if dataset.dtype.kind == "O" else dataset
            return self._datasets[path][row]

    def cached_cell(self, path: str, row: int) -> Any:
        """Return one value of a small column, which is read as a whole after a few values."""
        self._single_reads[path] += 1
        if path in self._columns or self._single_reads[path] > self._max_single_reads:
            return self.column(path)[row]
        return self.cell(path, row)

    def group(self, path: str) -> Any:
        """Return a group (or a dataset), to be read within `reading`."""
        with self.reading() as root:
            return root[path]

    def groups(self, path: str) -> list[str]:
        """Return the names of the groups in a group, none if it was left out."""
        import h5py

        with self.reading() as root:
            items = root[path].items() if path in root else ()
            return [name for name, item in items if isinstance(item, h5py.Group)]

    def columns(self, path: str) -> list[str]:
        """Return the names of the columns of a table, none if it was left out."""
        import h5py

        if path not in self._names:
            with self.reading() as root:
                items = root[path].items() if path in root else ()
                datasets = [(name, item) for name, item in items if isinstance(item, h5py.Dataset)]
                self._names[path] = [name for name, item in datasets if _is_column(item)]
        return self._names[path]


class LazySequence(Sequence[T_co]):
    """A sequence whose items are read when they are asked for. Slices are lists.

    `read` reads one item by its index, `0 <= index < length`; `name` is for messages.
    """

    def __init__(self, length: int, read: Callable[[int], T_co], name: str) -> None:
        self._length = length
        self._read = read
        self._name = name

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T_co: ...

    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...

    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        if isinstance(index, slice):
            return [self._read(k) for k in range(self._length)[index]]
        if not -self._length <= index < self._length:
            raise IndexError(f"{self._name} has {self._length} items, there is no item {index}")
        return self._read(index % self._length)

    def __repr__(self) -> str:
        return f"<{self._name}: {self._length} items>"


class Results(LazySequence[T_co]):
    """The results of one workload, by PUB index. A PUB without result raises `ArchiveError`.

    Those that have one are `available`; in a complete run, all of them.
    """

    def __init__(
        self, available: Sequence[int], length: int, read: Callable[[int], T_co], name: str
    ) -> None:
        super().__init__(length, read, name)
        self.available = tuple(available)


class ByWorkload(dict[str, T]):
    """Something of each workload, by the workload's name."""

    def __missing__(self, workload: str) -> T:
        raise KeyError(f"there is no workload {workload!r}; the workloads are: {', '.join(self)}")


_FILES_OF_A_RUN = frozenset({"run.log", REPORT_NAME, JOURNAL_NAME, PARTS_NAME, "analysis"})


def beside(archive: Path, name: str) -> Path:
    """Return the path of what is made of an archive: no other archive in the folder has the same.

    `name` is its name beside a `run.h5`; beside `mine.h5` it begins with `mine.`.
    """
    return archive.with_name(name if archive.name == ARCHIVE_NAME else f"{archive.stem}.{name}")


def locate(path: Path) -> Path:
    """Return the file of an archive, given the file, the run's folder, or another file in that.

    Raises:
        ArchiveError: There is none.
    """
    if path.is_dir():
        if (path / ARCHIVE_NAME).is_file():
            return path / ARCHIVE_NAME
        if (path / PARTS_NAME).is_dir():
            parts = path / PARTS_NAME
            raise ArchiveError(f"the run in {path} is not sealed yet: its parts are in {parts}")
        raise ArchiveError(
            f"there is no {ARCHIVE_NAME} in {path}: name a run's folder or its archive"
        )
    archive = path.with_name(ARCHIVE_NAME)
    if path.name in _FILES_OF_A_RUN and archive.is_file():
        raise ArchiveError(f"{path} is no archive: the archive of that run is {archive}")
    if not path.is_file():
        raise ArchiveError(
            f"there is no archive {path}: no such file; runs are in outputs/EXPERIMENT/RUN_ID/"
        )
    return path


def _dataset(root: h5py.File, path: str) -> Any:
    """Open a dataset by HDF5's own function, quicker than h5py's objects; None: it was left out."""
    import h5py

    try:
        return h5py.h5d.open(root.id, path.encode())
    except KeyError:
        # Damage raises it as well.
        if path in root:
            raise
        return None


def _values(stored: Any) -> NDArray[Any]:
    import h5py

    values = np.empty(stored.shape, stored.dtype)
    if values.size:
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    if values.dtype.kind == "O":
        values[...] = np.array([text.decode() for text in values.flat], object).reshape(
            values.shape
        )
    return values


def open_hdf5(path: Path) -> h5py.File:
    """Open a file to be read; nothing in it is read yet.

    Raises:
        DamagedFileError: It is no HDF5 file, or too damaged to be opened.
    """
    import h5py

    try:
        # In half of the time that `h5py.File` takes to open it.
        return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY))
    except OSError as error:
        kind = "cannot be opened" if h5py.is_hdf5(path) else "is not an HDF5 file"
        raise DamagedFileError(f"{path} {kind} ({one_line(error)})") from error


def _check_schema(path: Path, file: h5py.File) -> None:
    import h5py

    try:
        is_there = h5py.h5a.exists(file.id, b"qexp_schema")
        schema = _attribute(file, "/", "qexp_schema") if is_there else None
    except Exception as error:
        file.close()
        raise _damaged(path, error) from error
    if not isinstance(schema, str):
        reason = "is an HDF5 file but not a qexp archive (no attribute 'qexp_schema')"
    elif schema.partition(".")[0] != SCHEMA.partition(".")[0]:
        reason = f"has schema {schema}; this qexp reads {SCHEMA}: install one that reads it"
    else:
        return
    file.close()
    raise ArchiveError(f"{path} {reason}")


def _attribute(root: h5py.File, group: str, name: str) -> Any:
    import h5py

    stored = h5py.h5a.open(root.id, name.encode(), obj_name=group.encode())
    values = np.empty(stored.shape, stored.dtype)
    stored.read(values)
    value = values.flat[0]
    return value.decode() if isinstance(value, bytes) else value


def _damaged(path: Path, error: Exception) -> ArchiveError:
    return ArchiveError(f"{path} is damaged ({one_line(error)}): restore it from a copy")


def _is_column(item: Any) -> bool:
    # Dimensions without a coordinate are datasets too, as netCDF stores them.
    label = item.attrs.get("NAME", b"")
    return b"This is a netCDF dimension" not in (label if isinstance(label, bytes) else b"")
