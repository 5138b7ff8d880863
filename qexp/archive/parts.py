"""The part files of an unfinished run: where they are, what is in them. Their format is private.

A part holds tables as the archive will have them, with indices that count from its own first row,
and says in a text dataset what netCDF would say in attributes.
"""

from __future__ import annotations

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
from qexp.archive.jobs import read_partition
from qexp.archive.netcdf import storage
from qexp.archive.pubs import read_pub
from qexp.archive.schema import ARCHIVE_NAME, PARTITIONS, PARTS_NAME
from qexp.archive.tables import ColumnData, TableData
from qexp.core.model import FailureKind, JobState, Partition
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py

    from qexp.core.model import Pub

HEADER: Final = "header.json"
DAMAGED: Final = ".damaged"
COPY_BYTES: Final = 8 * 2**20
_PARTITION: Final = re.compile(r"partition-(\d+)\.h5")
_JOB: Final = re.compile(r"job-(\d+)-(\d+)\.h5")
_BATCH: Final = re.compile(r"batch-(\d+)\.json")
#: Text dataset of a part: JSON, path -> [attributes, column -> [dimensions, attributes, base]].
_CONTENTS: Final = "contents_json"

_log = logging.getLogger(__name__)


class StoredParts:
    """The parts of one run.

    Args:
        run_dir: Folder of the run; nothing is created in it.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = Path(run_dir)
        self._parts = self._run_dir / PARTS_NAME

    @property
    def has_parts(self) -> bool:
        """True where there is something to go on with, or to seal."""
        return (self._parts / HEADER).is_file()

    def read_header(self) -> dict[str, Any]:
        """Return the `RunHeader` that was written, as plain JSON.

        Raises:
            ArchiveError: There is none, or it is damaged.
        """
        if not self.has_parts:
            raise ArchiveError(f"{self._parts} holds no {HEADER}: there is no run in it")
        return read_json(self._parts / HEADER)

    def read_partitions(self) -> tuple[Partition, ...]:
        """Return the partitions that were written, by index.

        Raises:
            ArchiveError: A part is damaged.
        """
        partitions = []
        for path in self.partition_paths().values():
            with open_part(path, PARTITIONS.path) as tables:
                partitions.append(read_partition(tables[PARTITIONS.path].first_row()))
        return tuple(partitions)

    def check_part(self, index: int, sha256: str) -> None:
        """Refuse a partition whose part is not the one that was written.

        Args:
            index: Index of the partition.
            sha256: What `write_partition` returned.

        Raises:
            ArchiveError: The part is missing, or has other bytes.
        """
        path = self.partition_path(index)
        actual = check_digest(path)
        if actual != sha256:
            raise ArchiveError(
                f"{path} is not the one that was planned (SHA-256 {actual[:16]}..., planned "
                f"{sha256[:16]}...): restore it from a copy; its circuits are not submitted"
            )

    def load_isa_pubs(self, partition: Partition) -> list[Pub]:
        """Return the PUBs of a partition as they are to be submitted, equal to what was written.

        Raises:
            ArchiveError: The partition was not written, or is damaged.
        """
        path, workload = self.partition_path(partition.index), partition.workload
        check_digest(path)
        with ArchiveFile(path, is_part=True) as file:
            return [read_pub(file, workload, True, row) for row in range(partition.num_pubs)]

    def job_states(self) -> dict[tuple[int, int], tuple[str, JobState, FailureKind | None]]:
        """Return every attempt whose outcome is on disk.

        A part that cannot be read is left out, and set aside where it is damaged, so that its job
        can be fetched again and the run be sealed.

        Returns:
            (partition, attempt) -> (job id, state, failure).
        """
        states = {}
        for (partition, attempt), path in _numbered(self._parts, _JOB):
            try:
                with open_part(path, "jobs") as tables:
                    row = tables["jobs"].first_row()
            except ArchiveError as error:
                _log.warning("%s; its job counts as not collected", error)
                if isinstance(error, DamagedFileError):
                    with suppress(OSError):
                        path.replace(path.with_name(path.name + DAMAGED))
                continue
            states[partition, attempt] = (row["job_id"], row["state"], row["failure"] or None)
        return states

    def read_batches(self) -> list[dict[str, Any]]:
        """Return every batch, in order: `id`, `follows`, `opened`, `final`.

        Raises:
            ArchiveError: A part is damaged.
        """
        return [read_json(path) for _number, path in _numbered(self._parts, _BATCH)]

    def partition_path(self, index: int) -> Path:
        """Return the path of the part of a partition."""
        return self._parts / f"partition-{index:06d}.h5"

    def partition_paths(self) -> dict[int, Path]:
        """Return partition index -> its part, in order."""
        return {index: path for (index,), path in _numbered(self._parts, _PARTITION)}

    def job_path(self, partition: int, attempt: int) -> Path:
        """Return the path of the part of an attempt."""
        return self._parts / f"job-{partition:06d}-{attempt:02d}.h5"

    def job_paths(self) -> dict[int, list[Path]]:
        """Return partition index -> the parts of its attempts, in order."""
        paths: dict[int, list[Path]] = {}
        for (partition, _attempt), path in _numbered(self._parts, _JOB):
            paths.setdefault(partition, []).append(path)
        return paths

    def batch_path(self, number: int) -> Path:
        """Return the path of the details of a batch."""
        return self._parts / f"batch-{number:03d}.json"

    def paths(self) -> list[Path]:
        """Return every part; what a crash left half-written is none."""
        patterns = (_BATCH, _PARTITION, _JOB)
        found = [path for pattern in patterns for _, path in _numbered(self._parts, pattern)]
        return [self._parts / HEADER, *found] if self.has_parts else found


def recorded_config(run_dir: Path) -> str:
    """Return the resolved config (YAML) with which a run was started, sealed or not.

    Raises:
        ArchiveError: There is no run in the folder, or what is there is damaged.
    """
    stored = StoredParts(run_dir)
    if stored.has_parts or not (run_dir / ARCHIVE_NAME).is_file():
        return str(stored.read_header()["config_yaml"])
    from qexp.archive.read import open_archive

    with open_archive(run_dir) as run:
        return run.config_yaml


def read_json(path: Path) -> dict[str, Any]:
    """Read a part that is JSON.

    Raises:
        ArchiveError: It is missing or damaged.
    """
    loaded: dict[str, Any] = json.loads(read_with_digest(path))
    return loaded


@contextmanager
def open_part(path: Path, *only: str, is_checked: bool = False) -> Iterator[dict[str, TableData]]:
    """Open a part and yield its tables by path, with open datasets as values.

    Args:
        path: Path of the part.
        only: The tables that are wanted; all of them where none is named.
        is_checked: True where its bytes are known to be those that were written.

    Raises:
        ArchiveError: The part is missing or damaged; nothing in it has been read then.
    """
    import h5py

    if not is_checked:
        check_digest(path)
    with h5py.File(path, "r") as file:
        contents = json.loads(file[_CONTENTS].asstr()[()])
        yield {
            table: TableData(
                {
                    name: ColumnData(_dataset(file, f"{table}/{name}"), tuple(dims), *more)
                    for name, (dims, *more) in columns.items()
                },
                attrs,
            )
            for table, (attrs, columns) in contents.items()
            if not only or table in only
        }


def _dataset(file: h5py.File, path: str) -> h5py.Dataset:
    import h5py

    # What `file[path]` does takes four times as long to find out what it opens.
    return h5py.Dataset(h5py.h5d.open(file.id, path.encode()), readonly=True)


def write_tables(file: h5py.File, tables: Mapping[str, TableData]) -> None:
    """Write the tables of a part. Columns without elements are left out."""
    import h5py

    contents: dict[str, Any] = {}
    for path, table in tables.items():
        group = file.require_group(path)
        present = {name: each for name, each in table.columns.items() if 0 not in each.shape}
        for name, column in present.items():
            if column.is_text:
                text_type = h5py.string_dtype("utf-8")
                group.create_dataset(name, data=column.texts(), dtype=text_type)
            else:
                data = np.asarray(column.values)
                group.create_dataset(name, data=data, **_storage(data.shape, data.dtype))
        columns = {name: [each.dims, dict(each.attrs), each.base] for name, each in present.items()}
        contents[path] = [dict(table.attrs), columns]
    file[_CONTENTS] = json.dumps(contents)


def _storage(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return chunks and filters of rows that merging copies compressed; none for others."""
    options = storage(shape, dtype)
    return options if options.get("chunks", (0,))[0] == 1 else {}


