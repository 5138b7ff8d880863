"""The values that flow from plan to archive, all frozen; `qexp.core.spec` has the declared ones.

Qiskit's own containers are used for what they are: a PUB is a `SamplerPub` or an `EstimatorPub`,
a job's result is a `PrimitiveResult`. Times are ISO 8601 in UTC, `""` where not reported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from qexp.core.raw import RawData

    Pub: TypeAlias = SamplerPub | EstimatorPub

PrimitiveKind: TypeAlias = Literal["sampler", "estimator"]
Implementation: TypeAlias = Literal["client", "legacy"]
JobState: TypeAlias = Literal["INITIALIZING", "QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED"]
RunStatus: TypeAlias = Literal["planned", "complete", "partial", "failed"]

FailureKind: TypeAlias = Literal[
    "refused",  # it can never run as it is: validation
    "too_large",  # it can never run as it is, but perhaps in smaller pieces
    "denied",  # the account may not: quota, authorisation
    "cancelled",  # by someone
    "expired",  # the batch's max_time was reached before it ran
    "too_long",  # ended at its time limit
    "transient",  # an error on the service's side
    "undelivered",  # it ran, but its result could not be had
    "lost",  # nothing knows it any more
    "duplicate",  # not needed: another job gave the result of its PUBs
    "shared",  # with other points in a job that failed for good: alone, it may run
    "internal",  # an error that trying again would only repeat
]

FINAL_FAILURES: frozenset[FailureKind] = frozenset({"refused", "too_large"})
"""The same job would end so again."""

JOB_TAG = "qexp-job:"
"""The beginning of the tag that only one attempt's job has."""

FINAL_STATES: frozenset[JobState] = frozenset({"DONE", "ERROR", "CANCELLED"})


Charge: TypeAlias = tuple[float, bool]
"""QPU seconds of a job, and True if the service has not settled them yet."""


def charged_s(metrics: Mapping[str, Any]) -> float | None:
    """Return the QPU seconds in a job's `metrics`; see `JobOutcome.usage_s`."""
    usage = metrics.get("usage")
    if not isinstance(usage, Mapping):
        return None
    names = ("qpu_charge_time_seconds", "quantum_seconds", "seconds")
    values = (usage.get(name) for name in names)
    return next((float(value) for value in values if isinstance(value, int | float)), None)


def is_charge_pending(metrics: Mapping[str, Any]) -> bool:
    """Return True if a job's `metrics` say that its charge is not final yet."""
    usage = metrics.get("usage")
    return isinstance(usage, Mapping) and usage.get("status") == "pending"


@dataclass(frozen=True)
class PrimitiveSpec:
    """One primitive as declared; its options have been accepted by IBM's own model."""

    kind: PrimitiveKind
    implementation: Implementation = "client"  # client-side, on IBM's Executor; or server-side V2
    shots: int | None = None  # per circuit and parameter set, of PUBs without their own
    precision: float | None = None  # target standard error, of PUBs without their own
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Others that were declared, by dotted path; the run that is reproduced did not honour them.
    ignored: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedPub:
    """A PUB as generated and as it will be submitted (ISA circuit, laid-out observables)."""

    workload: str
    index: int
    logical: Pub
    isa: Pub


class PayloadBytes(NamedTuple):
    """Size of an encoded PUB in a job of its own."""

    total: int
    shared: int = 0  # of what all PUBs of a job share: the calibration of the readout


@dataclass(frozen=True)
class Partition:
    """PUBs `first <= index < stop` of one workload, which become one job."""

    index: int  # in the experiment, from 0; also the order of submission
    workload: str
    first: int
    stop: int
    shots: int | None  # the same for all PUBs of a job, as is `precision`
    precision: float | None
    executions: int  # circuit executions of all PUBs
    payload_bytes: int
    qpu_s: float  # predicted, with the overhead of a job
    closed_by: str  # what kept the next PUB out: a limit, "shots", "precision"; or "end"
    point: int = 0  # number of its point in the experiment

    @property
    def num_pubs(self) -> int:
        """Number of PUBs in the partition."""
        return self.stop - self.first

    def piece(self, first: int, stop: int) -> Partition:
        """Return some of its PUBs, with their share of what is predicted for all of them."""
        share = (stop - first) / self.num_pubs
        return replace(
            self,
            first=first,
            stop=stop,
            executions=round(self.executions * share),
            payload_bytes=round(self.payload_bytes * share),
            qpu_s=self.qpu_s * share,
        )


