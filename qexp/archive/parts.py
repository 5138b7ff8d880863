"""The part files of an unfinished run: paths, content, copying. Their format is private.

A part holds tables as the archive will have them, with indices that count from its own first row.
A text dataset keeps what netCDF would keep in attributes, and the values of small columns: each
dataset of its own would take longer than what is in it.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.atomic_files import DamagedFileError, check_digest, read_with_digest
from qexp.archive.jobs import charge_of, read_partition, sealed_charges, sealed_partitions
from qexp.archive.netcdf import storage, write_rows
from qexp.archive.pubs import read_pub, submitted_digests
from qexp.archive.schema import ARCHIVE_NAME, JOBS, PARTITIONS, PARTS_NAME, PUBS
from qexp.archive.tables import ColumnData, TableData
from qexp.core.model import Charge, FailureKind, JobState, Partition
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    from qexp.core.model import Pub

HEADER: Final = "header.json"
DAMAGED: Final = ".damaged"
COPY_BYTES: Final = 8 * 2**20
_NAMES: Final = {
    "batch": "batch-{:03d}.json",
    "partition": "partition-{:06d}.h5",
    "job": "job-{:06d}-{:02d}.h5",
}
"""Kind of a part -> its name, with the number of the batch, the partition, and the attempt."""
_CONTENTS: Final = "contents_json"
"""Text dataset of a part: JSON, path -> [attributes, column -> [dimensions, attributes, base]].

A small column has three entries more: type (`""` for texts), shape, values (of numbers, base64).
"""
_MOST_INLINE_BYTES: Final = 1024

_log = logging.getLogger(__name__)


class StoredParts:
    """The parts of one run. Reading one that is missing or damaged raises `ArchiveError`."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    @property
    def _parts(self) -> Path:
        # Made anew, as there may be thousands of runs.
        return self._run_dir / PARTS_NAME

    @property
    def has_header(self) -> bool:
        """True if the run was recorded, so that it can be resumed or sealed."""
        return (self._parts / HEADER).is_file()

    @property
    def _sealed(self) -> Path | None:
        """The archive of a run whose parts are merged, None if there are parts."""
        archive = self._run_dir / ARCHIVE_NAME
        return archive if not self.has_header and archive.is_file() else None

    def read_header(self) -> dict[str, Any]:
        """Return the `RunHeader` that was written, as plain JSON."""
        if not self.has_header:
            raise ArchiveError(f"{self._parts} holds no {HEADER}: there is no run in it")
        return read_json(self._parts / HEADER)

    def read_batches(self) -> list[dict[str, Any]]:
        """Return every batch, in order: `id`, `follows`, `opened`, `final`."""
        return [read_json(path) for path in self.numbered("batch").values()]

    def read_partitions(self) -> tuple[Partition, ...]:
        """Return the partitions that were written, by index; those of a sealed run, too."""
        if (sealed := self._sealed) is not None:
            with ArchiveFile(sealed) as file:
                return sealed_partitions(file)
        paths = self.numbered("partition").values()
        return tuple(read_partition(first_row(path, PARTITIONS.path)) for path in paths)

    def check_part(self, index: int, sha256: str) -> None:
        """Refuse the part of a partition without the digest that `write_partition` returned."""
        path = self.path("partition", index)
        actual = check_digest(path)
        if actual != sha256:
            raise ArchiveError(
                f"{path} is not the one that was planned (SHA-256 {actual[:16]}..., planned "
                f"{sha256[:16]}...): restore it from a copy; its circuits are not submitted"
            )

    def load_isa_pubs(self, partition: Partition) -> list[Pub]:
        """Return the PUBs of a partition, or of a piece of it, ready to be submitted."""
        with _open_rows(self.path("partition", partition.index)) as file:
            rows = self._rows(file, partition)
            return [read_pub(file, partition.workload, True, row) for row in rows]

    def pub_digests(self, partition: Partition) -> list[str]:
        """Return the digest of each PUB of a partition, as submitted; no circuit is decoded."""
        if (sealed := self._sealed) is not None:
            with ArchiveFile(sealed) as file:
                return submitted_digests(file, partition.workload)[partition.first : partition.stop]
        with _open_rows(self.path("partition", partition.index)) as file:
            digests = submitted_digests(file, partition.workload)
            return [digests[row] for row in self._rows(file, partition)]

    @staticmethod
    def _rows(file: ArchiveFile, partition: Partition) -> range:
        """Return the rows of a part that a partition, or a piece of it, has."""
        before = int(file.column(f"{PUBS.at(partition.workload)}/pub")[0])
        return range(partition.first - before, partition.stop - before)

    def job_states(self) -> dict[tuple[int, int], tuple[str, JobState, FailureKind | None]]:
        """Return the outcomes on disk: (partition, attempt) -> (job id, state, failure).

        A part that cannot be read is left out, and set aside if it is damaged, so that its job can
        be fetched again and the run be sealed.
        """
        states = {}
        for (partition, attempt), path in self.numbered("job").items():
            try:
                row = first_row(path, JOBS.path)
            except ArchiveError as error:
                _log.warning("%s; its job counts as not collected", error)
                if isinstance(error, DamagedFileError):
                    with suppress(OSError):
                        path.replace(path.with_name(path.name + DAMAGED))
                continue
            states[partition, attempt] = (row["job_id"], row["state"], row["failure"] or None)
        return states

    def charges(self) -> dict[tuple[int, int], Charge]:
        """Return what the outcomes on disk were charged: (partition, attempt) -> charge.

        Outcomes that cannot be read are left out, and no file is changed.
        """
        charges = {}
        if (sealed := self._sealed) is not None:
            with ArchiveFile(sealed) as file:
                return sealed_charges(file)
        for (partition, attempt), path in self.numbered("job").items():
            # The process that works on the run may seal it meanwhile.
            with suppress(ArchiveError, OSError):
                row = first_row(path, JOBS.path)
                charges[partition, attempt] = charge_of(row["usage_s"], row["metrics_json"])
        return charges

    def path(self, kind: str, *numbers: int) -> Path:
        """Return the path of a part: a `batch`, a `partition`, or a `job` (partition, attempt)."""
        return self._parts / _NAMES[kind].format(*numbers)

    def numbered(self, kind: str) -> dict[tuple[int, ...], Path]:
        """Return the parts of a kind by the numbers in their names, in that order."""
        pattern = re.compile(re.sub(r"\{.*?\}", r"(\\d+)", _NAMES[kind].replace(".", r"\.")))
        paths = self._parts.iterdir() if self._parts.is_dir() else ()
        matches = [(pattern.fullmatch(path.name), path) for path in paths]
        return dict(sorted((tuple(map(int, m.groups())), path) for m, path in matches if m))

    def paths(self) -> list[Path]:
        """Return every part; temporary files that a crash left are not among them."""
        header = [self._parts / HEADER] if self.has_header else []
        return [*header, *(path for kind in _NAMES for path in self.numbered(kind).values())]


