"""The write side: a run's parts, committed one by one, and the archive made of them.

Nothing is kept in memory: whatever is on disk when `seal` is called is what the archive holds.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.commit import replacing, require_space, sync_directory, write_text
from qexp.archive.merge import PartFiles, merge
from qexp.archive.pubs import load_pub, pub_tables
from qexp.archive.results import result_tables
from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME, check_workload, snapshot_table
from qexp.archive.tables import Column, Table, numbers, read_part, texts, write_part
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qexp.core.model import (
        JobOutcome,
        Partition,
        PlannedPub,
        Pub,
        RunHeader,
        RunStatus,
    )

#: The archive holds the seed as int64, which netCDF and all languages have.
_SEEDS = 2**63


def _unchanged(text: str) -> str:
    return text


class RunStore:
    """Writes the archive of one run into its folder.

    Every method returns once what it wrote is durable on disk. Writing again replaces.

    Args:
        run_dir: Folder of the run; `parts/` is created in it.
        redact: Applied to every text that is written, in QPY to names and metadata of circuits.

    Raises:
        ArchiveError: The folder cannot be written; so do all methods.
    """

    def __init__(self, run_dir: Path, redact: Callable[[str], str] = _unchanged) -> None:
        self._run_dir = Path(run_dir)
        self._redact = redact
        self._parts = self._run_dir / PARTS_NAME
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            sync_directory(self._run_dir)
        except OSError as error:
            msg = f"Cannot create {self._parts}: {error.strerror}. Choose a writable run folder."
            raise ArchiveError(msg) from error

    def write_header(self, header: RunHeader) -> None:
        """Write what is known of the run before its first job.

        Raises:
            ArchiveError: The seed cannot be stored; nothing has run yet.
        """
        if not 0 <= header.seed < _SEEDS:
            msg = f"seed={header.seed} cannot be stored: choose one from 0 to 2**63 - 1."
            raise ArchiveError(msg)
        write_text(self._parts / "header.json", dumps(header, self._redact))

    def write_batch(
        self, opened: Mapping[str, Any] | None, final: Mapping[str, Any] | None
    ) -> None:
        """Write both `batch.details()`, None where not known yet."""
        write_text(
            self._parts / "batch.json", dumps({"opened": opened, "final": final}, self._redact)
        )

    def write_partition(self, partition: Partition, pubs: Sequence[PlannedPub]) -> None:
        """Write a partition with its PUBs, logical and ISA.

        Args:
            partition: The partition.
            pubs: Its PUBs, in order.

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
        tables = pub_tables(workload, partition.first, partition.index, pubs, self._redact)
        tables["partitions"] = _partition_table(partition)
        self._write(self._path("partition", partition.index), tables)

    def load_isa_pubs(self, partition: Partition) -> list[Pub]:
        """The PUBs of a partition as they are to be submitted, equal to what was written.

        Raises:
            ArchiveError: The partition was not written, or is damaged.
        """
        import h5py

        path, workload = self._path("partition", partition.index), partition.workload
        self._require(path, partition.index)
        with h5py.File(path, "r") as file:
            rows = file[f"pubs/{workload}"]
            names = ("kind", "shots", "precision", "parameter_names_json", "parameter_shape_json")
            columns = {
                name: (rows[name].asstr() if rows[name].dtype.kind == "O" else rows[name])[:]
                for name in (*names, "isa_observables_json", "parameter_group")
            }
            isa = file[f"circuits/{workload}/isa"]
            start, size = isa["qpy_start"][:], isa["qpy_size"][:]
            seen: dict[str, int] = {}
            pubs = []
            for k in range(len(start)):
                group, values = columns["parameter_group"][k], None
                if group:
                    row = seen[group] = seen.get(group, -1) + 1
                    values = file[f"parameters/{workload}/{group}/values"][row]
                raw = isa["qpy"][start[k] : start[k] + size[k]].tobytes()
                where = f"{workload}[{partition.first + k}] in {path}"
                fields = {name: column[k] for name, column in columns.items()}
                pubs.append(load_pub(fields, raw, values, isa=True, where=where))
        return pubs

    def write_job(self, outcome: JobOutcome) -> None:
        """Write a job that reached a final state, with its result.

        Raises:
            ArchiveError: Its partition was not written, or it has more results than PUBs.
        """
        import h5py

        path = self._path("partition", outcome.partition)
        self._require(path, outcome.partition)
        with h5py.File(path, "r") as file:
            partition = read_part(file)["partitions"]
            planned: dict[str, Any] = {
                name: column.as_texts()[0] if column.is_text else column.values[0]
                for name, column in partition.columns.items()
            }
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
            key, tables_of_snapshot = snapshot_table(outcome.backend_properties, self._redact)
            tables[key] = tables_of_snapshot
            snapshot = key.rpartition("/")[2]
        tables["jobs"] = _job_table(outcome, planned, snapshot, self._redact)
        tables["spans"] = _span_table(outcome)
        self._write(self._path("job", outcome.partition), tables)

    def seal(self, status: RunStatus) -> Path:
        """Merge the parts into `run.h5`, verify it, make it durable, then delete the parts.

        The same parts give the same bytes. Calling it again on a sealed run changes nothing.

        Args:
            status: How the run ended.

        Returns:
            Path of the archive.

        Raises:
            ArchiveError: There is no header, or a part is damaged; the parts are kept.
        """
        target = self._run_dir / ARCHIVE_NAME
        sealed = self._run_dir / f".{PARTS_NAME}-sealed"
        if not (self._parts / "header.json").exists() and target.exists():
            shutil.rmtree(sealed, ignore_errors=True)
            shutil.rmtree(self._parts, ignore_errors=True)
            return target
        parts = PartFiles.in_folder(self._parts)
        require_space(target, sum(path.stat().st_size for path in self._parts.iterdir()))
        with replacing(target) as temporary:
            merge(parts, status, temporary)
        # Renamed first: a crash while deleting must not leave some parts that look like a run.
        shutil.rmtree(sealed, ignore_errors=True)
        self._parts.rename(sealed)
        sync_directory(self._run_dir)
        shutil.rmtree(sealed, ignore_errors=True)
        return target

    def _path(self, kind: str, index: int) -> Path:
        return self._parts / f"{kind}-{index:06d}.h5"

    def _require(self, path: Path, index: int) -> None:
        if not path.exists():
            msg = f"Partition {index} is not in {self._parts}: write it before its job."
            raise ArchiveError(msg)

    def _write(self, path: Path, tables: Mapping[str, Table]) -> None:
        import h5py

        # Built in memory: where HDF5 itself meets a full disk, it ends the process later on.
        with h5py.File(
            path.name, "w", driver="core", backing_store=False, block_size=2**20
        ) as file:
            write_part(file, tables)
            file.flush()
            image = file.id.get_file_image()
        with replacing(path) as temporary:
            temporary.write_bytes(image)


