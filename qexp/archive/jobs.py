"""Partitions, jobs, spans and batches: their rows for the archive, and the records read back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.schema import BATCHES, JOBS, PARTITIONS, SPANS
from qexp.archive.tables import TableData, documented, text
from qexp.core.jsonable import dumps
from qexp.core.model import (
    Charge,
    FailureKind,
    JobOutcome,
    JobState,
    Partition,
    Span,
    is_charge_pending,
)
from qexp.text import one_line

_COLUMNS: Final = {
    "index": "partition",
    "executions": "predicted_executions",
    "qpu_s": "predicted_qpu_s",
}
"""Attribute of `Partition` -> its column, if the names differ."""
IN_PARTS: Final = ("batch_id", "snapshot_sha256")
"""Stand-ins in a part for `batch` and `snapshot`; sealing replaces them by row numbers."""


@dataclass(frozen=True)
class BatchRecord:
    """One batch of the run.

    Attributes:
        id: Id that the service gave (or the engine, locally).
        follows: Id of the batch before it, or None.
        opened: `batch.details()` right after it was opened, or None if not read.
        final: `batch.details()` at the end, or None if not read.
    """

    id: str
    follows: str | None
    opened: dict[str, Any] | None
    final: dict[str, Any] | None


@documented(JOBS)
@dataclass(frozen=True)
class JobRecord:
    """One attempt to run a partition: what was predicted, what happened, what it returned.

    Attributes:
        index: Row in `/jobs`.
        spans: Execution spans; `Span.pub` counts from `first`.
    """

    index: int
    job_id: str
    workload: str
    partition: int
    attempt: int
    batch: int | None
    first: int
    stop: int
    num_results: int
    state: JobState
    failure: FailureKind | None
    error: str | None
    error_code: int | None
    created: str
    running: str
    finished: str
    usage_s: float | None
    predicted_qpu_s: float
    predicted_executions: int
    payload_bytes: int
    closed_by: str
    options: dict[str, Any]
    metrics: dict[str, Any]
    info: dict[str, Any]
    result_metadata: dict[str, Any] | None
    spans: tuple[Span, ...]
    snapshot: int | None


def partition_table(partition: Partition) -> TableData:
    """Return one row of `/partitions`."""
    return PARTITIONS.encode_rows([_cells_of(partition)])


def _cells_of(partition: Partition) -> dict[str, Any]:
    """Return what a partition has, by column."""
    return {_COLUMNS.get(name, name): value for name, value in vars(partition).items()}


def read_partition(cells: Mapping[str, Any]) -> Partition:
    """Convert a row of `/partitions`."""
    values = PARTITIONS.decode(cells)
    # An archive holds one point, so the number of the point is not stored.
    names = Partition.__dataclass_fields__.keys() - {"point"}
    return Partition(**{name: values[_COLUMNS.get(name, name)] for name in names})


def sealed_partitions(file: ArchiveFile) -> tuple[Partition, ...]:
    """Read the partitions of an archive."""
    path = PARTITIONS.path
    columns = {name: file.column(f"{path}/{name}") for name in file.columns(path)}
    count = file.count(f"{path}/workload")
    with file.reading():
        return tuple(
            read_partition({name: column[k] for name, column in columns.items()})
            for k in range(count)
        )


def charge_of(usage_s: Any, metrics_json: str) -> Charge:
    """Return what a job was charged, by two cells of its row."""
    seconds = float(usage_s)
    is_pending = is_charge_pending(json.loads(metrics_json))
    return seconds if math.isfinite(seconds) else 0.0, is_pending


def sealed_charges(file: ArchiveFile) -> dict[tuple[int, int], Charge]:
    """Return what the jobs of an archive were charged: (partition, attempt) -> charge."""
    if not file.count("jobs/usage_s"):
        return {}
    names = ("partition", "attempt", "usage_s")
    numbers = [file.column(f"{JOBS.path}/{name}") for name in names]
    rows = zip(*numbers, file.texts(f"{JOBS.path}/metrics_json"), strict=True)
    with file.reading():
        return {
            (int(partition), int(attempt)): charge_of(usage_s, metrics)
            for partition, attempt, usage_s, metrics in rows
        }


def job_table(
    outcome: JobOutcome,
    planned: Partition,
    snapshot_sha256: str,
    redact: Callable[[str], str],
) -> TableData:
    """Return one row of `/jobs`, as a part holds it, with `IN_PARTS`.

    `planned` is its partition, or the piece of it that the job has; `snapshot_sha256` is `""`
    without a calibration. `redact` is applied to every text.
    """
    times = outcome.metrics.get("timestamps") or {}
    result = outcome.result
    cells = {
        **vars(outcome),
        **_cells_of(planned),
        **{name: str(times.get(name) or "") for name in ("created", "running", "finished")},
        "num_results": len(result or ()),
        "usage_s": outcome.usage_s,
        "snapshot_sha256": snapshot_sha256,
    }
    cells = {
        name: redact(cell) if isinstance(cell, str) else cell
        for name, cell in cells.items()
        if name in (*JOBS.columns, *IN_PARTS)
    }
    documents = {
        "options": outcome.options,
        "metrics": outcome.metrics,
        "info": outcome.info,
        "result_metadata": None if result is None else result.metadata,
    }
    cells |= {f"{name}_json": dumps(value, redact) for name, value in documents.items()}
    table = JOBS.encode_rows([cells])
    private = text(" ".join(IN_PARTS), "").encode
    added = {name: private([cells[name]], JOBS.dim) for name in IN_PARTS}
    return TableData({**table.columns, **added})


def span_table(outcome: JobOutcome) -> TableData:
    """Return the rows of `/spans` of one job, the first of its part."""
    rows = [{"job": 0, **vars(span)} for span in outcome.spans]
    return SPANS.encode_rows(rows) if rows else TableData({})


def read_job(file: ArchiveFile, index: int) -> JobRecord:
    """Read one row of `/jobs`."""
    names = file.columns(JOBS.path)
    row = JOBS.decode({name: file.column(f"{JOBS.path}/{name}")[index] for name in names})
    if "attempt" not in row:
        # Schema 1.0 had one batch and no second attempts.
        row |= {"attempt": 1, "batch": 0 if read_batches(file) else None, "failure": None}
    return JobRecord(index=index, spans=_read_spans(file, index), **row)


def _read_spans(file: ArchiveFile, job: int) -> tuple[Span, ...]:
    if not file.count("spans/job"):
        return ()
    columns = {name: file.column(f"spans/{name}") for name in ("start", "stop", "pub", "size")}
    rows = np.flatnonzero(file.column("spans/job") == job)
    return tuple(Span(**SPANS.decode({n: c[row] for n, c in columns.items()})) for row in rows)


def read_batches(file: ArchiveFile) -> tuple[BatchRecord, ...]:
    """Read every batch; schema 1.0 has one at most."""
    if not file.count("batches/batch_id"):
        opened, final = (file.document(f"batch/{name}_json") for name in ("opened", "final"))
        known = opened or final
        return (BatchRecord(str(known.get("id", "")), None, opened, final),) if known else ()
    columns = {name: file.texts(f"{BATCHES.path}/{name}") for name in BATCHES.columns}
    with file.reading():
        return tuple(
            BatchRecord(*BATCHES.decode(dict(zip(columns, cells, strict=True))).values())
            for cells in zip(*columns.values(), strict=True)
        )


def read_journal(file: ArchiveFile) -> list[dict[str, Any]]:
    """Read the lines of the journal."""
    if not file.count("journal/text"):
        return []
    lines = file.text("journal/text")
    with file.reading():
        return [json.loads(line) for line in lines.split("\n") if line]


def why_missing(file: ArchiveFile, workload: str, index: int) -> str:
    """Say in one line why a PUB has no result."""
    where = f"PUB {index} of {workload!r} has no result"
    job = int(file.cell(f"pubs/{workload}/job", index))
    if job < 0:
        return f"{where}: no job has run it (the run is {file.attribute('/', 'status')!r})"
    record = read_job(file, job)
    code = f" (code {record.error_code})" if record.error_code is not None else ""
    reason = one_line(record.error or "no reason given")
    return f"{where}: job {record.job_id} ended as {record.state}{code}: {reason}"
