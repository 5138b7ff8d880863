"""What an archive says of the jobs, their batches and the course of the run."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from qexp.archive.file import ArchiveFile
from qexp.archive.records import BatchRecord, JobRecord, plain
from qexp.core.model import Span


def read_job(file: ArchiveFile, index: int) -> JobRecord:
    """One row of `/jobs`."""
    names = file.columns("jobs")
    row: dict[str, Any] = {name: file.column(f"jobs/{name}")[index] for name in names}
    if "attempt" not in row:
        # Schema 1.0: one batch, and nothing was tried again.
        row |= {"attempt": 1, "batch": 0 if read_batches(file) else -1, "failure": ""}
    documents = {
        name.removesuffix("_json"): json.loads(row.pop(name))
        for name in names
        if name.endswith("_json")
    }
    usage, snapshot, batch = (row.pop(name) for name in ("usage_s", "snapshot", "batch"))
    return JobRecord(
        index=index,
        error=row.pop("error") or None,
        error_code=int(row.pop("error_code")) or None,
        failure=row.pop("failure") or None,
        usage_s=float(usage) if math.isfinite(usage) else None,
        snapshot=int(snapshot) if snapshot >= 0 else None,
        batch=int(batch) if batch >= 0 else None,
        spans=_read_spans(file, index),
        **{name: plain(value) for name, value in row.items()},
        **documents,
    )


def read_batches(file: ArchiveFile) -> tuple[BatchRecord, ...]:
    """Every batch; schema 1.0 has one at most."""
    if not file.count("batches/batch_id"):
        opened, final = (file.document(f"batch/{name}_json") for name in ("opened", "final"))
        known = opened or final
        return (BatchRecord(str(known.get("id", "")), None, opened, final),) if known else ()
    names = ("batch_id", "follows", "opened_json", "final_json")
    columns = [file.texts(f"batches/{name}") for name in names]
    with file.reading():
        return tuple(
            BatchRecord(batch_id, follows or None, json.loads(opened), json.loads(final))
            for batch_id, follows, opened, final in zip(*columns, strict=True)
        )


def read_journal(file: ArchiveFile) -> list[dict[str, Any]]:
    """The lines of the journal."""
    if not file.count("journal/text"):
        return []
    text = file.text("journal/text")
    with file.reading():
        return [json.loads(line) for line in text.split("\n") if line]


def why_missing(file: ArchiveFile, workload: str, index: int) -> str:
    """Why a PUB has no result, in one line."""
    where = f"PUB {index} of {workload!r} has no result"
    job = int(file.cell(f"pubs/{workload}/job", index))
    if job < 0:
        return f"{where}: no job has run it (the run is {file.attribute('/', 'status')!r})."
    record = read_job(file, job)
    code = f" (code {record.error_code})" if record.error_code is not None else ""
    reason = " ".join((record.error or "no reason given").split())
    return f"{where}: job {record.job_id} ended as {record.state}{code}: {reason}"


def _read_spans(file: ArchiveFile, job: int) -> tuple[Span, ...]:
    if not file.count("spans/job"):
        return ()
    columns = {name: file.column(f"spans/{name}") for name in ("start", "stop", "pub", "size")}
    rows = np.flatnonzero(file.column("spans/job") == job)
    return tuple(
        Span(**{name: plain(column[row]) for name, column in columns.items()}) for row in rows
    )
