"""The bounds of one job: the service's documented limits, and the smaller ones of a user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from qexp.core.model import PrimitiveSpec
from qexp.core.spec import Limit, PartitionLimits

DIMENSIONS: Mapping[str, tuple[str | None, str, str]] = {
    "max_circuits": (None, "circuits", "a job needs at least one"),
    "max_executions": (
        "sampler_executions_per_job",
        "executions",
        "use fewer shots, parameter sets or randomizations",
    ),
    "max_payload_bytes": (
        "payload_bytes_per_job",
        "encoded payload bytes",
        "split its parameter sets over several PUBs, use a smaller circuit, or switch twirling off",
    ),
    "max_qpu_s": (
        "job_qpu_s",
        "predicted QPU seconds (with the job's overhead)",
        "use fewer shots or parameter sets",
    ),
    "max_control_instructions": (
        "control_instructions_per_qubit_and_job",
        "control instructions on its busiest qubit",
        "use a shallower circuit or fewer parameter sets",
    ),
}
"""Field of `PartitionLimits` -> the service's limit, the unit and the remedy in a message."""


class Load(NamedTuple):
    """The amount of each dimension that PUBs take together in a job."""

    executions: int  # circuit executions
    payload_bytes: int  # encoded size on the wire
    qpu_s: float  # predicted, without the overhead of a job
    control_instructions: int = 0  # on the busiest qubit; 0 where that is not known


class Bound(NamedTuple):
    """The most that one job may take in a dimension, and the config key that says so."""

    value: float
    key: str


def smallest_bound(
    dimension: str,
    partition: PartitionLimits,
    limits: Mapping[str, Limit],
    primitive: PrimitiveSpec | None = None,
) -> Bound | None:
    """Return the smaller of the user's bound and the service's limit on one job, or None.

    Of two equal ones it is the service's, which cannot be raised. The limit on executions is not
    for Estimators, and `max_execution_time` bounds the QPU seconds of a job; without a primitive
    both are left aside. `dimension` is a field of `PartitionLimits`.
    """
    bounds: dict[str, float | None] = {}
    kind = primitive.kind if primitive else "sampler"
    name, *_ = DIMENSIONS[dimension]
    # The service splits Estimator jobs: https://quantum.cloud.ibm.com/docs/guides/job-limits
    if name is not None and name in limits and (dimension, kind) != ("max_executions", "estimator"):
        bounds[f"limits.{name}"] = limits[name].value
    bounds[f"partition.{dimension}"] = getattr(partition, dimension)
    if primitive and dimension == "max_qpu_s":
        key = "primitive.options.max_execution_time"
        bounds[key] = primitive.options.get("max_execution_time")
    given = [Bound(value, key) for key, value in bounds.items() if value is not None]
    return min(given, key=lambda bound: bound.value, default=None)


@dataclass(frozen=True)
class JobBounds:
    """The bounds of the jobs of one workload."""

    by_dimension: Mapping[str, Bound]
    overhead_s: float  # added to the predicted QPU seconds of a job

    def exceeded(self, num_pubs: int, total: Load) -> tuple[str, float] | None:
        """Return the first dimension in which PUBs are too much for a job, and their amount."""
        amounts: dict[str, float] = {
            "max_circuits": num_pubs,
            "max_executions": total.executions,
            "max_payload_bytes": total.payload_bytes,
            "max_qpu_s": self.overhead_s + total.qpu_s,
            "max_control_instructions": total.control_instructions,
        }
        for dimension, bound in self.by_dimension.items():
            if amounts[dimension] > bound.value:
                return dimension, amounts[dimension]
        return None


def job_bounds(
    primitive: PrimitiveSpec, partition: PartitionLimits, limits: Mapping[str, Limit]
) -> JobBounds:
    """Return the bounds of the jobs that run a primitive; see `smallest_bound`."""
    bounds = {name: smallest_bound(name, partition, limits, primitive) for name in DIMENSIONS}
    return JobBounds(
        {name: bound for name, bound in bounds.items() if bound is not None},
        overhead_s(partition, limits),
    )


def overhead_s(partition: PartitionLimits, limits: Mapping[str, Limit]) -> float:
    """Return the QPU seconds that a job costs, whatever it holds."""
    documented = limits.get("job_overhead_s")
    return partition.job_overhead_s if documented is None else documented.value