@dataclass(frozen=True)
class JobRequest:
    """Everything an engine needs to run one partition as one job, or several that share a job.

    Of a shared job, `partition`, `seed` and `attempt` are those of its first member. `load_pubs`
    loads the ISA PUBs of all, in order, when the engine needs them, so that memory does not grow
    with the number of queued jobs.
    """

    partition: Partition
    primitive: PrimitiveSpec
    load_pubs: Callable[[], Sequence[Pub]]
    tags: tuple[str, ...]  # of the job, at most 8 of 86 characters
    seed: int  # of the simulation; a QPU ignores it
    attempt: int = 1  # number of the attempt to run this partition
    tag: str = ""  # the one of the tags that only this attempt has
    members: tuple[JobRequest, ...] = ()  # of a job that several partitions share, in its order

    @property
    def by_partition(self) -> tuple[JobRequest, ...]:
        """The request of each partition of the job, in the order of their PUBs."""
        return self.members or (self,)

    @property
    def num_pubs(self) -> int:
        """Number of PUBs of the job."""
        return sum(each.partition.num_pubs for each in self.by_partition)


@dataclass(frozen=True)
class FoundJob:
    """A job that the service has, whether or not this process submitted it."""

    job_id: str
    tags: tuple[str, ...]
    state: JobState
    created: str = ""
    batch_id: str = ""  # "" where not reported


@dataclass(frozen=True)
class Span:
    """A stretch of time in which a PUB, or part of it, was executed."""

    start: str
    stop: str
    pub: int  # index within the job
    size: int  # executions of that PUB in the span


@dataclass(frozen=True)
class JobOutcome:
    """A job that reached a final state, with everything known about it.

    Its metrics are `job.metrics()`, or the same of another engine: `timestamps` (created, running,
    finished) and `usage` (`qpu_charge_time_seconds`, `status`). `info` is anything else worth
    keeping: tags, primitive id, usage estimation, logs.
    """

    job_id: str  # the service's id (or the engine's own, locally); `""` if there was no job
    partition: int  # index of the partition it ran
    state: JobState
    result: PrimitiveResult[Any] | None
    error: str | None = None
    error_code: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)  # as finalised by the engine
    spans: tuple[Span, ...] = ()
    backend_properties: Mapping[str, Any] | None = None  # the calibration at that time, as a dict
    info: Mapping[str, Any] = field(default_factory=dict)
    failure: FailureKind | None = None  # the kind of failure; None for a job that is DONE
    attempt: int = 1  # number of the attempt to run the partition, from 1
    batch_id: str = ""
    first: int | None = None  # first of its PUBs; None: it has those of the partition
    stop: int | None = None  # one more than the last of its PUBs
    share: float = 1.0  # share of the job's usage that its PUBs account for
    raw: RawData | None = None  # the data behind the values of a client-side Estimator, or None

    @property
    def usage_s(self) -> float | None:
        """QPU seconds that were charged for these PUBs, or None where they are not reported.

        Older services call them `quantum_seconds` or `seconds`.
        """
        charged = charged_s(self.metrics)
        return None if charged is None else charged * self.share


@dataclass(frozen=True)
class PlannedJob:
    """A job that partitions of a sweep are to share."""

    partitions: tuple[int, ...]  # their indices in the experiment, in the order of the job
    saved_s: float = 0.0  # predicted QPU seconds that a job of each would take in addition


