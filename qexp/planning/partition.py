"""PUBs of a point, cut into jobs, greedily and in order, by whichever bound is reached first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from qexp.archive.pubs import PubRow
from qexp.core.bounds import DIMENSIONS, Bound, JobBounds, job_bounds
from qexp.core.model import Forecast, Partition
from qexp.core.observer import Observer
from qexp.core.spec import PartitionLimits, RunSpec
from qexp.errors import PlanError
from qexp.planning.cost import Footprint
from qexp.points import Point

T = TypeVar("T")

_MAX_LISTED = 6

_NOTHING = Footprint(None, None, 0, 0, 0.0, 0)

PlannedPubs: TypeAlias = list[tuple[PubRow, Footprint, Forecast | None]] | PlanError
"""PUBs of a point, ready to be stored, with costs and forecasts; or why the point cannot run."""


@dataclass
class Cutter(Generic[T]):
    """Cuts the PUBs of one workload into jobs.

    A job takes PUBs in order until the next one would exceed a bound or needs another number of
    shots or another precision. Only the open job is held in memory.
    """

    workload: str
    bounds: JobBounds  # of one job
    index: int  # of the open job's partition in its point
    take: Callable[[Partition, list[T]], None]  # gets each partition with its PUBs
    _first: int = 0  # of the open job
    _members: list[T] = field(default_factory=list)
    _total: Footprint = _NOTHING

    def add(self, item: T, footprint: Footprint) -> None:
        """Add the next PUB (anything) with its footprint.

        Raises:
            PlanError: It exceeds a bound alone.
        """
        if (exceeded := self.bounds.exceeded(1, footprint.load)) is not None:
            raise PlanError(
                f"PUB {self._first + len(self._members)} of workload '{self.workload}' alone takes "
                f"{_describe_excess(*exceeded, self.bounds.by_dimension[exceeded[0]])}"
            )
        if (reason := self._refusal(footprint)) is not None:
            self.close(reason)
        self._members.append(item)
        self._total += footprint

    def close(self, reason: str = "end") -> None:
        """Hand the open job over, if it has PUBs; `reason` is what keeps the next one out."""
        if not self._members:
            return
        total, members = self._total, self._members
        partition = Partition(
            index=self.index,
            workload=self.workload,
            first=self._first,
            stop=self._first + len(members),
            shots=total.shots,
            precision=total.precision,
            executions=total.executions,
            payload_bytes=total.payload_bytes,
            qpu_s=self.bounds.overhead_s + total.qpu_s,
            closed_by=reason,
        )
        self.index, self._first = self.index + 1, partition.stop
        self._members, self._total = [], _NOTHING
        self.take(partition, members)

    def _refusal(self, footprint: Footprint) -> str | None:
        """Return the reason that keeps the next PUB out of the open job, or None."""
        if not self._members:
            return None
        for name in ("shots", "precision"):
            if getattr(footprint, name) != getattr(self._total, name):
                return name
        exceeded = self.bounds.exceeded(len(self._members) + 1, (self._total + footprint).load)
        return exceeded[0] if exceeded else None


def _describe_excess(dimension: str, amount: float, bound: Bound) -> str:
    _, unit, remedy = DIMENSIONS[dimension]
    # A user's own knob can be raised, the service's limit cannot.
    more = f", or raise {bound.key}" if bound.key.startswith("partition.") else ""
    return (
        f"{amount:.10g} {unit}, more than the {bound.value:.10g} that {bound.key} allows in one "
        f"job; {remedy}{more}"
    )


@dataclass
class PointPlan:
    """The plan of one point as far as it is made: each partition is on disk once it is full."""

    point: Point
    partitions: list[Partition] = field(default_factory=list)  # in the order of submission
    digests: list[str] = field(default_factory=list)  # SHA-256 of each partition's part
    forecast: Forecast | None = None
    error: PlanError | None = None  # why the point cannot run

    def begin(self, workload: str) -> None:
        """Begin with the PUBs of a workload."""
        spec = self.point.spec
        bounds = job_bounds(spec.primitive_of(workload), _blocks(spec), spec.limits)
        self._cutter = Cutter(workload, bounds, len(self.digests), self._take)
        self._num_known = len(self._approximated)

    def add(self, planned: PlannedPubs) -> None:
        """Add the next PUBs, unless the point cannot run."""
        if self.error is not None:
            return
        try:
            if isinstance(planned, PlanError):
                raise planned
            for row, cost, predicted in planned:
                self._cutter.add(row, cost)
                if predicted is not None:
                    self.forecast = (self.forecast or Forecast()) + predicted
        except PlanError as error:
            self.error = error

    def end(self, observer: Observer) -> None:
        """End the workload, unless the point cannot run."""
        if self.error is None:
            self._cutter.close()
            if approximated := self._approximated[self._num_known :]:
                observer.warned(
                    f"workload '{self._cutter.workload}': {_describe_noise(approximated)}"
                )

    @property
    def _approximated(self) -> Sequence[Mapping[str, Any]]:
        return self.forecast.approximated if self.forecast else ()

    def _take(self, partition: Partition, pubs: Sequence[PubRow]) -> None:
        self.digests.append(self.point.store.write_partition(partition, pubs))
        self.partitions.append(partition)


def _blocks(spec: RunSpec) -> PartitionLimits:
    """Return the bounds of a partition, which takes its turn with those of other points."""
    given = [one for one in (spec.sharing.block, spec.partition.max_circuits) if one is not None]
    return replace(spec.partition, max_circuits=min(given, default=None))


def _describe_noise(approximations: Sequence[Mapping[str, Any]]) -> str:
    """Describe how the noise of some PUBs is approximated, the worst errors first."""
    errors = {name: off for each in approximations for name, off in each["errors"].items()}
    worst = sorted(errors, key=errors.__getitem__, reverse=True)
    listed = ", ".join(f"{name} by {errors[name]:.1e}" for name in worst[:_MAX_LISTED])
    more = f" and {len(worst) - _MAX_LISTED} others" if len(worst) > _MAX_LISTED else ""
    count = f"{len(approximations)} circuit{'s' if len(approximations) > 1 else ''}"
    return (
        f"noise is approximated in {count}, as engine.approximate_noise allows: {listed}{more}; no "
        f"probability of a circuit is off by more than "
        f"{max(each['deviation'] for each in approximations):.1e}"
    )
