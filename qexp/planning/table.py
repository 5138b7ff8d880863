"""The plan as a table: its values, and how a terminal and a notebook show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.core.bounds import smallest_bound
from qexp.core.model import Partition, Plan
from qexp.core.protocols import Engine, SimulatingEngine
from qexp.core.spec import Limit, PartitionLimits
from qexp.errors import PlanError
from qexp.planning.forecast import describe_time, memory_bytes
from qexp.text import format_bytes, format_duration, html_table, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADERS = ("workload", "jobs", "circuits", "executions", "payload", "predicted QPU time")
_SWEEP_HEADERS = (HEADERS[0], "points", *HEADERS[1:])
_BOUND_HEADERS = ("bound", "planned", "allowed", "", "from")


@dataclass(frozen=True)
class PlanRow:
    """A workload, or all jobs together.

    Attributes:
        label: Name of the workload, or `"total"`; with the backend, where there are several.
        jobs: Number of jobs, of a workload those with circuits of it.
        circuits: Number of PUBs.
        executions: Circuit executions.
        payload_bytes: Encoded size of the PUBs.
        qpu_s: Predicted QPU seconds, with the overhead of each job.
        points: Number of points of a sweep, None for a single run.
    """

    label: str
    jobs: int
    circuits: int
    executions: int
    payload_bytes: int
    qpu_s: float
    points: int | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the values as text, one per header."""
        return (
            self.label,
            *(() if self.points is None else (f"{self.points:,}",)),
            f"{self.jobs:,}",
            f"{self.circuits:,}",
            f"{self.executions:,}",
            format_bytes(self.payload_bytes),
            format_duration(self.qpu_s),
        )


@dataclass(frozen=True)
class LimitRow:
    """A bound and what the plan makes of it.

    Attributes:
        what: What is bounded.
        planned: What the plan needs, as text.
        bound: What is allowed, as text; `"no limit"` where nothing is set.
        is_within: Whether the plan keeps to it.
        source: Config key that sets the bound.
    """

    what: str
    planned: str
    bound: str
    is_within: bool
    source: str

    def cells(self) -> tuple[str, ...]:
        """Return the values as text, with `"ok"` or `"over"` before their source."""
        verdict = "ok" if self.is_within else "over"
        return (self.what, self.planned, self.bound, verdict, self.source)


