"""Cut a stream of PUBs into jobs, greedily and in order, by whichever bound is reached first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from qexp.core.model import Partition, PrimitiveSpec
from qexp.core.spec import Limit, PartitionLimits
from qexp.errors import PlanError
from qexp.planning.cost import Footprint

T = TypeVar("T")

_NOTHING = Footprint(None, None, 0, 0, 0.0, 0)


_DIMENSIONS: Mapping[str, tuple[str | None, str, str]] = {
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

    Of two equal ones it is the service's, which cannot be raised.

    Args:
        dimension: A field of `PartitionLimits`.
        partition: The user's bounds.
        limits: The service's limits by name.
        primitive: The limit on executions is not for Estimators, and `max_execution_time` bounds
            the QPU seconds of a job. None leaves both aside.
    """
    bounds: dict[str, float | None] = {}
    kind = primitive.kind if primitive else "sampler"
    name, *_ = _DIMENSIONS[dimension]
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

    def exceeded(self, num_pubs: int, total: Footprint) -> tuple[str, float] | None:
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
    overhead = limits.get("job_overhead_s")
    bounds = {name: smallest_bound(name, partition, limits, primitive) for name in _DIMENSIONS}
    return JobBounds(
        {name: bound for name, bound in bounds.items() if bound is not None},
        partition.job_overhead_s if overhead is None else overhead.value,
    )


def cut_into_jobs(
    items: Iterable[tuple[T, Footprint]],
    workload: str,
    bounds: JobBounds,
    first_index: int,
    point: int = 0,
) -> Iterator[tuple[Partition, list[T]]]:
    """Cut the PUBs of one workload into jobs.

    A job takes PUBs in order until the next one would exceed a bound or needs another number of
    shots or another precision. Only the open job and the PUB after it are held in memory.

    Args:
        items: The PUBs (anything) with their footprints, in order.
        workload: Name of the workload.
        bounds: The bounds of one job.
        first_index: Index of the first partition in the experiment.
        point: Number of the workload's point in the experiment.

    Yields:
        Each partition with its PUBs.

    Raises:
        PlanError: A single PUB exceeds a bound alone.
    """
    index, job = first_index, _Job[T](bounds)
    for pub, (item, footprint) in enumerate(items):
        if (exceeded := bounds.exceeded(1, footprint)) is not None:
            raise PlanError(
                f"PUB {pub} of workload '{workload}' alone takes "
                f"{_describe_excess(*exceeded, bounds.by_dimension[exceeded[0]])}"
            )
        if (reason := job.refusal(footprint)) is not None:
            yield job.close(index, workload, reason, point), job.members
            index, job = index + 1, _Job[T](bounds, first=pub)
        job.members.append(item)
        job.total += footprint
    if job.members:
        yield job.close(index, workload, "end", point), job.members


def _describe_excess(dimension: str, amount: float, bound: Bound) -> str:
    _, unit, remedy = _DIMENSIONS[dimension]
    # A user's own knob can be raised, the service's limit cannot.
    more = f", or raise {bound.key}" if bound.key.startswith("partition.") else ""
    return (
        f"{amount:.10g} {unit}, more than the {bound.value:.10g} that {bound.key} allows in one "
        f"job; {remedy}{more}"
    )


@dataclass
class _Job(Generic[T]):
    """The open job."""

    bounds: JobBounds
    first: int = 0
    members: list[T] = field(default_factory=list)
    total: Footprint = _NOTHING

    def refusal(self, footprint: Footprint) -> str | None:
        """Return the reason that keeps the next PUB out of this job, or None."""
        if not self.members:
            return None
        for name in ("shots", "precision"):
            if getattr(footprint, name) != getattr(self.total, name):
                return name
        exceeded = self.bounds.exceeded(len(self.members) + 1, self.total + footprint)
        return exceeded[0] if exceeded else None

    def close(self, index: int, workload: str, reason: str, point: int) -> Partition:
        """Return the finished job."""
        total = self.total
        return Partition(
            index=index,
            workload=workload,
            first=self.first,
            stop=self.first + len(self.members),
            shots=total.shots,
            precision=total.precision,
            executions=total.executions,
            payload_bytes=total.payload_bytes,
            qpu_s=self.bounds.overhead_s + total.qpu_s,
            closed_by=reason,
            point=point,
        )
