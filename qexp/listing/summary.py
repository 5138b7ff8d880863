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
    """One run of a listing."""

    status: ListedStatus
    run_id: str  # the name of its folder where the run cannot be read
    experiment: str | None = None
    date: str | None = None  # start of the run, ISO 8601 UTC
    finished: str | None = None  # end of its last job, ISO 8601 UTC
    engine: str | None = None
    backend: str | None = None
    num_qubits: int | None = None  # of the backend
    pubs: int | None = None  # PUBs that were planned
    results: int | None = None  # PUBs that have a result
    jobs: int | None = None  # jobs (partitions) that were planned
    jobs_done: int | None = None  # jobs that have a result
    usage_s: float | None = None  # QPU seconds charged for all jobs, where reported
    usage_pending: int | None = None  # jobs whose charge was not final when they were collected
    predicted_qpu_s: float | None = None
    predicted_charged_s: float | None = None  # for the jobs that report a charge, on a QPU
    instance: str | None = None  # of the account, by name
    seed: int | None = None
    overrides: list[str] = field(default_factory=list)
    data_sha256: str | None = None  # digest of all result data
    is_checked: bool = False  # the digest of the whole file was compared; `ls` does up to 16 MiB
    size_bytes: int | None = None  # of the archive
    path: str = ""  # the archive, or the folder of an unfinished run
    problem: str | None = None  # why it cannot be read, or how it stopped, on one line
    config: dict[str, Any] = field(default_factory=dict)  # as resolved, plain JSON

    @property
    def is_simulated(self) -> bool:
        """True if `usage_s` is the time of a simulation rather than that of a QPU."""
        return self.engine != "ibm"

    def to_json(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        return {item.name: getattr(self, item.name) for item in fields(RunEntry)}


def entry_without_data(place: Path, status: ListedStatus, problem: str) -> RunEntry:
    """Return the entry of a run of which nothing but its place is believed."""
    folder = place if place.is_dir() else place.parent
    return RunEntry(status, folder.absolute().name, problem=one_line(problem))


LISTED: Final = tuple(item.name for item in fields(RunEntry) if item.name != "config")
"""Fields that runs can be filtered and sorted by, besides the keys of their configs."""


@dataclass(frozen=True)
class WorkloadSummary:
    """Size of one workload."""

    name: str
    kind: str  # "sampler" or "estimator"
    pubs: int
    results: int
    shots: list[int]  # the different numbers of shots, ascending
    precision: list[float]  # the different precisions, ascending


@dataclass(frozen=True)
class Calibration:
    """One calibration of the backend, with medians over its qubits."""

    index: int  # in `Archive.snapshots`
    date: str  # ISO 8601 UTC
    age_s: float | None  # at the start of the run
    is_at_start: bool  # in force at the start of the run
    jobs: int  # jobs that ran with it
    median_t1_s: float | None
    median_t2_s: float | None
    median_readout_error: float | None


@dataclass(frozen=True)
class MissingPubs:
    """Consecutive PUBs without a result that have the same reason."""

    workload: str
    first: int
    stop: int  # one past the index of the last PUB
    job_id: str | None  # job that should have given the results
    state: str | None  # its final state
    reason: str  # on one line


@dataclass(frozen=True)
class Software:
    """The software of a run."""

    python: str | None = None
    platform: str | None = None
    git_commit: str | None = None  # "" outside of a checkout
    git_dirty: bool | None = None  # there were uncommitted changes
    distributions: list[str] = field(default_factory=list)  # as "name==version"


@dataclass(frozen=True)
class RunDetails(RunEntry):
    """All that is known of one run; what only an archive holds is None or empty without one.

    The journal tells the attempts of an unfinished run: `partition`, `attempt`, `job_id`, `batch`,
    `state` (`"OUT"`: no outcome is on disk), `failure`. A batch has `id`, `follows`, and `state`,
    `mode`, `max_time`, `started_at`, `closed_at`, `usage_time` as the service reported them last,
    or `is_closed` for an unfinished run.
    """

    schema: str | None = None  # version of the archive's schema
    is_intact: bool | None = None  # None where the file states no digest (schema 1.0)
    can_resume: bool = False  # its journal or its parts are there
    took_s: float | None = None  # from the start of the run to the end of its last job
    metadata: dict[str, Any] = field(default_factory=dict)  # title, creators, ... as declared
    not_honoured: dict[str, Any] = field(default_factory=dict)  # workload -> options without effect
    workloads: list[WorkloadSummary] = field(default_factory=list)
    jobs_run: list[JobRecord] = field(default_factory=list)  # every attempt to run a partition
    attempts: list[dict[str, Any]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    calibrations: list[Calibration] = field(default_factory=list)
    software: Software = field(default_factory=Software)
    stopped: str | None = None  # why the run stopped before its end, None if it did not
    missing: list[MissingPubs] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        jobs = [
            {
                **{name: value for name, value in vars(job).items() if name not in _ARCHIVE_ONLY},
                "queued_s": seconds_between(job.created, job.running),
                "ran_s": seconds_between(job.running, job.finished),
            }
            for job in self.jobs_run
        ]
        return dict(to_jsonable(vars(self) | {"jobs_run": jobs}))


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Return the seconds between two ISO 8601 times, None where one is not known."""
    try:
        seconds = datetime.fromisoformat(end or "") - datetime.fromisoformat(start or "")
    except (TypeError, ValueError):
        # Not a time, or one of them has no time zone.
        return None
    return seconds.total_seconds()