@dataclass(frozen=True)
class Forecast:
    """Predicted cost of a simulation of PUBs on this machine.

    Each PUB with approximated noise has `errors` (instruction and qubits -> how far its error is
    off) and `deviation` (a bound on how far any probability is).
    """

    core_s: float = 0.0  # seconds of one core, for all of them
    longest_s: float = 0.0  # of the longest circuit or block of parameter sets, never divided
    largest_bytes: int = 0  # memory of the largest PUB
    approximated: tuple[Mapping[str, Any], ...] = ()

    def __add__(self, other: Forecast) -> Forecast:
        return Forecast(
            self.core_s + other.core_s,
            max(self.longest_s, other.longest_s),
            max(self.largest_bytes, other.largest_bytes),
            self.approximated + other.approximated,
        )

    def wall_s(self, cores: int) -> float:
        """Return the seconds that it takes on some cores."""
        return max(self.longest_s, self.core_s / cores)


@dataclass(frozen=True)
class InstanceUsage:
    """QPU time of an instance of the account in the present period."""

    name: str
    used_s: float | None = None  # seconds that were used; None: not known
    left_s: float | None = None  # seconds that are left; None: no limit, or not known
    points: frozenset[int] = frozenset()  # points of an experiment that run there


@dataclass(frozen=True)
class Progress:
    """The work of a simulated batch that is done."""

    jobs: float = 0.0  # jobs that are done, and the done shares of others, by predicted time
    core_s: float = 0.0  # predicted seconds of one core for all that is done

    def __add__(self, other: Progress) -> Progress:
        return Progress(self.jobs + other.jobs, self.core_s + other.core_s)


@dataclass(frozen=True)
class Plan:
    """The partitions in order, and the prediction for all of them."""

    partitions: tuple[Partition, ...]
    jobs: tuple[PlannedJob, ...] | None = None  # of a sweep; None: one for each partition
    forecast: Forecast | None = None  # of a simulation; None: planned by another process
    instances: tuple[InstanceUsage, ...] = ()  # charged, if the plan is all that was asked for

    @property
    def num_jobs(self) -> int:
        """Number of jobs."""
        return len(self.partitions) if self.jobs is None else len(self.jobs)

    @property
    def qpu_s(self) -> float:
        """Predicted QPU seconds of all jobs together."""
        saved_s = sum(job.saved_s for job in self.jobs or ())
        return sum(partition.qpu_s for partition in self.partitions) - saved_s

    def part(self, points: Container[int]) -> Plan:
        """Return the plan of some points, which share no job with the others."""
        own = tuple(one for one in self.partitions if one.point in points)
        indices = {partition.index for partition in own}
        jobs = self.jobs and tuple(job for job in self.jobs if job.partitions[0] in indices)
        return Plan(own, jobs)


_TOP_LEVEL_KEY: Final = re.compile(r"^(?=\w)", re.MULTILINE)


def config_sections(config_yaml: str) -> tuple[str, ...]:
    """Return the text of a config by its top-level keys, of which equal ones are kept once."""
    return tuple(map(sys.intern, _TOP_LEVEL_KEY.split(config_yaml)))


@dataclass(frozen=True)
class SourceFile:
    """A file that declares (part of) the experiment, kept verbatim in the archive."""

    name: str
    text: str


@dataclass(frozen=True)
class RunHeader:
    """Everything known about a run before its first job. Mappings are JSON-able.

    Attributes:
        environment: `python`, `platform`, `distributions` (list of `name==version`),
            `git_commit`, `git_dirty`, `git_diff`.
        backend: `name`, `num_qubits`, `properties`, `configuration`, `target`.
        metadata: `title`, `description`, `creators`, `publisher`, `funding`, `license`, `keywords`
            where declared.
    """

    run_id: str  # unique; also the name of the run's folder
    experiment: str
    engine: str
    created: str
    config_yaml: str  # the resolved config
    overrides: tuple[str, ...]  # those of the command line
    sources: tuple[SourceFile, ...]  # config files and modules that declare the experiment
    seed: int
    seeds: Mapping[str, Any]  # the streams that were derived from it
    environment: Mapping[str, Any]
    backend: Mapping[str, Any]
    limits: Mapping[str, Any]  # the limits in force, with source and date
    not_honoured: Mapping[str, Mapping[str, Any]]  # workload -> options that the engine ignores
    metadata: Mapping[str, Any]
