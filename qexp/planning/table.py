"""The plan as a table of texts, which the terminal draws, and against the time that is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from qexp.core.model import Partition, Plan
from qexp.core.spec import Limit, PartitionLimits
from qexp.errors import PlanError
from qexp.planning.partition import smallest_bound
from qexp.text import format_bytes, format_duration

HEADERS = ("workload", "jobs", "circuits", "executions", "payload", "predicted QPU time")


@dataclass(frozen=True)
class LimitRow:
    """A bound, `"no limit"` where none is set, and what the plan needs of it."""

    what: str
    planned: str
    bound: str
    is_within: bool
    source: str  # config key that sets the bound


@dataclass(frozen=True)
class PlanTable:
    """The whole table; a row has a text for each of `HEADERS`."""

    workloads: tuple[tuple[str, ...], ...]  # one row per workload, in order
    total: tuple[str, ...]
    limits: tuple[LimitRow, ...]  # of all jobs together, and of the largest


def plan_table(
    plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit], partition: PartitionLimits
) -> PlanTable:
    """Summarise a plan.

    Args:
        plan: The plan.
        max_time_s: The declared `batch.max_time` in seconds, or None.
        limits: The service's limits by name.
        partition: The user's bounds of one job.
    """
    by_workload: dict[str, list[Partition]] = {}
    for job in plan.partitions:
        by_workload.setdefault(job.workload, []).append(job)
    return PlanTable(
        tuple(_row(name, jobs) for name, jobs in by_workload.items()),
        _row("total", plan.partitions),
        tuple(_limit_rows(plan, max_time_s, limits, partition)),
    )


def _row(label: str, jobs: Sequence[Partition]) -> tuple[str, ...]:
    return (
        label,
        f"{len(jobs):,}",
        f"{sum(job.num_pubs for job in jobs):,}",
        f"{sum(job.executions for job in jobs):,}",
        format_bytes(sum(job.payload_bytes for job in jobs)),
        format_duration(sum(job.qpu_s for job in jobs)),
    )


def _limit_rows(
    plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit], partition: PartitionLimits
) -> Iterator[LimitRow]:
    yield _time_row("all jobs, declared", plan.qpu_s, max_time_s, "batch.max_time")
    for what, name in (
        ("all jobs, longest batch", "batch_max_time_s"),
        ("all jobs, Open plan", "open_plan_batch_max_time_s"),
    ):
        if name in limits:
            yield _time_row(what, plan.qpu_s, limits[name].value, f"limits.{name}")
    if bound := smallest_bound("max_qpu_s", partition, limits):
        yield _time_row("longest job", max(job.qpu_s for job in plan.partitions), *bound)
    if bound := smallest_bound("max_payload_bytes", partition, limits):
        largest = max(job.payload_bytes for job in plan.partitions)
        yield LimitRow(
            "largest payload of a job",
            format_bytes(largest),
            format_bytes(int(bound.value)),
            largest <= bound.value,
            bound.key,
        )


def _time_row(what: str, planned_s: float, bound_s: float | None, source: str) -> LimitRow:
    return LimitRow(
        what,
        format_duration(planned_s),
        "no limit" if bound_s is None else format_duration(bound_s),
        bound_s is None or planned_s <= bound_s,
        source,
    )


def check_max_time(plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> list[str]:
    """Compare the prediction with the batch's time to live.

    Args:
        plan: The plan.
        max_time_s: The declared `batch.max_time` in seconds, or None.
        limits: The service's limits; `batch_max_time_s` and `open_plan_batch_max_time_s`.

    Returns:
        Warnings, one line each: the batch may end before its last job.

    Raises:
        PlanError: `max_time_s` cannot even hold the longest job, or is more than the service
            allows.
    """
    longest = max(plan.partitions, key=lambda job: job.qpu_s)
    allowed, open_plan = map(limits.get, ("batch_max_time_s", "open_plan_batch_max_time_s"))
    if max_time_s is not None and max_time_s < longest.qpu_s:
        raise PlanError(
            f"batch.max_time is {format_duration(max_time_s)}, but job {longest.index} "
            f"(workload '{longest.workload}', PUBs {longest.first} to {longest.stop - 1}) is "
            f"predicted to take {longest.qpu_s:.1f} QPU seconds; raise batch.max_time or lower "
            f"partition.max_qpu_s"
        )
    if max_time_s is not None and allowed is not None and max_time_s > allowed.value:
        raise PlanError(
            f"batch.max_time is {format_duration(max_time_s)}, more than the "
            f"{format_duration(allowed.value)} that limits.batch_max_time_s allows; lower it or "
            f"set it to null"
        )
    bounds = {
        "batch.max_time": max_time_s,
        "the service's longest batch": allowed.value if allowed else None,
        "the Open plan's longest batch": open_plan.value if open_plan else None,
    }
    return [
        f"all jobs together are predicted to take {format_duration(plan.qpu_s)} of QPU time, more "
        f"than {what} of {format_duration(bound)}: jobs still queued at its end will not run"
        for what, bound in bounds.items()
        if bound is not None and plan.qpu_s > bound
    ]