def read_config_yaml(run_dir: Path) -> str:
    """Return the resolved config (YAML) with which a run was started, sealed or not.

    Raises:
        ArchiveError: There is no run in the folder, or what is there is damaged.
    """
    stored = StoredParts(run_dir)
    if stored.has_header or not (run_dir / ARCHIVE_NAME).is_file():
        return str(stored.read_header()["config_yaml"])
    with ArchiveFile(run_dir / ARCHIVE_NAME) as file:
        return file.text("config/resolved_yaml")


def read_json(path: Path) -> dict[str, Any]:
    """Read a part that is JSON."""
    return json.loads(read_with_digest(path))


def first_row(path: Path, table: str) -> dict[str, Any]:
    """Return the first row of a table of a part, by column, after a check of the part.

    Raises:
        ArchiveError: The part is missing or damaged; nothing in it has been read then.
    """
    check_digest(path)
    with open_part(path, table) as tables:
        return row_of(tables[table])


def row_of(table: TableData) -> dict[str, Any]:
    """Return the first row of a table, by column."""
    return {
        name: column.texts()[0] if column.is_text else column.values[0]
        for name, column in table.columns.items()
    }


@contextmanager
def open_part(path: Path, *only: str) -> Iterator[dict[str, TableData]]:
    """Open a part that was checked; yield its tables (or `only` some) by path, datasets open."""
    import h5py

    with h5py.File(path, "r") as file:
        yield _tables(file, *only)


