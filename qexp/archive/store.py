"""The write side: a run's parts, committed one by one, and the archive made of them.

Nothing is kept in memory: whatever is on disk when `seal` is called is what the archive holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.archive.commit import replacing, require_space, sync_directory, write_part_file
from qexp.archive.encoded import EncodedPub, encode, partition_tables
from qexp.archive.job_tables import job_table, partition_table, span_table
from qexp.archive.merge import merge
from qexp.archive.parts import HEADER, StoredParts, cells, open_part, read_json
from qexp.archive.results import result_tables
from qexp.archive.schema import (
    ARCHIVE_NAME,
    JOURNAL_NAME,
    PARTS_NAME,
    check_workload,
    snapshot_table,
)
from qexp.archive.sources import PartFiles
from qexp.archive.tables import Table, write_part
from qexp.core.jsonable import dumps
from qexp.core.model import PlannedPub
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qexp.core.model import JobOutcome, Partition, RunHeader, RunStatus

#: The archive holds the seed as int64, which netCDF and all languages have.
_SEEDS = 2**63


def _unchanged(text: str) -> str:
    return text


class RunStore(StoredParts):
    """Writes the archive of one run into its folder, and reads what was written so far.

    Every method that writes returns once what it wrote is durable on disk. Writing again replaces.

    Args:
        run_dir: Folder of the run; it and `parts/` in it are created by the first write.
        redact: Applied to every text that is written, in QPY to names and metadata of circuits.

    Raises:
        ArchiveError: The folder cannot be written; so does every method that writes.
    """

    def __init__(self, run_dir: Path, redact: Callable[[str], str] = _unchanged) -> None:
        super().__init__(run_dir)
        self._redact = redact
        self._newest_snapshot: tuple[Mapping[str, Any], tuple[str, Table]] | None = None

    def write_header(self, header: RunHeader) -> None:
        """Write what is known of the run before its first job.

        Raises:
            ArchiveError: The seed cannot be stored; nothing has run yet.
        """
        if not 0 <= header.seed < _SEEDS:
            msg = f"seed={header.seed} cannot be stored: choose one from 0 to 2**63 - 1."
            raise ArchiveError(msg)
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
        """Write what is known of a batch.

        Args:
            number: Number of the batch in the run, from 0.
            opened: `batch.details()` after opening; None keeps what was written before.
            final: `batch.details()` at the end; None keeps what was written before.
            batch_id: Id of the batch.
            follows: Id of the batch before it, or None.
        """
        path, known = self.batch_path(number), {}
        if path.exists():
            # Details are for the record: a damaged one must not stop a run.
            with suppress(ArchiveError):
                known = read_json(path)
        batch = {
            "id": batch_id,
            "follows": follows,
            "opened": known.get("opened") if opened is None else opened,
            "final": known.get("final") if final is None else final,
        }
        self._write_json(path, batch)

    def write_partition(
        self, partition: Partition, pubs: Sequence[PlannedPub] | Sequence[EncodedPub]
    ) -> str:
        """Write a partition with its PUBs, logical and ISA.

        Args:
            partition: The partition.
            pubs: Its PUBs, in order, encoded or not.

        Returns:
            SHA-256 of the part's bytes, in hexadecimal; see `check_part`.

        Raises:
            ArchiveError: The PUBs are not those of the partition, or a circuit has no QPY form.
        """
        workload = check_workload(partition.workload)
        indices = [pub.index for pub in pubs]
        if indices != list(range(partition.first, partition.stop)):
            msg = (
                f"Partition {partition.index} of {workload!r} spans PUBs {partition.first} to "
                f"{partition.stop - 1}, but {len(indices)} other PUBs were given."
            )
            raise ArchiveError(msg)
        encoded = [pub for pub in pubs if isinstance(pub, EncodedPub)]
        if not encoded:
            planned = [pub for pub in pubs if isinstance(pub, PlannedPub)]
            run = encode(workload, partition.first, planned, self._redact)
            encoded = [EncodedPub(run, index) for index in indices]
        tables = partition_tables(encoded, partition.index)
        tables["partitions"] = partition_table(partition)
        return self._write(self.partition_path(partition.index), tables)

    def discard_plan(self) -> None:
        """Remove the parts of a plan that was never committed; the header stays.

        Raises:
            ArchiveError: A job's outcome is among them, so that the plan was; nothing is removed.
        """
        if self.job_paths():
            msg = f"{self._parts} holds outcomes of jobs: their plan is not discarded."
            raise ArchiveError(msg)
        if not self._parts.is_dir():
            return
        for path in self._parts.iterdir():
            if path.name != HEADER:
                path.unlink(missing_ok=True)
        sync_directory(self._parts)

    def write_job(self, outcome: JobOutcome) -> None:
        """Write an attempt to run a partition that came to its end, with its result.

        Raises:
            ArchiveError: Its partition was not written or is damaged, or it has more results than
                PUBs.
        """
        with open_part(self.partition_path(outcome.partition), "partitions") as part:
            planned = cells(part["partitions"])
        num_pubs = int(planned["stop"] - planned["first"])
        results = [] if outcome.result is None else list(outcome.result)
        if len(results) > num_pubs:
            msg = (
                f"Job {outcome.job_id} returned {len(results)} results for {num_pubs} PUBs of "
                f"partition {outcome.partition}: they cannot be told apart and are not stored."
            )
            raise ArchiveError(msg)
        workload, first = planned["workload"], int(planned["first"])
        tables = result_tables(workload, first, results, self._redact)
        snapshot = ""
        if outcome.backend_properties:
            key, tables_of_snapshot = self._snapshot(outcome.backend_properties)
            tables[key] = tables_of_snapshot
            snapshot = key.rpartition("/")[2]
        tables["jobs"] = job_table(outcome, planned, snapshot, self._redact)
        tables["spans"] = span_table(outcome)
        self._write(self.job_path(outcome.partition, outcome.attempt), tables)

    def _snapshot(self, properties: Mapping[str, Any]) -> tuple[str, Table]:
        """As `snapshot_table`, once for an object that several outcomes have in common."""
        if self._newest_snapshot is None or self._newest_snapshot[0] is not properties:
            self._newest_snapshot = (properties, snapshot_table(properties, self._redact))
        return self._newest_snapshot[1]

    def seal(self, status: RunStatus, *, keep_parts: bool) -> Path:
        """Merge the parts and the journal into `run.h5`, verify it, make it durable.

        The same parts and journal give the same bytes. It may be called again at any time, also
        after a crash within it: with parts, `run.h5` is replaced; without, it is left alone.

        Args:
            status: How the run ended.
            keep_parts: Whether the run may go on, so that the parts stay; otherwise they are
                deleted, last of all.

        Returns:
            Path of the archive.

        Raises:
            ArchiveError: There is no header, or a part is damaged; the parts are kept.
        """
        target = self._run_dir / ARCHIVE_NAME
        if self.has_parts or not target.exists():
            parts = PartFiles.of(self, self._journal())
            with replacing(target) as temporary:
                require_space(target, sum(path.stat().st_size for path in self._parts.iterdir()))
                merge(parts, status, temporary)
            if keep_parts:
                return target
        self._delete_parts()
        return target

    def _delete_parts(self) -> None:
        # Renamed first: a crash while deleting must not leave some parts that look like a run.
        sealed = self._run_dir / f".{PARTS_NAME}-sealed"
        shutil.rmtree(sealed, ignore_errors=True)
        if self._parts.is_dir():
            self._parts.rename(sealed)
            sync_directory(self._run_dir)
            shutil.rmtree(sealed, ignore_errors=True)

    def _journal(self) -> str:
        """The complete lines of the run's journal; what is no UTF-8 is escaped."""
        path = self._run_dir / JOURNAL_NAME
        if not path.exists():
            return ""
        lines, _, _torn = path.read_bytes().rpartition(b"\n")
        text = lines.decode("utf-8", "backslashreplace")
        return self._redact(text + "\n") if text else ""

    def _write_json(self, path: Path, content: Any) -> None:
        text = dumps(content, self._redact)
        write_part_file(path, text.encode("utf-8", "backslashreplace"))

    def _write(self, path: Path, tables: Mapping[str, Table]) -> str:
        import h5py

        # Built in memory: where HDF5 itself meets a full disk, it ends the process later on.
        with h5py.File(
            path.name, "w", driver="core", backing_store=False, block_size=2**20
        ) as file:
            write_part(file, tables)
            file.flush()
            image = file.id.get_file_image()
        return write_part_file(path, image)