@dataclass(frozen=True)
class PlanTable:
    """The whole table. `print` and `rich` show it as a terminal does, a notebook as HTML.

    Attributes:
        headers: Headers of `workloads` and `total`.
        workloads: One row per workload, in order.
        total: All jobs together.
        limits: The total and the largest job against the batch's `max_time` and the service.
        backend: The backend that it was made for, and the engine.
        folder: The run's folder, from which `qexp.resume` runs the plan; None where not known.
    """

    headers: tuple[str, ...]
    workloads: tuple[PlanRow, ...]
    total: PlanRow
    limits: tuple[LimitRow, ...]
    backend: str = ""
    folder: Path | None = None

    def __repr__(self) -> str:
        total = self.total
        return (
            f"<PlanTable {total.jobs:,} jobs, {total.circuits:,} circuits, "
            f"{format_duration(total.qpu_s)}: {self.folder}>"
        )

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, color_system=None, force_jupyter=False)
        with console.capture() as captured:
            console.print(self)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def __rich__(self) -> RenderableType:
        from rich.box import SIMPLE
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(*self.headers, box=SIMPLE, show_footer=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in self.workloads:
            table.add_row(*map(Text, row.cells()))
        if len(self.workloads) > 1:
            table.add_section()
            table.add_row(*map(Text, self.total.cells()))
        bounds = Table(*_BOUND_HEADERS, box=SIMPLE)
        for limit in self.limits:
            *before, verdict, source = map(Text, limit.cells())
            verdict.stylize("" if limit.is_within else "bold red")
            bounds.add_row(*before, verdict, source)
        return Group(table, bounds, Text(self._conclusion))

    def _repr_html_(self) -> str:
        rows = self.workloads if len(self.workloads) == 1 else (*self.workloads, self.total)
        return (
            html_table([row.cells() for row in rows], self.headers)
            + html_table([limit.cells() for limit in self.limits], _BOUND_HEADERS)
            + f"<p>{escape(printable(self._conclusion))}</p>"
        )

    @property
    def _conclusion(self) -> str:
        return f"Nothing was submitted. Backend: {self.backend}"


@dataclass(frozen=True)
class Lane:
    """The points of a sweep that share the batches of a backend."""

    backend: str  # name of the backend
    points: frozenset[int]  # their numbers
    max_time_s: int | None = None  # their `batch.max_time` in seconds, or None


def plan_table(
    plan: Plan,
    max_time_s: int | None,
    limits: Mapping[str, Limit],
    partition: PartitionLimits | None = None,
    *,
    backend: str = "",
    folder: Path | None = None,
    lanes: Sequence[Lane] = (),
    engine: Engine | None = None,
    budget_s: int | None = None,
) -> PlanTable:
    """Summarise a plan.

    Args:
        plan: The plan.
        max_time_s: The declared `batch.max_time` in seconds, or None.
        limits: The service's limits by name.
        partition: The user's bounds of one job, or None.
        backend: As in `PlanTable`, as `folder`.
        folder: The run's folder.
        lanes: Those of a sweep; several have rows of their own.
        engine: The engine, for the forecast of a simulation.
        budget_s: The declared `budget.qpu` in seconds, or None.
    """
    # A single lane needs no name.
    parts = (
        [(plan.part(lane.points), f" on {lane.backend}", lane.max_time_s) for lane in lanes]
        if len(lanes) > 1
        else [(plan, "", max_time_s)]
    )
    parts = [part for part in parts if part[0].partitions]
    is_sweep = plan.jobs is not None
    return PlanTable(
        headers=_SWEEP_HEADERS if is_sweep else HEADERS,
        workloads=tuple(row for part, where, _ in parts for row in _workload_rows(part, where)),
        total=_row("total", _jobs(plan), is_sweep),
        limits=(
            *(
                row
                for part, where, bound_s in parts
                for row in _batch_rows(part, where, bound_s, limits)
            ),
            *_account_rows(plan, budget_s),
            *_job_rows(plan, limits, partition or PartitionLimits()),
            *_simulation_rows(plan, engine),
        ),
        backend=backend,
        folder=folder,
    )


def _jobs(plan: Plan) -> list[list[Partition]]:
    """Return the partitions of each job, each with its share of what sharing the job saves."""
    if plan.jobs is None:
        return [[partition] for partition in plan.partitions]
    by_index = {partition.index: partition for partition in plan.partitions}
    return [
        [
            replace(one, qpu_s=one.qpu_s - job.saved_s / len(job.partitions))
            for one in map(by_index.__getitem__, job.partitions)
        ]
        for job in plan.jobs
    ]


def _workload_rows(plan: Plan, where: str) -> Iterator[PlanRow]:
    by_workload: dict[str, list[list[Partition]]] = {}
    for job in _jobs(plan):
        for name in dict.fromkeys(partition.workload for partition in job):
            own = [partition for partition in job if partition.workload == name]
            by_workload.setdefault(name, []).append(own)
    for name, jobs in by_workload.items():
        yield _row(f"{name}{where}", jobs, plan.jobs is not None)


def _row(label: str, jobs: Sequence[Sequence[Partition]], is_sweep: bool) -> PlanRow:
    partitions = [partition for job in jobs for partition in job]
    return PlanRow(
        label=label,
        jobs=len(jobs),
        circuits=sum(one.num_pubs for one in partitions),
        executions=sum(one.executions for one in partitions),
        payload_bytes=sum(one.payload_bytes for one in partitions),
        qpu_s=sum(one.qpu_s for one in partitions),
        points=len({one.point for one in partitions}) if is_sweep else None,
    )


def _batch_rows(
    plan: Plan, where: str, max_time_s: int | None, limits: Mapping[str, Limit]
) -> Iterator[LimitRow]:
    """Yield the bounds of the jobs that share a batch."""
    jobs = f"all jobs{where}"
    yield _time_row(f"{jobs}, declared", plan.qpu_s, max_time_s, "batch.max_time")
    for what, name in (
        ("longest batch", "batch_max_time_s"),
        ("Open plan", "open_plan_batch_max_time_s"),
    ):
        if name in limits:
            yield _time_row(f"{jobs}, {what}", plan.qpu_s, limits[name].value, f"limits.{name}")


def _account_rows(plan: Plan, budget_s: int | None) -> Iterator[LimitRow]:
    """Yield the budget, if there is one, and what the instances have left."""
    if budget_s is not None:
        yield _time_row("all jobs, budget", plan.qpu_s, budget_s, "budget.qpu")
    for usage in plan.instances:
        what, planned_s = f"all jobs, instance {usage.name}", plan.part(usage.points).qpu_s
        used = "" if usage.used_s is None else f", {format_duration(usage.used_s)} used"
        row = _time_row(what, planned_s, usage.left_s, f"the account{used}")
        yield row if used else replace(row, bound="not known")


def _job_rows(
    plan: Plan, limits: Mapping[str, Limit], partition: PartitionLimits
) -> Iterator[LimitRow]:
    """Yield the bounds of a single job."""
    jobs = _jobs(plan)
    if bound := smallest_bound("max_qpu_s", partition, limits):
        longest_s = max(sum(one.qpu_s for one in job) for job in jobs)
        yield _time_row("longest job", longest_s, *bound)
    if bound := smallest_bound("max_payload_bytes", partition, limits):
        largest = max(sum(one.payload_bytes for one in job) for job in jobs)
        yield LimitRow(
            "largest payload of a job",
            format_bytes(largest),
            format_bytes(int(bound.value)),
            largest <= bound.value,
            bound.key,
        )


def _simulation_rows(plan: Plan, engine: Engine | None) -> Iterator[LimitRow]:
    """Yield time and memory of a simulation; the bound of the time is for each point of a sweep."""
    if plan.forecast is None or not isinstance(engine, SimulatingEngine):
        return
    cores, bound_s = engine.cores, engine.max_time_s
    bound = "no limit" if bound_s is None else format_duration(bound_s)
    each = " a point" if plan.jobs is not None and bound_s is not None else ""
    time = describe_time(plan.forecast, cores)
    yield LimitRow("simulation, predicted", time, f"{bound}{each}", True, "engine.max_time")
    if there_bytes := memory_bytes():
        needed = format_bytes(plan.forecast.largest_bytes * cores)
        yield LimitRow("its memory", needed, format_bytes(there_bytes), True, "this machine")


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

    The limits are `batch_max_time_s` and `open_plan_batch_max_time_s`.

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
