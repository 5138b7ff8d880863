"""Cut a stream of PUBs into jobs, greedily and in order, by whichever bound is reached first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from qexp.core.bounds import DIMENSIONS, Bound, JobBounds
from qexp.core.model import Partition
from qexp.errors import PlanError
from qexp.planning.cost import Footprint

T = TypeVar("T")

_NOTHING = Footprint(None, None, 0, 0, 0.0, 0)


def cut_into_jobs(
    items: Iterable[tuple[T, Footprint]],
    workload: str,
    bounds: JobBounds,
    first_index: int,
) -> Iterator[tuple[Partition, list[T]]]:
    """Cut the PUBs of one workload into jobs.

    A job takes PUBs in order until the next one would exceed a bound or needs another number of
    shots or another precision. Only the open job and the PUB after it are held in memory.

    Args:
        items: The PUBs (anything) with their footprints, in order.
        workload: Name of the workload.
        bounds: The bounds of one job.
        first_index: Index of the first partition in its point.

    Yields:
        Each partition with its PUBs.

    Raises:
        PlanError: A single PUB exceeds a bound alone.
    """
    index, job = first_index, _Job[T](bounds)
    for pub, (item, footprint) in enumerate(items):
        if (exceeded := bounds.exceeded(1, footprint.load)) is not None:
            raise PlanError(
                f"PUB {pub} of workload '{workload}' alone takes "
                f"{_describe_excess(*exceeded, bounds.by_dimension[exceeded[0]])}"
            )
        if (reason := job.refusal(footprint)) is not None:
            yield job.close(index, workload, reason), job.members
            index, job = index + 1, _Job[T](bounds, first=pub)
        job.members.append(item)
        job.total += footprint
    if job.members:
        yield job.close(index, workload, "end"), job.members


def _describe_excess(dimension: str, amount: float, bound: Bound) -> str:
    _, unit, remedy = DIMENSIONS[dimension]
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
        exceeded = self.bounds.exceeded(len(self.members) + 1, (self.total + footprint).load)
        return exceeded[0] if exceeded else None

    def close(self, index: int, workload: str, reason: str) -> Partition:
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
        )
