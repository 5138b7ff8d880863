"""Read the summary of a run, from `run.h5` or from parts and journal.

HDF5 never comes back from some damaged files: `read_entry` and the page of `show` are called in a
process of its own with a time limit, see `qexp.archive.isolated`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.atomic_files import DamagedFileError
from qexp.archive.digests import is_intact, open_sealed
from qexp.archive.jobs import JobRecord, read_batches, read_job, read_journal
from qexp.archive.schema import JOURNAL_NAME, PARTS_NAME, SNAPSHOTS
from qexp.archive.summary import read_metadata, summarise_archive, summarise_header
from qexp.archive.sweep_file import is_sweep
from qexp.errors import ArchiveError
from qexp.listing.summary import (
    Calibration,
    MissingPubs,
    RunDetails,
    RunEntry,
    Software,
    WorkloadSummary,
    entry_without_data,
    seconds_between,
)
from qexp.text import one_line

_BATCH_DETAILS: Final = ("state", "mode", "max_time", "started_at", "closed_at", "usage_time")
_SOFTWARE: Final = ("python", "platform", "git_commit")
_MEDIANS: Final = ("t1_s", "t2_s", "readout_error")


def read_entry(path: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON form of the entry of an archive, or of a run's folder, without its place."""
    place = Path(path)
    try:
        entry = summarise_unfinished(place) if place.is_dir() else _sealed_entry(place)
    except ArchiveError as error:
        entry = entry_without_data(place, "damaged", str(error))
    except OSError as error:
        entry = entry_without_data(place, "unreadable", f"{place} cannot be read: {error.strerror}")
    yield RunEntry.to_json(entry)


def summarise_sealed(path: Path) -> RunDetails:
    """Summarise a run that has an archive, as far as it can be read if it `is_intact` no more.

    Raises:
        ArchiveError: It cannot be read. A file that is not what was sealed is read as far as it
            can be; `is_intact` is then False.
    """
    intact = is_intact(path)
    with closing(ArchiveFile(path)) as file, file.reading():
        entry = summarise_archive(file)
        jobs = [read_job(file, index) for index in range(file.count("jobs/partition"))]
        stopped, submitted = _course(read_journal(file))
        return RunDetails(
            **entry,
            path=str(path),
            size_bytes=path.stat().st_size,
            schema=str(file.attribute("/", "qexp_schema")),
            is_checked=intact is True,
            is_intact=intact,
            can_resume=(path.parent / PARTS_NAME).is_dir(),
            took_s=seconds_between(entry["date"], entry["finished"]),
            metadata=read_metadata(file),
            not_honoured=file.document("config/not_honoured_json") or {},
            workloads=[_workload(file, name) for name in file.groups("pubs")],
            jobs_run=jobs,
            batches=[
                {"id": batch.id, "follows": batch.follows}
                | {name: (batch.final or batch.opened or {}).get(name) for name in _BATCH_DETAILS}
                for batch in read_batches(file)
            ],
            calibrations=list(_calibrations(file, jobs)),
            software=Software(
                **{name: str(file.attribute("environment", name)) for name in _SOFTWARE},
                git_dirty=bool(file.attribute("environment", "git_dirty")),
                distributions=file.texts("environment/distributions"),
            ),
            stopped=stopped,
            missing=list(_missing(file, jobs, submitted)),
        )


def summarise_unfinished(folder: Path) -> RunDetails:
    """Summarise a run that has no archive yet, from its parts and its journal.

    Raises:
        ArchiveError: There is no run in the folder, or it is damaged.
        OSError: The folder cannot be read.
    """
    from qexp.archive.parts import StoredParts
    from qexp.journal.file import read_ledger

    os.listdir(folder)
    stored = StoredParts(folder)
    known: dict[str, Any] = {"run_id": folder.absolute().name}
    if stored.has_header:
        known |= summarise_header(stored.read_header())
    known |= {"status": "unfinished", "path": str(folder)}
    if is_sweep(folder.parent) and not (folder / JOURNAL_NAME).exists():
        # Its jobs are in the journal of the sweep, with those of the other points.
        problem = f"not sealed; its jobs are those of the sweep {folder.parent}"
        return RunDetails(problem=problem, **known)
    ledger = read_ledger(folder)
    problem = "its plan is not complete; nothing was submitted"
    if ledger.planned:
        known |= {"jobs": ledger.num_partitions, "jobs_done": len(ledger.done)}
        out = len(ledger.open_attempts())
        problem = f"not sealed, {out} jobs may be out" if out else "not sealed, no job is out"
    attempts = [
        {
            "partition": attempt.partition,
            "attempt": attempt.number,
            "job_id": attempt.job,
            "batch": attempt.batch,
            "state": attempt.state or ("OUT" if attempt.failure is None else "ERROR"),
            "failure": attempt.failure,
        }
        for attempt in ledger.all_attempts()
    ]
    batches = [
        {"id": batch.batch, "follows": batch.follows, "is_closed": batch.batch in ledger.closed}
        for batch in ledger.batches
    ]
    return RunDetails(problem=problem, can_resume=True, attempts=attempts, batches=batches, **known)


