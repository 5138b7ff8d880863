"""The declared run, validated: the config stage makes it, `qexp.experiment.run` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qexp.core.model import PrimitiveSpec, SourceFile
from qexp.core.policy import ExecutionPolicy
from qexp.core.protocols import Engine

if TYPE_CHECKING:
    from qiskit.providers import BackendV2


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

    Attributes:
        name: The workload's name; `"main"` where an experiment has only one.
        generate: The bound circuit generator. Called with the workload's
            `numpy.random.SeedSequence`, it yields PUB-likes (a circuit, or a tuple in the order
            of Qiskit's `SamplerPub` or `EstimatorPub`), lazily.
        primitive: The primitive that runs the workload.
        transpile: Arguments of the pass manager that makes ISA circuits.
        num_circuits: Number of circuits that the config asks for, where it says so; it decides
            only whether worker processes plan.
        is_archived: True if the circuits come from an archive: they get no registers.
    """

    name: str
    generate: Callable[[Any], Iterable[Any]]
    primitive: PrimitiveSpec
    transpile: TranspileSpec
    num_circuits: int | None = None
    is_archived: bool = False


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
    """A documented limit of the service: a value that changes with time and has a source.

    Attributes:
        value: The limit, in the unit that its name says.
        source: Where it is documented.
        checked: ISO date on which that was looked up.
    """

    value: float
    source: str
    checked: str


@dataclass(frozen=True)
class AnalysisSpec:
    """One declared analysis of a run's sealed archive.

    Attributes:
        name: Its name in the config, and that of its result.
        target: Dotted name of the function.
        arguments: The function's declared settings.
        evaluate: Returns an `xarray.Dataset` for an open `qexp.archive.read.Archive`; None where
            it has nothing to say.
    """

    name: str
    target: str
    arguments: Mapping[str, Any]
    evaluate: Callable[[Any], Any]


@dataclass(frozen=True)
class RunSpec:
    """A frozen run: everything that decides its data, and nothing that depends on the clock.

    Attributes:
        experiment: Name of the experiment.
        seed: Decides circuits, transpilation and simulation.
        stop_after: `"plan"`: print the plan and submit nothing. `"submit"`: return once every job
            is submitted. None: run.
        max_time_s: The batch's `max_time` in seconds, or None for the service's own limit.
        workloads: In the order of submission.
        engine: The engine that runs the batch.
        policy: The way jobs are driven; it decides no data.
        select_backend: Returns the backend, and may ask the service. Called with the name of the
            backend that a recorded plan is for, or None for a new run.
        partition: The user's bounds of one job.
        limits: The service's documented limits by name, see `conf/limits`.
        config_yaml: The resolved config.
        overrides: The command line's overrides.
        sources: Files that declare the experiment.
        metadata: Title, description, creators, publisher, funding, license, keywords.
        analyses: Analyses of the sealed data; they decide none of them.
    """

    experiment: str
    seed: int
    stop_after: Literal["plan", "submit"] | None
    max_time_s: int | None
    workloads: tuple[WorkloadSpec, ...]
    engine: Engine
    policy: ExecutionPolicy
    select_backend: Callable[[str | None], BackendV2]
    partition: PartitionLimits
    limits: Mapping[str, Limit]
    config_yaml: str
    overrides: tuple[str, ...]
    sources: tuple[SourceFile, ...]
    metadata: Mapping[str, Any]
    analyses: tuple[AnalysisSpec, ...] = ()

    def primitive_of(self, workload: str) -> PrimitiveSpec:
        """Return the primitive that runs a workload."""
        return next(item.primitive for item in self.workloads if item.name == workload)
