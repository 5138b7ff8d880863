"""The plan as a table: its values, and how a terminal and a notebook show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.core.bounds import smallest_bound
from qexp.core.model import Partition, Plan
from qexp.core.spec import Limit, PartitionLimits
from qexp.errors import PlanError
from qexp.text import format_bytes, format_duration, html_table, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADERS = ("workload", "jobs", "circuits", "executions", "payload", "predicted QPU time")
_BOUND_HEADERS = ("bound", "planned", "allowed", "", "from")


@dataclass(frozen=True)
class PlanRow:
    """A workload, or all jobs together.

    Attributes:
        label: Name of the workload, or `"total"`.
        jobs: Number of jobs.
        circuits: Number of PUBs.
        executions: Circuit executions.
        payload_bytes: Encoded size of the PUBs.
        qpu_s: Predicted QPU seconds, with the overhead of each job.
    """

    label: str
    jobs: int
    circuits: int
    executions: int
    payload_bytes: int
    qpu_s: float

    def cells(self) -> tuple[str, ...]:
        """Return the values as text, one per entry of `HEADERS`."""
        return (
            self.label,
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
        jobs, circuits, *_, qpu_time = self.total.cells()[1:]
        return f"<PlanTable {jobs} jobs, {circuits} circuits, {qpu_time}: {self.folder}>"

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


def plan_table(
    plan: Plan,
    max_time_s: int | None,
    limits: Mapping[str, Limit],
    partition: PartitionLimits | None = None,
    *,
    backend: str = "",
    folder: Path | None = None,
) -> PlanTable:
    """Summarise a plan.

    Args:
        plan: The plan.
        max_time_s: The declared `batch.max_time` in seconds, or None.
        limits: The service's limits by name.
        partition: The user's bounds of one job, or None.
        backend: As in `PlanTable`, as `folder`.
        folder: The run's folder.
    """
    by_workload: dict[str, list[Partition]] = {}
    for job in plan.partitions:
        by_workload.setdefault(job.workload, []).append(job)
    return PlanTable(
        headers=HEADERS,
        workloads=tuple(_row(name, jobs) for name, jobs in by_workload.items()),
        total=_row("total", plan.partitions),
        limits=tuple(_limit_rows(plan, max_time_s, limits, partition or PartitionLimits())),
        backend=backend,
        folder=folder,
    )


def _row(label: str, jobs: Sequence[Partition]) -> PlanRow:
    return PlanRow(
        label=label,
        jobs=len(jobs),
        circuits=sum(job.num_pubs for job in jobs),
        executions=sum(job.executions for job in jobs),
        payload_bytes=sum(job.payload_bytes for job in jobs),
        qpu_s=sum(job.qpu_s for job in jobs),
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
