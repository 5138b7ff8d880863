"""The declared run, validated: what the config stage hands to `qexp.experiment.run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qexp.core.model import Limit, PartitionLimits, PrimitiveSpec, SourceFile, WorkloadSpec
from qexp.core.policy import ExecutionPolicy
from qexp.core.protocols import Engine

if TYPE_CHECKING:
    from qiskit.providers import BackendV2


@dataclass(frozen=True)
class AnalysisSpec:
    """One declared analysis, which is made of a run's sealed archive.

    Attributes:
        name: Its name in the config, and that of its result.
        target: Dotted name of the function.
        arguments: The function's declared settings.
        evaluate: Makes an `xarray.Dataset` of an open `qexp.archive.read.Archive`; None where it
            has nothing to say of the run.
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
        policy: How jobs are driven; decides no data.
        select_backend: Resolves the backend; may ask the service. Called with the name of the
            backend that was selected before, or None for a new run.
        partition: The user's bounds of one job.
        limits: The service's documented limits by name, see `conf/limits`.
        config_yaml: The resolved config.
        overrides: The command line's overrides.
        sources: Files that declare the experiment.
        metadata: Title, description, creators, publisher, funding, license, keywords.
        analyses: What is made of the data once they are sealed; decides none of them.
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
