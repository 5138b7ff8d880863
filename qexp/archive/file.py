"""Access to an archive's file: open it, read texts, numbers, columns and cells, or say why not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import numpy as np

from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME, SCHEMA
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

#: Reading a column costs about as much as so many of its values one by one.
_FEW: Final = 16

P = ParamSpec("P")
T = TypeVar("T")


class ArchiveFile:
    """An open archive. What is damaged, missing or closed raises `ArchiveError`.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._h5 = _open_file(path)
        self._columns: dict[str, Any] = {}
        self._single_reads: Counter[str] = Counter()

    @property
    def is_open(self) -> bool:
        """Whether `close` has not been called."""
        return bool(self._h5)

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        self._h5.close()

    @property
    def _open(self) -> h5py.File:
        if not self._h5:
            msg = f"The archive {self.path} has been closed: open it again with qexp.open_archive."
            raise ArchiveError(msg)
        return self._h5

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what h5py and its callers raise on damaged files into `ArchiveError`."""
        try:
            yield
        except ArchiveError:
            raise
        except Exception as error:
            # A flipped bit makes any name, type, shape or value, and so any exception.
            reason = " ".join(str(error).split())
            msg = f"{self.path} is damaged ({reason}): restore it from a copy."
            raise ArchiveError(msg) from error

    def guarded(self, read: Callable[P, T]) -> Callable[P, T]:
        """`read`, called within `reading`."""

        @wraps(read)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.reading():
                return read(*args, **kwargs)

        return guarded

    def attribute(self, group: str, name: str) -> Any:
        """An attribute: text, or a NumPy scalar."""
        with self.reading():
            value = self._open[group].attrs[name]
        return value if isinstance(value, str) else np.ravel(value)[0]

    def text(self, path: str) -> str:
        """One text, stored as a string or as UTF-8 bytes."""
        with self.reading():
            dataset = self._open[path]
            if dataset.dtype.kind == "S":
                return str(dataset[:].tobytes().decode("utf-8"))
            return str(dataset.asstr()[()])

    def document(self, path: str) -> Any:
        """One JSON document."""
        text = self.text(path)
        with self.reading():
            return json.loads(text)

    def texts(self, path: str) -> list[str]:
        """A column of texts, empty where it was left out."""
        with self.reading():
            return list(self._open[path].asstr()[:]) if path in self._open else []

    def count(self, path: str) -> int:
        """Length of a column, 0 where it was left out."""
        with self.reading():
            return int(self._open[path].shape[0]) if path in self._open else 0

    def column(self, path: str) -> NDArray[Any]:
        """A whole column, read once."""
        if path not in self._columns:
            with self.reading():
                dataset = self._open[path]
                values = dataset.asstr()[:] if dataset.dtype.kind == "O" else dataset[:]
            self._columns[path] = values
        return self._columns[path]

    def cell(self, path: str, row: int) -> Any:
        """One value of a column, without reading the others."""
        with self.reading():
            dataset = self._open[path]
            return dataset.asstr()[row] if dataset.dtype.kind == "O" else dataset[row]

    def value(self, path: str, row: int) -> Any:
        """As `cell`, of a column that is small enough to be read once several were asked for."""
        self._single_reads[path] += 1
        if path in self._columns or self._single_reads[path] > _FEW:
            return self.column(path)[row]
        return self.cell(path, row)

    def rows(self, path: str, start: int, stop: int) -> NDArray[Any]:
        """Part of a numeric column, empty where the column was left out."""
        with self.reading():
            return self._open[path][start:stop] if path in self._open else np.empty(0, "u1")

    def group(self, path: str) -> h5py.Group:
        """A group, for reading it within `reading`."""
        group: h5py.Group = self._open[path]
        return group

    def groups(self, path: str) -> list[str]:
        """Names of the groups in a group, none where it was left out."""
        import h5py

        with self.reading():
            items = self._open[path].items() if path in self._open else ()
            return [name for name, item in items if isinstance(item, h5py.Group)]

    def columns(self, path: str) -> list[str]:
        """Names of a table's columns, none where it was left out."""
        import h5py

        with self.reading():
            items = self._open[path].items() if path in self._open else ()
            return [n for n, item in items if isinstance(item, h5py.Dataset) and _is_column(item)]


def locate(path: Path) -> Path:
    """The archive's file, given the file or the run's folder.

    Raises:
        ArchiveError: There is none.
    """
    if path.is_dir():
        if (path / ARCHIVE_NAME).is_file():
            return path / ARCHIVE_NAME
        if (path / PARTS_NAME).is_dir():
            msg = f"The run in {path} is not sealed yet: its parts are in {path / PARTS_NAME}."
            raise ArchiveError(msg)
        msg = f"There is no {ARCHIVE_NAME} in {path}: name a run's folder or its archive."
        raise ArchiveError(msg)
    if not path.is_file():
        msg = f"There is no archive {path}: no such file. Runs are in outputs/EXPERIMENT/RUN_ID/."
        raise ArchiveError(msg)
    return path


def _open_file(path: Path) -> h5py.File:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        kind = "cannot be opened" if h5py.is_hdf5(path) else "is not an HDF5 file"
        msg = f"{path} {kind} ({' '.join(str(error).split())})."
        raise ArchiveError(msg) from error
    try:
        schema = file.attrs.get("qexp_schema")
    except Exception as error:
        file.close()
        msg = f"{path} is damaged ({' '.join(str(error).split())}): restore it from a copy."
        raise ArchiveError(msg) from error
    if not isinstance(schema, str):
        file.close()
        msg = f"{path} is an HDF5 file but not a qexp archive (no attribute 'qexp_schema')."
        raise ArchiveError(msg)
    if schema.partition(".")[0] != SCHEMA.partition(".")[0]:
        file.close()
        msg = f"{path} has schema {schema}; this qexp reads {SCHEMA}: install one that reads it."
        raise ArchiveError(msg)
    return file


def _is_column(item: Any) -> bool:
    # Dimensions without a coordinate are datasets too, as netCDF stores them.
    label = item.attrs.get("NAME", b"")
    return b"This is a netCDF dimension" not in (label if isinstance(label, bytes) else b"")