def _partition_table(partition: Partition) -> Table:
    dim = "partition"
    shots = -1 if partition.shots is None else partition.shots
    precision = math.nan if partition.precision is None else partition.precision
    return Table(
        {
            "partition": numbers([partition.index], dim, "<i4"),
            "workload": texts([partition.workload], dim),
            "first": numbers([partition.first], dim, "<i8"),
            "stop": numbers([partition.stop], dim, "<i8"),
            "shots": numbers([shots], dim, "<i8"),
            "precision": numbers([precision], dim, "<f8", "1"),
            "predicted_executions": numbers([partition.executions], dim, "<i8"),
            "payload_bytes": numbers([partition.payload_bytes], dim, "<i8", "byte"),
            "predicted_qpu_s": numbers([partition.qpu_s], dim, "<f8", "s"),
            "closed_by": texts([partition.closed_by], dim),
        }
    )


def _job_table(
    outcome: JobOutcome,
    planned: Mapping[str, Any],
    snapshot: str,
    redact: Callable[[str], str],
) -> Table:
    dim = "job"
    times = outcome.metrics.get("timestamps") or {}
    usage_s = math.nan if outcome.usage_s is None else outcome.usage_s
    columns: dict[str, Column] = {
        "partition": numbers([outcome.partition], dim, "<i4"),
        "first": numbers([planned["first"]], dim, "<i8"),
        "stop": numbers([planned["stop"]], dim, "<i8"),
        "num_results": numbers([len(outcome.result or ())], dim, "<i8"),
        "error_code": numbers([outcome.error_code or 0], dim, "<i8"),
        "usage_s": numbers([usage_s], dim, "<f8", "s"),
        "predicted_qpu_s": numbers([planned["predicted_qpu_s"]], dim, "<f8", "s"),
        "predicted_executions": numbers([planned["predicted_executions"]], dim, "<i8"),
        "payload_bytes": numbers([planned["payload_bytes"]], dim, "<i8", "byte"),
    }
    plain = {
        "job_id": outcome.job_id,
        "workload": planned["workload"],
        "state": outcome.state,
        "error": outcome.error or "",
        "closed_by": planned["closed_by"],
        "snapshot_sha256": snapshot,
        **{name: str(times.get(name) or "") for name in ("created", "running", "finished")},
    }
    metadata = outcome.result.metadata if outcome.result is not None else None
    documents = {
        "options_json": outcome.options,
        "metrics_json": outcome.metrics,
        "info_json": outcome.info,
        "result_metadata_json": metadata,
    }
    columns |= {name: texts([redact(value)], dim) for name, value in plain.items()}
    columns |= {name: texts([dumps(value, redact)], dim) for name, value in documents.items()}
    return Table(columns)


def _span_table(outcome: JobOutcome) -> Table:
    dim, spans = "span", outcome.spans
    job = Column(np.zeros(len(spans), dtype="<i4"), (dim,), base="jobs#job")
    return Table(
        {
            "job": job,
            "pub": numbers([span.pub for span in spans], dim, "<i8"),
            "start": texts([span.start for span in spans], dim),
            "stop": texts([span.stop for span in spans], dim),
            "size": numbers([span.size for span in spans], dim, "<i8"),
        }
    )