def _sealed_entry(path: Path) -> RunEntry:
    # Raises where there is no permission.
    path.open("rb").close()
    try:
        file, is_checked = open_sealed(path)
    except DamagedFileError:
        raise
    except ArchiveError as error:
        # An archive of another schema, or none of qexp.
        return entry_without_data(path, "unreadable", str(error))
    with closing(file):
        return RunEntry(**summarise_archive(file), is_checked=is_checked)


def _workload(file: ArchiveFile, name: str) -> WorkloadSummary:
    table = f"pubs/{name}"
    shots, precision = file.column(f"{table}/shots"), file.column(f"{table}/precision")
    return WorkloadSummary(
        name,
        kind=str(file.cell(f"{table}/kind", 0)),
        pubs=len(shots),
        results=int(np.count_nonzero(file.column(f"{table}/result_row") >= 0)),
        shots=np.unique(shots[shots >= 0]).tolist(),
        precision=np.unique(precision[~np.isnan(precision)]).tolist(),
    )


def _calibrations(file: ArchiveFile, jobs: list[JobRecord]) -> Iterator[Calibration]:
    start = str(file.attribute("/", "date_created"))
    at_start = int(file.attribute("backend", "snapshot"))
    for index in range(len(file.groups(SNAPSHOTS))):
        group = f"{SNAPSHOTS}/s{index}"
        date = str(file.attribute(group, "last_update"))
        names = set(file.columns(group))
        yield Calibration(
            index,
            date,
            age_s=seconds_between(date, start),
            is_at_start=index == at_start,
            jobs=sum(job.snapshot == index for job in jobs),
            **{
                f"median_{name}": _median(file, f"{group}/{name}") if name in names else None
                for name in _MEDIANS
            },
        )


def _median(file: ArchiveFile, path: str) -> float | None:
    values = file.column(path)
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None


def _course(events: list[dict[str, Any]]) -> tuple[str | None, set[int]]:
    """Return why the run stopped before its end, and the partitions that were submitted."""
    stopped, submitted = None, set()
    for event in events:
        match event.get("event"):
            case "submitted":
                submitted.add(int(event["partition"]))
            case "interrupted":
                stopped = one_line(event["reason"])
            case "resumed" | "ended":
                stopped = None
    return stopped, submitted


def _missing(
    file: ArchiveFile, jobs: list[JobRecord], submitted: set[int]
) -> Iterator[MissingPubs]:
    for workload in file.groups("pubs"):
        names = ("result_row", "job", "partition")
        row, job, partition = (file.column(f"pubs/{workload}/{name}") for name in names)
        missing = np.flatnonzero(row < 0).tolist()
        reasons = [
            _reason(jobs[job[k]] if 0 <= job[k] < len(jobs) else None, partition[k] in submitted)
            for k in missing
        ]
        # Index minus place in `missing` is the same for consecutive PUBs.
        keys = [(k - place, reasons[place]) for place, k in enumerate(missing)]
        for (_, why), run in groupby(zip(missing, keys, strict=True), key=lambda item: item[1]):
            indices = [k for k, _ in run]
            yield MissingPubs(workload, indices[0], indices[-1] + 1, *why)


def _reason(job: JobRecord | None, is_submitted: bool) -> tuple[str | None, str | None, str]:
    """Return the job that failed to give a result, its state, and why there is no result."""
    if job is None:
        return None, None, "submitted, and not collected" if is_submitted else "not submitted"
    code = "" if job.error_code is None else f" (code {job.error_code})"
    reason = one_line(job.error or "no reason given")
    return job.job_id or None, job.state, f"{job.failure or job.state}{code}: {reason}"
