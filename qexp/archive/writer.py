"""Write the archive of a run: its parts, one by one, and `run.h5`, made of them.

Nothing is kept in memory: whatever is on disk when `seal` is called is what the archive holds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qexp.archive import schema
from qexp.archive.atomic_files import replacing, require_space, sync, write_with_digest
from qexp.archive.header import Calibrations
from qexp.archive.jobs import job_table, partition_table, read_partition, span_table
from qexp.archive.merge import RunParts, merge
from qexp.archive.parts import HEADER, StoredParts, first_row, read_json, write_tables
from qexp.archive.pubs import PubRow
from qexp.archive.results import raw_tables, result_tables
from qexp.archive.tables import TableData
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qexp.core.model import JobOutcome, Partition, RunHeader, RunStatus

_WORKLOAD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Names that a workload can have, as groups are named after it."""
_SEED_LIMIT: Final = 2**63
"""The archive holds the seed as int64, which netCDF and all languages have."""


@dataclass(frozen=True)
class SharedRecord:
    """The part of a point's record that the folder of its sweep has."""

    batches: Sequence[Mapping[str, Any]]  # its batches, as `StoredParts.read_batches` returns them
    journal: str  # the lines of the journal that are about it


class RunStore(StoredParts):
    """The parts of one run, and sealing them into `run.h5`.

    Every method that writes returns once its data are durable on disk, and raises `ArchiveError`
    if the folder cannot be written. Writing the same part again replaces it. The folder of the run,
    and `parts/` in it, are created by the first write. Every text that is written here is redacted;
    rows of PUBs are already.
    """

    def __init__(self, run_dir: Path, redact: Callable[[str], str] = str) -> None:
        super().__init__(run_dir)
        self._redact = redact

    def write_header(self, header: RunHeader) -> None:
        """Write what is known before the first job; refuse a seed that cannot be stored."""
        if not 0 <= header.seed < _SEED_LIMIT:
            raise ArchiveError(
                f"seed={header.seed} cannot be stored: choose one from 0 to 2**63 - 1"
            )
        self._write_json(self._parts / HEADER, header)

    def write_batch(
        self,
        number: int,
        opened: Mapping[str, Any] | None,
        final: Mapping[str, Any] | None,
        *,
        batch_id: str,
        follows: str | None,
    ) -> None:
        """Write `batch.details()` after opening and at the end; None keeps an earlier value.

        Batches are numbered from 0; `follows` is the id of the batch before, or None.
        """
        path, old = self.path("batch", number), {}
        # Details are for the record: a missing or damaged file must not stop a run.
        with suppress(ArchiveError):
            old = read_json(path)
        new = {"id": batch_id, "follows": follows, "opened": opened, "final": final}
        self._write_json(path, {k: old.get(k) if v is None else v for k, v in new.items()})

    def write_partition(self, partition: Partition, pubs: Sequence[PubRow]) -> str:
        """Write a partition with its PUBs; return the SHA-256 of the part, see `check_part`.

        Raises:
            ArchiveError: The PUBs are not those of the partition, or no group can be named after
                the workload.
        """
        workload = partition.workload
        if not _WORKLOAD.fullmatch(workload):
            raise ArchiveError(
                f"workload name {workload!r} cannot be stored: use letters, digits, '_', '-', '.'"
            )
        if [pub.index for pub in pubs] != list(range(partition.first, partition.stop)):
            raise ArchiveError(
                f"partition {partition.index} of {workload!r} spans PUBs {partition.first} to "
                f"{partition.stop - 1}, but {len(pubs)} other PUBs were given"
            )
        path, index = schema.PUBS.at(workload), {"partition": partition.index}
        tables = schema.as_tables({**pub.cells, path: {**pub.cells[path], **index}} for pub in pubs)
        tables[schema.PARTITIONS.path] = partition_table(partition)
        return self._write(self.path("partition", partition.index), tables)

    def discard_plan(self) -> None:
        """Remove the parts of a plan that was never committed; the header stays.

        Raises:
            ArchiveError: A job's outcome is among them, so that the plan was; nothing is removed.
        """
        if self.numbered("job"):
            raise ArchiveError(f"{self._parts} holds outcomes of jobs: their plan is not discarded")
        if not self._parts.is_dir():
            return
        for path in self._parts.iterdir():
            if path.name != HEADER:
                path.unlink(missing_ok=True)
        sync(self._parts)

    def write_job(self, outcome: JobOutcome, calibrations: Calibrations | None = None) -> None:
        """Write a finished attempt to run a partition, with its result.

        `calibrations` are of several outcomes that may share one.

        Raises:
            ArchiveError: Its partition is missing or damaged, or has fewer PUBs than results.
        """
        row = first_row(self.path("partition", outcome.partition), schema.PARTITIONS.path)
        planned = read_partition(row)
        if outcome.first is not None and outcome.stop is not None:
            planned = planned.piece(outcome.first, outcome.stop)
        results = [] if outcome.result is None else list(outcome.result)
        if len(results) > planned.num_pubs:
            raise ArchiveError(
                f"job {outcome.job_id} returned {len(results)} results for {planned.num_pubs} PUBs "
                f"of partition {outcome.partition}: they cannot be told apart and are not stored"
            )
        tables = result_tables(planned.workload, planned.first, results, self._redact)
        if outcome.raw is not None:
            tables |= raw_tables(planned.workload, planned.first, outcome.raw, self._redact)
        sha256 = ""
        if outcome.backend_properties:
            made = calibrations or Calibrations(self._redact)
            path, snapshot = made.table(outcome.backend_properties)
            tables[path], sha256 = snapshot, snapshot.attrs["sha256"]
        tables[schema.JOBS.path] = job_table(outcome, planned, sha256, self._redact)
        tables[schema.SPANS.path] = span_table(outcome)
        self._write(self.path("job", outcome.partition, outcome.attempt), tables)

    def seal(
        self, status: RunStatus, *, keep_parts: bool, shared: SharedRecord | None = None
    ) -> Path:
        """Merge the parts and the journal into `run.h5`, verify it, make it durable.

        The same parts and journal give the same bytes. It may be called again at any time, also
        after a crash within it: with parts, `run.h5` is replaced; without, it is left alone. The
        parts are deleted in the end, unless the run may be resumed (`keep_parts`) or an error is
        raised. Batches and journal of a point of a sweep are `shared`; those of a run are in
        its own folder.

        Raises:
            ArchiveError: There is no header, or a part is damaged; the parts are kept.
        """
        target = self._run_dir / schema.ARCHIVE_NAME
        if self.has_header or not target.exists():
            shared = shared or SharedRecord(self.read_batches(), self._journal())
            journal = self._redact(shared.journal)
            with RunParts(self, shared.batches, journal) as parts, replacing(target) as temporary:
                require_space(target, sum(path.stat().st_size for path in self._parts.iterdir()))
                merge(parts, status, temporary)
            if keep_parts:
                return target
        self.delete_parts()
        return target

    def delete_parts(self) -> None:
        """Remove all parts."""
        # Renamed first: a crash while deleting must not leave some parts that look like a run.
        sealed = self._run_dir / f".{schema.PARTS_NAME}-sealed"
        shutil.rmtree(sealed, ignore_errors=True)
        if self._parts.is_dir():
            self._parts.rename(sealed)
            sync(self._run_dir)
            shutil.rmtree(sealed, ignore_errors=True)

    def _journal(self) -> str:
        """Return the complete lines of the run's journal; bytes that are not UTF-8 are escaped."""
        path = self._run_dir / schema.JOURNAL_NAME
        if not path.exists():
            return ""
        lines, _, _torn = path.read_bytes().rpartition(b"\n")
        text = lines.decode("utf-8", "backslashreplace")
        return text + "\n" if text else ""

    def _write_json(self, path: Path, content: Any) -> None:
        text = dumps(content, self._redact)
        write_with_digest(path, text.encode("utf-8", "backslashreplace"))

    def _write(self, path: Path, tables: Mapping[str, TableData]) -> str:
        import h5py

        # Built in memory, see `require_space`. The whole path, because HDF5 refuses a name that
        # another run in this process has in memory.
        with h5py.File(
            str(path), "w", driver="core", backing_store=False, block_size=2**20
        ) as file:
            write_tables(file, tables)
            file.flush()
            image = file.id.get_file_image()
        return write_with_digest(path, image)