@contextmanager
def _open_rows(path: Path) -> Iterator[ArchiveFile]:
    """Check a part, and open it to read single rows."""
    check_digest(path)
    with ArchiveFile(path, is_part=True) as file:
        for table, data in _tables(file.group("/")).items():
            for name, column in data.columns.items():
                if isinstance(column.values, np.ndarray):
                    file.hold(f"{table}/{name}", column.values)
        yield file


def _tables(file: h5py.File, *only: str) -> dict[str, TableData]:
    import h5py

    def column(path: str, dims: list[str], attrs: Any, base: str, *inline: Any) -> ColumnData:
        # What `file[path]` does takes four times as long to find out what it opens.
        values = (
            _from_inline(*inline)
            if inline
            else h5py.Dataset(h5py.h5d.open(file.id, path.encode()), readonly=True)
        )
        return ColumnData(values, tuple(dims), attrs, base)

    return {
        path: TableData(
            {name: column(f"{path}/{name}", *stored) for name, stored in columns.items()}, attrs
        )
        for path, (attrs, columns) in json.loads(file[_CONTENTS].asstr()[()]).items()
        if not only or path in only
    }


def write_tables(file: h5py.File, tables: Mapping[str, TableData]) -> None:
    """Write the tables of a part. Columns without elements are left out."""
    import h5py

    contents: dict[str, Any] = {}
    for path, table in tables.items():
        columns = {}
        for name, column in table.columns.items():
            data = np.asarray(column.values)
            if 0 in data.shape:
                continue
            inline = _as_inline(data)
            columns[name] = [column.dims, dict(column.attrs), column.base, *inline]
            if inline:
                continue
            dtype = h5py.string_dtype("utf-8") if column.is_text else data.dtype
            options = storage(data.shape, data.dtype)
            # Merging copies only rows with chunks of their own as they are.
            has_own_chunks = options.get("chunks", (0,))[0] == 1
            file.create_dataset(
                f"{path}/{name}", data.shape, dtype, data, **options if has_own_chunks else {}
            )
        contents[path] = [dict(table.attrs), columns]
    file[_CONTENTS] = json.dumps(contents)


def _as_inline(data: NDArray[Any]) -> tuple[Any, ...]:
    """Return type, shape and values of a small column, nothing of a large one."""
    if data.dtype.kind == "O":
        is_small = sum(map(len, data.ravel())) <= _MOST_INLINE_BYTES
        return ("", data.shape, data.tolist()) if is_small else ()
    if data.nbytes > _MOST_INLINE_BYTES:
        return ()
    return data.dtype.str, data.shape, base64.b64encode(data.tobytes()).decode("ascii")


def _from_inline(dtype: str, shape: Sequence[int], values: Any) -> NDArray[Any]:
    if not dtype:
        return np.array(values, object)
    return np.frombuffer(base64.b64decode(values), dtype).reshape(shape)


def copy_rows(source: ColumnData, target: h5py.Dataset, start: int, shift: int = 0) -> None:
    """Copy a column of a part to the archive from row `start` on, in bounded memory.

    Rows that have chunks of their own are copied compressed, as they are. `shift` is added to
    every value.
    """
    values: Any = source.values
    chunks = getattr(values, "chunks", None)
    if source.is_text or not source.dims:
        # Texts of a part stay what they are: UTF-8 bytes.
        write_rows(target, np.asarray(values[()], values.dtype), start)
    elif chunks is not None and chunks[0] == 1 and chunks == target.chunks and not shift:
        _copy_chunks(values, target, start)
    else:
        row_bytes = max(1, math.prod(values.shape[1:]) * values.dtype.itemsize)
        step = max(1, COPY_BYTES // row_bytes)
        for first in range(0, len(values), step):
            block = values[first : first + step]
            write_rows(target, block + block.dtype.type(shift) if shift else block, start + first)


def _copy_chunks(source: h5py.Dataset, target: h5py.Dataset, start: int) -> None:
    grid = [range(0, size, step) for size, step in zip(source.shape, source.chunks, strict=True)]
    for cell in np.ndindex(*(len(axis) for axis in grid)):
        offset = tuple(axis[k] for axis, k in zip(grid, cell, strict=True))
        filter_mask, raw = source.id.read_direct_chunk(offset)
        target.id.write_direct_chunk((offset[0] + start, *offset[1:]), raw, filter_mask)
