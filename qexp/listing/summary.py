"""What one run was, where, when, how long, at what cost, and what is missing in it and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.jobs import BatchRecord, JobRecord, read_batches, read_job, read_journal
from qexp.archive.schema import PARTS_NAME, SNAPSHOTS
from qexp.archive.summary import read_metadata, summarise_archive
from qexp.archive.verify import is_intact
from qexp.core.jsonable import to_jsonable

_JOB_FIELDS: Final = (
    "index",
    "job_id",
    "workload",
    "partition",
    "attempt",
    "batch",
    "first",
    "stop",
    "num_results",
    "state",
    "failure",
    "error",
    "error_code",
    "created",
    "running",
    "finished",
    "usage_s",
    "predicted_qpu_s",
    "predicted_executions",
    "payload_bytes",
    "snapshot",
)
_PER_QUBIT: Final = ("t1_s", "t2_s", "readout_error")


def summarise(path: str) -> Iterator[dict[str, Any]]:
    """The summary of a sealed run as plain JSON, see `docs/archive-commands.md`.

    Called in a process of its own, see `qexp.archive.isolated`.

    Args:
        path: The file `run.h5`.

    Raises:
        ArchiveError: It cannot be read. A file that is not what was sealed is read as far as it
            can be; `is_intact` is then false.
    """
    where = Path(path)
    intact = is_intact(where)
    file = ArchiveFile(where)
    try:
        with file.reading():
            known = {
                "path": path,
                "size_bytes": where.stat().st_size,
                "is_intact": intact,
                "can_resume": (where.parent / PARTS_NAME).is_dir(),
                **_known(file),
            }
        yield dict(to_jsonable(known))
    finally:
        file.close()


def _known(file: ArchiveFile) -> dict[str, Any]:
    identity = summarise_archive(file)
    jobs = [read_job(file, index) for index in range(file.count("jobs/partition"))]
    stopped, submitted = _course(read_journal(file))
    return {
        "schema": str(file.attribute("/", "qexp_schema")),
        **identity,
        "took_s": seconds_between(identity["date"], identity["finished"]),
        "metadata": read_metadata(file),
        "not_honoured": file.document("config/not_honoured_json") or {},
        "workloads": [_workload(file, name) for name in file.groups("pubs")],
        "jobs_run": [_job(job) for job in jobs],
        "batches": [_batch(batch) for batch in read_batches(file)],
        "calibrations": list(_calibrations(file, jobs)),
        "software": _software(file),
        "stopped": stopped,
        "missing": list(_missing(file, jobs, submitted)),
    }


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Seconds between two ISO 8601 times, None where one is not known."""
    if not start or not end:
        return None
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (TypeError, ValueError):
        return None


def _workload(file: ArchiveFile, name: str) -> dict[str, Any]:
    table = f"pubs/{name}"
    shots, precision = file.column(f"{table}/shots"), file.column(f"{table}/precision")
    kinds = {str(file.cell(f"{table}/kind", 0))}
    return {
        "name": name,
        "kind": ", ".join(kinds),
        "pubs": len(shots),
        "results": int(np.count_nonzero(file.column(f"{table}/result_row") >= 0)),
        "shots": sorted({int(value) for value in shots if value >= 0}),
        "precision": sorted({float(value) for value in precision if not np.isnan(value)}),
    }


def _job(job: JobRecord) -> dict[str, Any]:
    return {
        **{name: getattr(job, name) for name in _JOB_FIELDS},
        "queued_s": seconds_between(job.created, job.running),
        "ran_s": seconds_between(job.running, job.finished),
    }


def _batch(batch: BatchRecord) -> dict[str, Any]:
    details = batch.final or batch.opened or {}
    names = ("state", "mode", "max_time", "started_at", "closed_at", "usage_time")
    return {
        "id": batch.id,
        "follows": batch.follows,
        **{name: details.get(name) for name in names},
    }


def _calibrations(file: ArchiveFile, jobs: list[JobRecord]) -> Iterator[dict[str, Any]]:
    """Every calibration: the date, how old it was when the run began, medians over the qubits."""
    begun = str(file.attribute("/", "date_created"))
    for index in range(len(file.groups(SNAPSHOTS))):
        group = f"{SNAPSHOTS}/s{index}"
        date = str(file.attribute(group, "last_update"))
        names = set(file.columns(group))
        yield {
            "index": index,
            "date": date,
            "age_s": seconds_between(date, begun),
            "is_at_start": index == int(file.attribute("backend", "snapshot")),
            "jobs": sum(job.snapshot == index for job in jobs),
            **{
                f"median_{name}": _median(file, f"{group}/{name}") if name in names else None
                for name in _PER_QUBIT
            },
        }


def _median(file: ArchiveFile, path: str) -> float | None:
    values = file.column(path)
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None


def _software(file: ArchiveFile) -> dict[str, Any]:
    return {
        **{
            name: str(file.attribute("environment", name))
            for name in ("python", "platform", "git_commit")
        },
        "git_dirty": bool(file.attribute("environment", "git_dirty")),
        "distributions": file.texts("environment/distributions"),
    }


def _missing(
    file: ArchiveFile, jobs: list[JobRecord], submitted: set[int]
) -> Iterator[dict[str, Any]]:
    """Runs of consecutive PUBs without a result that have the same reason."""
    for workload in file.groups("pubs"):
        lacking = file.column(f"pubs/{workload}/result_row") < 0
        job_of, partition_of = (file.column(f"pubs/{workload}/{n}") for n in ("job", "partition"))
        runs: list[tuple[int, int, dict[str, Any]]] = []
        for index in np.flatnonzero(lacking).tolist():
            job = int(job_of[index])
            ran = jobs[job] if 0 <= job < len(jobs) else None
            why = _reason(ran, is_submitted=int(partition_of[index]) in submitted)
            if runs and runs[-1][1] == index and runs[-1][2] == why:
                runs[-1] = (runs[-1][0], index + 1, why)
            else:
                runs.append((index, index + 1, why))
        for first, stop, why in runs:
            yield {"workload": workload, "first": first, "stop": stop, **why}


def _course(events: list[dict[str, Any]]) -> tuple[str | None, set[int]]:
    """Why the run stopped before its end, and the partitions that were submitted."""
    stopped, submitted = None, set()
    for event in events:
        kind = event.get("event")
        if kind == "submitted":
            submitted.add(int(event["partition"]))
        elif kind == "interrupted":
            stopped = " ".join(str(event["reason"]).split())
        elif kind in ("resumed", "ended"):
            stopped = None
    return stopped, submitted


def _reason(job: JobRecord | None, *, is_submitted: bool) -> dict[str, Any]:
    if job is None:
        reason = "submitted, and not collected" if is_submitted else "not submitted"
        return {"job_id": None, "state": None, "reason": reason}
    code = "" if job.error_code is None else f" (code {job.error_code})"
    told = " ".join((job.error or "no reason given").split())
    return {
        "job_id": job.job_id or None,
        "state": job.state,
        "reason": f"{job.failure or job.state}{code}: {told}",
    }
