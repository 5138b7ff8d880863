"""What the parts of a run say, for a process that goes on with it. Their layout is private."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.commit import DamagedPartError, check_part_file, read_part_file
from qexp.archive.pubs import load_pub
from qexp.archive.records import partition_of
from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME
from qexp.archive.tables import Table, read_part
from qexp.core.model import FailureKind, JobState, Partition
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qexp.core.model import Pub

HEADER: Final = "header.json"
DAMAGED: Final = ".damaged"
_PARTITION: Final = re.compile(r"partition-(\d+)\.h5")
_JOB: Final = re.compile(r"job-(\d+)-(\d+)\.h5")
_BATCH: Final = re.compile(r"batch-(\d+)\.json")

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
        """Whether there is something to go on with, or to seal."""
        return (self._parts / HEADER).is_file()

    def read_header(self) -> dict[str, Any]:
        """The `RunHeader` that was written, as plain JSON.

        Raises:
            ArchiveError: There is none, or it is damaged.
        """
        if not self.has_parts:
            msg = f"{self._parts} holds no {HEADER}: there is no run in it."
            raise ArchiveError(msg)
        return read_json(self._parts / HEADER)

    def read_partitions(self) -> tuple[Partition, ...]:
        """The partitions that were written, by index.

        Raises:
            ArchiveError: A part is damaged.
        """
        found = []
        for (_index,), path in numbered(self._parts, _PARTITION):
            with open_part(path, "partitions") as tables:
                found.append(partition_of(cells(tables["partitions"])))
        return tuple(found)

    def check_part(self, index: int, sha256: str) -> None:
        """Refuse a partition whose part is not the one that was written.

        Args:
            index: Index of the partition.
            sha256: What `write_partition` returned.

        Raises:
            ArchiveError: The part is missing, or has other bytes.
        """
        path = self.partition_path(index)
        found = check_part_file(path)
        if found != sha256:
            msg = (
                f"Part {path} is not the one that was planned (SHA-256 {found[:16]}..., planned "
                f"{sha256[:16]}...): restore it from a copy; its circuits are not submitted."
            )
            raise ArchiveError(msg)

    def load_isa_pubs(self, partition: Partition) -> list[Pub]:
        """The PUBs of a partition as they are to be submitted, equal to what was written.

        Raises:
            ArchiveError: The partition was not written, or is damaged.
        """
        path = self.partition_path(partition.index)
        with open_part(path) as tables:
            return list(_isa_pubs(tables, partition.workload, path))

    def job_states(self) -> dict[tuple[int, int], tuple[str, JobState, FailureKind | None]]:
        """Every attempt whose outcome is on disk: (partition, attempt) -> (job id, state, failure).

        A part that cannot be read is left out, and set aside where it is damaged, so that its job
        can be fetched again and the run be sealed.
        """
        states = {}
        for (partition, attempt), path in numbered(self._parts, _JOB):
            try:
                with open_part(path, "jobs") as tables:
                    row = cells(tables["jobs"])
            except ArchiveError as error:
                _log.warning("%s It counts as if its job had not been collected.", error)
                if isinstance(error, DamagedPartError):
                    with suppress(OSError):
                        path.replace(path.with_name(path.name + DAMAGED))
                continue
            states[partition, attempt] = (row["job_id"], row["state"], row["failure"] or None)
        return states

    def partition_path(self, index: int) -> Path:
        """Where the part of a partition is, or would be."""
        return self._parts / f"partition-{index:06d}.h5"

    def partition_paths(self) -> dict[int, Path]:
        """Partition index -> its part, in order."""
        return {index: path for (index,), path in numbered(self._parts, _PARTITION)}

    def job_path(self, partition: int, attempt: int) -> Path:
        """Where the part of an attempt is, or would be."""
        return self._parts / f"job-{partition:06d}-{attempt:02d}.h5"

    def job_paths(self) -> dict[int, list[Path]]:
        """Partition index -> the parts of its attempts, in order."""
        found: dict[int, list[Path]] = {}
        for (partition, _attempt), path in numbered(self._parts, _JOB):
            found.setdefault(partition, []).append(path)
        return found

    def batch_path(self, number: int) -> Path:
        """Where the details of a batch are, or would be."""
        return self._parts / f"batch-{number:03d}.json"

    def paths(self) -> list[Path]:
        """Every part; what a crash left half-written is none."""
        found = [
            path
            for pattern in (_BATCH, _PARTITION, _JOB)
            for _, path in numbered(self._parts, pattern)
        ]
        return [self._parts / HEADER, *found] if self.has_parts else found

    def read_batches(self) -> list[dict[str, Any]]:
        """Every batch, in order: `id`, `follows`, `opened`, `final`.

        Raises:
            ArchiveError: A part is damaged.
        """
        return [read_json(path) for _number, path in numbered(self._parts, _BATCH)]


def recorded_config(run_dir: Path) -> str:
    """The resolved config (YAML) with which a run was started, whether or not it is sealed.

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
    """A part that is JSON.

    Raises:
        ArchiveError: It is missing or damaged.
    """
    loaded: dict[str, Any] = json.loads(read_part_file(path))
    return loaded


@contextmanager
def open_part(path: Path, *only: str, checked: bool = False) -> Iterator[dict[str, Table]]:
    """The tables of a part, with open datasets as values.

    Args:
        path: Path of the part.
        only: The tables that are wanted; all of them where none is named.
        checked: Whether its bytes are known to be those that were written.

    Raises:
        ArchiveError: The part is missing or damaged; nothing in it has been read then.
    """
    import h5py

    if not checked:
        check_part_file(path)
    with h5py.File(path, "r") as file:
        yield read_part(file, only)


def cells(table: Table) -> dict[str, Any]:
    """The first row of a table."""
    return {
        name: column.as_texts()[0] if column.is_text else column.values[0]
        for name, column in table.columns.items()
    }


def numbered(folder: Path, pattern: re.Pattern[str]) -> list[tuple[tuple[int, ...], Path]]:
    """The files whose names match, with the numbers in their names, in order of these."""
    paths = folder.iterdir() if folder.is_dir() else ()
    matches = [(pattern.fullmatch(path.name), path) for path in paths]
    return sorted((tuple(map(int, match.groups())), path) for match, path in matches if match)


def _isa_pubs(tables: dict[str, Table], workload: str, path: Path) -> Iterator[Pub]:
    rows: dict[str, Any] = {
        name: column.as_texts() if column.is_text else column.values[:]
        for name, column in tables[f"pubs/{workload}"].columns.items()
    }
    isa = tables[f"circuits/{workload}/isa"].columns
    start, size = np.asarray(isa["qpy_start"].values), np.asarray(isa["qpy_size"].values)
    qpy: Any = isa["qpy"].values
    seen: dict[str, int] = {}
    for k in range(len(start)):
        group, values = rows["parameter_group"][k], None
        if group:
            parameters = tables[f"parameters/{workload}/{group}"].columns["values"]
            values = np.asarray(parameters.values[seen.get(group, 0)])
            seen[group] = seen.get(group, 0) + 1
        raw = qpy[start[k] : start[k] + size[k]].tobytes()
        where = f"{rows['pub'][k]} of {workload!r} in {path}"
        fields = {name: column[k] for name, column in rows.items()}
        yield load_pub(fields, raw, values, isa=True, where=where)
