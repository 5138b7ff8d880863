"""The values that flow from plan to archive, all frozen; `qexp.core.spec` has the declared ones.

Qiskit's own containers are used for what they are: a PUB is a `SamplerPub` or an `EstimatorPub`,
a job's result is a `PrimitiveResult`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    Pub: TypeAlias = SamplerPub | EstimatorPub

PrimitiveKind: TypeAlias = Literal["sampler", "estimator"]
Implementation: TypeAlias = Literal["client", "legacy"]
JobState: TypeAlias = Literal["INITIALIZING", "QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED"]
RunStatus: TypeAlias = Literal["planned", "complete", "partial", "failed"]

FailureKind: TypeAlias = Literal[
    "refused",  # it can never run as it is: validation
    "denied",  # the account may not: quota, authorisation
    "cancelled",  # by someone
    "expired",  # the batch's max_time was reached before it ran
    "too_long",  # ended at its time limit
    "transient",  # an error on the service's side
    "undelivered",  # it ran, but its result could not be had
    "lost",  # nothing knows it any more
    "internal",  # an error that trying again would only repeat
]

JOB_TAG = "qexp-job:"
"""The beginning of the tag that only one attempt's job has."""

FINAL_STATES: frozenset[JobState] = frozenset({"DONE", "ERROR", "CANCELLED"})


@dataclass(frozen=True)
class PrimitiveSpec:
    """One primitive as declared.

    Attributes:
        kind: `"sampler"` or `"estimator"`.
        implementation: `"client"` (client-side, on IBM's Executor) or `"legacy"` (server-side V2).
        shots: Shots per circuit and parameter set, for PUBs that do not carry their own.
        precision: Target standard error of an expectation value, for Estimator PUBs that do not
            carry their own.
        options: The options as declared (nested plain dict), already accepted by IBM's model.
    """

    kind: PrimitiveKind
    implementation: Implementation = "client"
    shots: int | None = None
    precision: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedPub:
    """A PUB as generated and as it will be submitted (ISA circuit, laid-out observables)."""

    workload: str
    index: int
    logical: Pub
    isa: Pub


@dataclass(frozen=True)
class Partition:
    """PUBs `first <= index < stop` of one workload, which become one job.

    Attributes:
        index: Number of the partition in the experiment, from 0; also the order of submission.
        workload: Name of the workload.
        first: Index of the first PUB within the workload.
        stop: One past the last PUB's index.
        shots: The one shots value of the job, or None.
        precision: The one precision of the job, or None.
        executions: Sum over the PUBs.
        payload_bytes: Sum over the PUBs.
        qpu_s: Predicted QPU seconds, with the per-job overhead.
        closed_by: What ended the partition: a limit's name, `"shots"`, `"precision"` or `"end"`.
        point: Number of its point in the experiment, from 0.
    """

    index: int
    workload: str
    first: int
    stop: int
    shots: int | None
    precision: float | None
    executions: int
    payload_bytes: int
    qpu_s: float
    closed_by: str
    point: int = 0

    @property
    def num_pubs(self) -> int:
        """Number of PUBs in the partition."""
        return self.stop - self.first


@dataclass(frozen=True)
class JobRequest:
    """Everything an engine needs to run one partition as one job.

    Attributes:
        partition: The partition.
        primitive: The primitive that runs it.
        load_pubs: Loads the ISA PUBs, in order; called once, when the engine needs them, so that
            memory does not grow with the number of queued jobs.
        tags: Job tags (at most 8 of 86 characters).
        seed: Seed of the simulation of this job; a QPU ignores it.
        attempt: Number of the attempt to run this partition, from 1.
        tag: That of the tags which only this attempt has.
    """

    partition: Partition
    primitive: PrimitiveSpec
    load_pubs: Callable[[], Sequence[Pub]]
    tags: tuple[str, ...]
    seed: int
    attempt: int = 1
    tag: str = ""


