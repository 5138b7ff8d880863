"""The summary of a run: its row in a listing, and for one run what happened in it.

`show` prints it, `show --json` and `ls --json` are its JSON form (see `docs/archive-commands.md`),
and the report is made from it. A value that is not known is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from qexp.core.jsonable import to_jsonable
from qexp.text import one_line

if TYPE_CHECKING:
    from qexp.archive.jobs import JobRecord

ListedStatus: TypeAlias = Literal[
    "complete",
    "partial",
    "failed",
    "planned",
    "unfinished",  # no archive yet: a journal or parts
    "damaged",  # not the file that was sealed
    "unreadable",  # no permission, no archive of qexp, or one of another schema
]

_ARCHIVE_ONLY: Final = ("closed_by", "options", "metrics", "info", "result_metadata", "spans")
"""Fields of a job that are in the archive, but not in the JSON form."""


@dataclass(frozen=True)
class RunEntry:
    """One run of a listing.

    Attributes:
        status: Status of the archive, or `"unfinished"`, `"damaged"`, `"unreadable"`.
        run_id: Id of the run, or the name of its folder where the run cannot be read.
        experiment: Name of the experiment.
        date: Start of the run, ISO 8601 UTC.
        finished: End of its last job, ISO 8601 UTC.
        engine: Name of the engine.
        backend: Name of the backend.
        num_qubits: Number of its qubits.
        pubs: Number of PUBs that were planned.
        results: Number of PUBs that have a result.
        jobs: Number of jobs (partitions) that were planned.
        jobs_done: Number of those that have a result.
        usage_s: QPU seconds charged for all jobs, where reported.
        predicted_qpu_s: QPU seconds predicted for all jobs.
        seed: The seed.
        overrides: Overrides of the command line.
        data_sha256: Digest of all result data.
        is_checked: True if the digest of the whole file was compared; a listing does up to 16 MiB.
        size_bytes: Size of the archive.
        path: The archive, or the folder of an unfinished run.
        problem: Why the run cannot be read, or how an unfinished one stopped, on one line.
        config: The resolved config.
    """

    status: ListedStatus
    run_id: str
    experiment: str | None = None
    date: str | None = None
    finished: str | None = None
    engine: str | None = None
    backend: str | None = None
    num_qubits: int | None = None
    pubs: int | None = None
    results: int | None = None
    jobs: int | None = None
    jobs_done: int | None = None
    usage_s: float | None = None
    predicted_qpu_s: float | None = None
    seed: int | None = None
    overrides: list[str] = field(default_factory=list)
    data_sha256: str | None = None
    is_checked: bool = False
    size_bytes: int | None = None
    path: str = ""
    problem: str | None = None
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def is_simulated(self) -> bool:
        """True if `usage_s` is the time of a simulation rather than that of a QPU."""
        return self.engine != "ibm"

    def to_json(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        return {item.name: to_jsonable(getattr(self, item.name)) for item in fields(RunEntry)}


def entry_without_data(place: Path, status: ListedStatus, problem: str) -> RunEntry:
    """Return the entry of a run of which nothing but its place is believed."""
    folder = place if place.is_dir() else place.parent
    return RunEntry(status, folder.absolute().name, problem=one_line(problem))


LISTED: Final = tuple(item.name for item in fields(RunEntry) if item.name != "config")
"""Fields that runs can be filtered and sorted by, besides the keys of their configs."""


@dataclass(frozen=True)
class WorkloadSummary:
    """Size of one workload.

    Attributes:
        name: Name of the workload.
        kind: `"sampler"` or `"estimator"`.
        pubs: Number of PUBs that were planned.
        results: Number of PUBs that have a result.
        shots: The different numbers of shots, ascending.
        precision: The different precisions, ascending.
    """

    name: str
    kind: str
    pubs: int
    results: int
    shots: list[int]
    precision: list[float]


@dataclass(frozen=True)
class Calibration:
    """One calibration of the backend, with medians over its qubits.

    Attributes:
        index: Index in `Archive.snapshots`.
        date: Time of the calibration, ISO 8601 UTC.
        age_s: Its age at the start of the run, in seconds.
        is_at_start: True if it was in force at the start of the run.
        jobs: Number of jobs that ran with it.
        median_t1_s: Median T1, in seconds.
        median_t2_s: Median T2, in seconds.
        median_readout_error: Median readout error.
    """

    index: int
    date: str
    age_s: float | None
    is_at_start: bool
    jobs: int
    median_t1_s: float | None
    median_t2_s: float | None
    median_readout_error: float | None


@dataclass(frozen=True)
class MissingPubs:
    """Consecutive PUBs without a result that have the same reason.

    Attributes:
        workload: Name of the workload.
        first: Index of the first PUB.
        stop: One past the index of the last PUB.
        job_id: Job that should have given the results, None where there was none.
        state: Final state of that job.
        reason: Why there is no result, on one line.
    """

    workload: str
    first: int
    stop: int
    job_id: str | None
    state: str | None
    reason: str


@dataclass(frozen=True)
class Software:
    """The software of a run.

    Attributes:
        python: Version of Python.
        platform: Name of the platform.
        git_commit: Commit of the checkout, `""` outside of one.
        git_dirty: True if there were uncommitted changes.
        distributions: Installed packages, as `name==version`.
    """

    python: str | None = None
    platform: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    distributions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RunSummary(RunEntry):
    """All that is known of one run; what only an archive holds is None or empty without one.

    Attributes:
        schema: Version of the archive's schema, None for an unfinished run.
        is_intact: True if the file is what was sealed; None where it states no digest (schema 1.0).
        can_resume: True if the run can go on: its journal or its parts are there.
        took_s: Seconds from the start of the run to the end of its last job.
        metadata: Title, description, creators and so on, as declared.
        not_honoured: Workload -> options that had no effect.
        workloads: The workloads, by name.
        jobs_run: Every attempt to run a partition, by partition and attempt.
        attempts: The same for an unfinished run, as the journal tells it: `partition`, `attempt`,
            `job_id`, `batch`, `state` (`"OUT"`: no outcome is on disk), `failure`.
        batches: Every batch, in order: `id`, `follows`, and `state`, `mode`, `max_time`,
            `started_at`, `closed_at`, `usage_time` as the service told them last, or `is_closed`
            for an unfinished run.
        calibrations: Every calibration that was in force.
        software: The software that made the run.
        stopped: Why the run stopped before its end, None if it did not.
        missing: The PUBs without a result.
    """

    schema: str | None = None
    is_intact: bool | None = None
    can_resume: bool = False
    took_s: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    not_honoured: dict[str, Any] = field(default_factory=dict)
    workloads: list[WorkloadSummary] = field(default_factory=list)
    jobs_run: list[JobRecord] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    calibrations: list[Calibration] = field(default_factory=list)
    software: Software = field(default_factory=Software)
    stopped: str | None = None
    missing: list[MissingPubs] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        return dict(to_jsonable(vars(self) | {"jobs_run": list(map(_job_json, self.jobs_run))}))


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Return the seconds between two ISO 8601 times, None where one is not known."""
    try:
        seconds = datetime.fromisoformat(end or "") - datetime.fromisoformat(start or "")
    except (TypeError, ValueError):
        # Not a time, or one of them has no time zone.
        return None
    return seconds.total_seconds()


def _job_json(job: JobRecord) -> dict[str, Any]:
    plain = {name: value for name, value in vars(job).items() if name not in _ARCHIVE_ONLY}
    return {
        **plain,
        "queued_s": seconds_between(job.created, job.running),
        "ran_s": seconds_between(job.running, job.finished),
    }
