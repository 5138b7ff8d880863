"""Cut a stream of PUBs into jobs, greedily and in order, by whichever limit binds first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from qexp.core.model import Partition
from qexp.core.spec import PartitionLimits
from qexp.errors import PlanError
from qexp.planning.cost import Footprint

T = TypeVar("T")

_NOTHING = Footprint(None, None, 0, 0, 0.0, 0)

_REMEDY = {
    "max_circuits": "a job needs at least one",
    "max_executions": "use fewer shots, parameter sets or randomizations",
    "max_payload_bytes": "split its parameter sets over several PUBs, use a smaller circuit, or "
    "switch twirling off",
    "max_qpu_s": "use fewer shots or parameter sets",
    "max_control_instructions": "use a shallower circuit or fewer parameter sets",
}
_WHAT = {
    "max_circuits": "circuits",
    "max_executions": "executions",
    "max_payload_bytes": "encoded payload bytes",
    "max_qpu_s": "predicted QPU seconds (with the job's overhead)",
    "max_control_instructions": "control instructions on its busiest qubit",
}


def cut_into_jobs(
    items: Iterable[tuple[T, Footprint]],
    workload: str,
    limits: PartitionLimits,
    first_index: int,
    origins: Mapping[str, str] | None = None,
    *,
    point: int = 0,
) -> Iterator[tuple[Partition, list[T]]]:
    """Cut the PUBs of one workload into jobs.

    A job takes PUBs in order until the next one would exceed a limit or needs another number of
    shots or another precision. Only the open job and the PUB after it are held in memory.

    Args:
        items: The PUBs (anything) with their footprints, in order.
        workload: Name of the workload.
        limits: Upper bounds of one job.
        first_index: Index of the first partition in the experiment.
        origins: Config key behind each limit (field name of `PartitionLimits` -> key), for
            error messages; `partition.<limit>` where it is not given.
        point: Number of the workload's point in the experiment.

    Yields:
        Each partition with its PUBs.

    Raises:
        PlanError: A single PUB exceeds a limit alone.
    """
    index = first_index
    job: _Job[T] = _Job(point, workload, limits)
    for pub, (item, footprint) in enumerate(items):
        _refuse_oversize(pub, footprint, workload, limits, origins)
        reason = job.refusal(footprint)
        if reason is not None:
            yield job.close(index, reason), job.members
            index += 1
            job = _Job(point, workload, limits, first=pub)
        job.add(item, footprint)
    if job.members:
        yield job.close(index, "end"), job.members


@dataclass
class _Job(Generic[T]):
    """The open job."""

    point: int
    workload: str
    limits: PartitionLimits
    first: int = 0
    members: list[T] = field(default_factory=list)
    total: Footprint = _NOTHING

    def refusal(self, footprint: Footprint) -> str | None:
        """Return the reason that keeps the next PUB out of this job, or None."""
        if not self.members:
            return None
        if footprint.shots != self.total.shots:
            return "shots"
        if footprint.precision != self.total.precision:
            return "precision"
        size = len(self.members) + 1
        return _exceeded(size, _sum(self.total, footprint), self.limits)

    def add(self, item: T, footprint: Footprint) -> None:
        """Add a PUB."""
        self.members.append(item)
        self.total = _sum(self.total, footprint)

    def close(self, index: int, reason: str) -> Partition:
        """Return the finished job."""
        return Partition(
            index=index,
            workload=self.workload,
            first=self.first,
            stop=self.first + len(self.members),
            shots=self.total.shots,
            precision=self.total.precision,
            executions=self.total.executions,
            payload_bytes=self.total.payload_bytes,
            qpu_s=self.limits.job_overhead_s + self.total.qpu_s,
            closed_by=reason,
            point=self.point,
        )


def _sum(total: Footprint, footprint: Footprint) -> Footprint:
    return Footprint(
        shots=footprint.shots,
        precision=footprint.precision,
        executions=total.executions + footprint.executions,
        payload_bytes=total.payload_bytes + footprint.payload_bytes,
        qpu_s=total.qpu_s + footprint.qpu_s,
        # A job's busiest qubit carries at most the sum of what its PUBs' busiest qubits carry.
        control_instructions=total.control_instructions + footprint.control_instructions,
    )


def _amounts(num_pubs: int, footprint: Footprint, overhead_s: float) -> dict[str, float]:
    return {
        "max_circuits": num_pubs,
        "max_executions": footprint.executions,
        "max_payload_bytes": footprint.payload_bytes,
        "max_qpu_s": overhead_s + footprint.qpu_s,
        "max_control_instructions": footprint.control_instructions,
    }


def _exceeded(num_pubs: int, footprint: Footprint, limits: PartitionLimits) -> str | None:
    for name, amount in _amounts(num_pubs, footprint, limits.job_overhead_s).items():
        bound = getattr(limits, name)
        if bound is not None and amount > bound:
            return name
    return None


def _refuse_oversize(
    pub: int,
    footprint: Footprint,
    workload: str,
    limits: PartitionLimits,
    origins: Mapping[str, str] | None,
) -> None:
    name = _exceeded(1, footprint, limits)
    if name is None:
        return
    amount = _amounts(1, footprint, limits.job_overhead_s)[name]
    origin = (origins or {}).get(name, f"partition.{name}")
    # A user's own knob can be raised, the service's limit cannot.
    remedy = _REMEDY[name] + (f", or raise {origin}" if origin.startswith("partition.") else "")
    raise PlanError(
        f"PUB {pub} of workload '{workload}' alone takes {amount:.10g} {_WHAT[name]}, more than "
        f"the {getattr(limits, name):.10g} that {origin} allows in one job; {remedy}"
    )