@dataclass(frozen=True)
class FoundJob:
    """A job that the service has, whether or not this process submitted it.

    Attributes:
        job_id: Its id.
        tags: Its tags.
        state: Its state.
        created: ISO 8601 UTC, `""` where not reported.
        batch_id: The batch it belongs to, `""` where not reported.
    """

    job_id: str
    tags: tuple[str, ...]
    state: JobState
    created: str = ""
    batch_id: str = ""


@dataclass(frozen=True)
class Span:
    """One stretch of time in which (part of) a PUB was executed; one schema for all engines.

    Attributes:
        start: ISO 8601 UTC.
        stop: ISO 8601 UTC.
        pub: Index of the PUB within its job.
        size: Number of executions of that PUB in the span.
    """

    start: str
    stop: str
    pub: int
    size: int


@dataclass(frozen=True)
class JobOutcome:
    """A job that reached a final state, with everything known about it.

    Attributes:
        job_id: The service's id (or the engine's own, locally).
        partition: Index of the partition it ran.
        state: A final state.
        result: The result, or None when the job failed or was cancelled.
        error: Reason of the failure, or None.
        error_code: The service's reason code, or None.
        metrics: `job.metrics()`, or the same of another engine: `timestamps` (created, running,
            finished; ISO 8601 UTC) and `usage` (`qpu_charge_time_seconds`, `status`).
        options: The primitive's options as finalised by the engine.
        spans: Execution or chunk spans, normalised.
        backend_properties: The calibration at the time the job ran (`to_dict()`), or None.
        info: Anything else worth keeping: tags, primitive id, usage estimation, logs.
        failure: The kind of failure; None for a job that is DONE.
        attempt: Number of the attempt to run the partition, from 1.
        batch_id: The batch it ran in.
    """

    job_id: str
    partition: int
    state: JobState
    result: PrimitiveResult[Any] | None
    error: str | None = None
    error_code: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    backend_properties: Mapping[str, Any] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    failure: FailureKind | None = None
    attempt: int = 1
    batch_id: str = ""

    @property
    def usage_s(self) -> float | None:
        """QPU seconds that were charged, or None where they are not reported.

        Older services call them `quantum_seconds` or `seconds`.
        """
        usage = self.metrics.get("usage")
        if not isinstance(usage, Mapping):
            return None
        for name in ("qpu_charge_time_seconds", "quantum_seconds", "seconds"):
            value = usage.get(name)
            if isinstance(value, int | float):
                return float(value)
        return None


@dataclass(frozen=True)
class Plan:
    """The partitions in the order of submission, and the prediction for all of them."""

    partitions: tuple[Partition, ...]

    @property
    def qpu_s(self) -> float:
        """Predicted QPU seconds of all jobs together."""
        return sum(partition.qpu_s for partition in self.partitions)


@dataclass(frozen=True)
class SourceFile:
    """A file that declares (part of) the experiment, kept verbatim in the archive."""

    name: str
    text: str


@dataclass(frozen=True)
class RunHeader:
    """Everything known about a run before its first job.

    Attributes:
        run_id: Unique id of the run, also the name of its folder.
        experiment: Name of the experiment.
        engine: Name of the engine.
        created: ISO 8601 UTC.
        config_yaml: The resolved config.
        overrides: The command line's overrides.
        sources: Config files and Python modules that declare the experiment.
        seed: The seed; `seeds` says what was derived from it.
        seeds: Streams derived from the seed, JSON-able.
        environment: `python`, `platform`, `distributions` (list of `name==version`),
            `git_commit`, `git_dirty`, `git_diff`.
        backend: `name`, `num_qubits`, `properties`, `configuration`, `target`: JSON-able.
        limits: The limits in force, with source and date, JSON-able.
        not_honoured: workload -> declared options that the engine does not honour.
        metadata: `title`, `description`, `creators`, `publisher`, `funding`, `license`, `keywords`
            where declared.
    """

    run_id: str
    experiment: str
    engine: str
    created: str
    config_yaml: str
    overrides: tuple[str, ...]
    sources: tuple[SourceFile, ...]
    seed: int
    seeds: Mapping[str, Any]
    environment: Mapping[str, Any]
    backend: Mapping[str, Any]
    limits: Mapping[str, Any]
    not_honoured: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, Any]