def copy_rows(source: ColumnData, target: h5py.Dataset, start: int, shift: int = 0) -> None:
    """Append a column's rows to `target` from row `start`, in bounded memory.

    Rows that have chunks of their own are copied compressed, as they are.

    Args:
        source: The column of a part.
        target: The dataset of the archive.
        start: First row to write.
        shift: Added to every value.
    """
    values: Any = source.values
    count = source.shape[0]
    if source.is_text:
        # Texts of a part stay what they are: UTF-8 bytes.
        texts = np.array(values, dtype=object) if isinstance(values, list) else values[:]
        target[start : start + count] = texts
        return
    chunks = getattr(values, "chunks", None)
    if chunks is not None and chunks[0] == 1 and chunks == target.chunks and not shift:
        _copy_chunks(values, target, start)
        return
    row_bytes = max(1, math.prod(source.shape[1:]) * values.dtype.itemsize)
    step = max(1, COPY_BYTES // row_bytes)
    for first in range(0, count, step):
        block = values[first : first + step]
        target[start + first : start + first + len(block)] = block + shift if shift else block


def _copy_chunks(source: h5py.Dataset, target: h5py.Dataset, start: int) -> None:
    grid = [range(0, size, step) for size, step in zip(source.shape, source.chunks, strict=True)]
    for cell in np.ndindex(*(len(axis) for axis in grid)):
        offset = tuple(axis[k] for axis, k in zip(grid, cell, strict=True))
        filter_mask, raw = source.id.read_direct_chunk(offset)
        target.id.write_direct_chunk((offset[0] + start, *offset[1:]), raw, filter_mask)


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[tuple[tuple[int, ...], Path]]:
    """Return the files whose names match, with the numbers in their names, in that order."""
    paths = folder.iterdir() if folder.is_dir() else ()
    matches = [(pattern.fullmatch(path.name), path) for path in paths]
    return sorted((tuple(map(int, match.groups())), path) for match, path in matches if match)
