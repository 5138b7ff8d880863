"""The declared run, validated: the config stage makes it, `qexp.experiment.run` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from qexp.core.model import FailureKind, PrimitiveSpec, SourceFile
from qexp.core.protocols import Engine
from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

T = TypeVar("T")


@dataclass(frozen=True)
class TranspileSpec:
    """Arguments of Qiskit's `generate_preset_pass_manager`; `seed` None means derived."""

    optimization_level: int = 1
    layout_method: str | None = None
    routing_method: str | None = None
    translation_method: str | None = None
    scheduling_method: str | None = None
    approximation_degree: float | None = 1.0
    initial_layout: tuple[int, ...] | None = None
    seed: int | None = None


@dataclass(frozen=True)
class WorkloadSpec:
    """One named workload: its generator, its transpilation, its primitive.

    The generator is called with the workload's `numpy.random.SeedSequence`, and yields PUB-likes (a
    circuit, or a tuple in the order of Qiskit's `SamplerPub` or `EstimatorPub`), lazily.
    """

    name: str  # `"main"` where an experiment has only one
    generate: Callable[[Any], Iterable[Any]]
    primitive: PrimitiveSpec
    transpile: TranspileSpec
    num_circuits: int | None = None  # as the config says; it decides only if workers plan
    is_archived: bool = False  # the circuits come from an archive: they get no registers
    circuits: str = ""  # the node as text: with the same one, name and seed, PUBs are the same


@dataclass(frozen=True)
class PartitionLimits:
    """Upper bounds of one job. None means unbounded. See `conf/limits` for values and sources."""

    max_circuits: int | None = 100
    max_executions: int | None = None
    max_payload_bytes: int | None = None
    max_qpu_s: float | None = None
    max_control_instructions: int | None = None
    job_overhead_s: float = 2.0


@dataclass(frozen=True)
class Limit:
    """A documented limit of the service: a value that changes with time and has a source."""

    value: float  # in the unit that its name says
    source: str  # where it is documented
    checked: str  # ISO date on which that was looked up


@dataclass(frozen=True)
class ExecutionPolicy:
    """The declared `execution`: the way jobs are driven.

    Nothing in here decides data, so that it may change when a run is resumed.
    """

    on_interrupt: Literal["leave", "cancel"] = (
        "leave"  # "leave": jobs in flight are collected later
    )
    retries: int = 2  # further attempts of a job that failed for a transient reason
    retry_too_long: bool = False  # ending at the time limit (code 1305) is such a reason
    follow_ups: int = 3  # further batches for jobs that a batch's max_time left out
    max_pending: int | None = None  # jobs in flight; None: as many as the service accepts
    submit_interval_s: float | None = None  # None: as fast as the service accepts them
    deadline_s: int | None = None  # after this time a run stops waiting for its jobs
    outage_s: float = 900.0  # longest time out of reach before the run stops
    retry_refused: bool = False  # a resumed run also tries what the service refused before

    @property
    def max_batches(self) -> int:
        """Largest number of batches that one process opens."""
        return 1 + self.follow_ups + self.retries

    def allows_again(self, failures: Sequence[FailureKind]) -> bool:
        """Return True if a partition may be submitted again after its failures in this process.

        `qexp.journal.ledger.Ledger.is_wanted` applies this to a partition's attempts, and
        `qexp.batch.execute` stops after `max_batches`.
        """
        last = failures[-1]
        if last == "expired":
            return failures.count("expired") <= self.follow_ups
        if last == "shared":
            return True
        transient = {"transient", "undelivered", "lost"}
        if self.retry_too_long:
            transient.add("too_long")
        counted = [kind for kind in failures if kind not in ("expired", "shared")]
        return last in transient and len(counted) <= self.retries


@dataclass(frozen=True)
class SharingPolicy:
    """The declared way in which points of a sweep share jobs.

    The order and the jobs decide no data; simulated shots depend on `block`.
    """

    order: Literal["interleaved", "declared", "random"] = "interleaved"
    pack_s: float | None = 60.0  # predicted QPU seconds up to which a job is filled; None: not
    block: int | None = None  # circuits of a point that run in a row at most; None: a partition's


@dataclass(frozen=True)
class AnalysisSpec:
    """One declared analysis of a run's sealed archive, or of a sweep's dataset.

    `evaluate` returns an `xarray.Dataset` for an open `qexp.archive.read.Archive`, or for the
    dataset of a sweep; None where it has nothing to say.
    """

    name: str  # in the config, and that of its result
    target: str  # dotted name of the function
    arguments: Mapping[str, Any]
    evaluate: Callable[[Any], Any]


@dataclass(frozen=True)
class RunSpec:
    """A frozen run: everything that decides its data, and nothing that depends on the clock.

    `select_backend` returns the backend, and may ask the service. It is called with the name of the
    backend that a recorded plan is for, or None for a new run.

    `stop_after="plan"`: print the plan and submit nothing; `"submit"`: return once every job is
    submitted; `"collect"`, in no config: take what is finished, wait for nothing and submit
    nothing.
    """

    experiment: str
    seed: int  # decides circuits, transpilation and simulation
    workloads: tuple[WorkloadSpec, ...]  # in the order of submission
    engine: Engine
    select_backend: Callable[[str | None], BackendV2]
    limits: Mapping[str, Limit]  # the service's documented limits, see `conf/limits`
    config: tuple[str, ...]  # the resolved config, see `config_sections`
    stop_after: Literal["plan", "submit", "collect"] | None = None
    max_time_s: int | None = None  # of the batch; None: the service's own limit
    budget_s: int | None = None  # most QPU seconds of the run, or of the sweep that it is in
    policy: ExecutionPolicy = ExecutionPolicy()
    partition: PartitionLimits = PartitionLimits()  # the user's bounds of one job
    overrides: tuple[str, ...] = ()  # of the command line
    given_anew: tuple[str, ...] = ()  # overrides with which a run is resumed, and resumed again
    sources: tuple[SourceFile, ...] = ()  # files that declare the experiment
    metadata: Mapping[str, Any] = field(default_factory=dict)
    simulation_seed: int | None = None  # decides simulation instead of `seed`
    analyses: tuple[AnalysisSpec, ...] = ()  # of the sealed data; they decide none of them
    sweep_analyses: tuple[AnalysisSpec, ...] = ()  # of the sweep that it is a point of
    sharing: SharingPolicy = SharingPolicy()  # of jobs with the other points of a sweep
    keeps_raw: bool = True  # keep the data behind the values of client-side Estimators
    place: str = ""  # nodes `backend` and `engine`: points with the same share a backend

    @property
    def config_yaml(self) -> str:
        """Return the text of the resolved config."""
        return "".join(self.config)

    @property
    def noise_seed(self) -> int:
        """Return the seed of simulation."""
        return self.seed if self.simulation_seed is None else self.simulation_seed

    def primitive_of(self, workload: str) -> PrimitiveSpec:
        """Return the primitive that runs a workload."""
        return next(item.primitive for item in self.workloads if item.name == workload)


def common_value(key: str, values: Iterable[T]) -> T:
    """Return the value of a config `key` that all points share.

    Raises:
        ConfigError: Points have different values.
    """
    first, *others = values
    if any(other != first for other in others):
        raise ConfigError(
            f"{key}: the points of a sweep share their jobs, and must have the same value; to run "
            f"each on its own, one after the other, add hydra/launcher=basic"
        )
    return first
