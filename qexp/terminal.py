"""What a person sees: progress while it runs, the plan as a table, a short summary at the end.

Progress goes to stderr and only when that is a terminal; the table and the summary go to stdout.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from qexp.core.duration import format_duration
from qexp.core.model import JobOutcome, JobState, Limit, Partition, Plan
from qexp.core.observer import Observer
from qexp.core.spec import RunSpec
from qexp.plan.table import plan_table

if TYPE_CHECKING:
    from rich.progress import Task

_SHOWN_STATES: tuple[JobState, ...] = ("QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED")


class Terminal(Observer):
    """Shows a run on the terminal; a context manager around it.

    Args:
        spec: The run.
        point: What tells this run from the others of a sweep, or None.
    """

    def __init__(self, spec: RunSpec, point: str | None = None) -> None:
        self._spec = spec
        self._point = point
        # Not cut to a terminal's width when the output goes to a file.
        width = None if sys.stdout.isatty() else 120
        self._out = Console(highlight=False, soft_wrap=True, width=width)
        err = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            # Not `err.is_terminal`, which FORCE_COLOR makes true of a file, too.
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started_s = time.monotonic()
        self._backend = ""
        self._batch_id = ""
        self._plan: Plan | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def backend_selected(self, name: str, num_qubits: int, engine: str) -> None:
        """Remember the backend's name for the summary."""
        self._backend = f"{name} ({num_qubits} qubits, engine {engine})"
        self._task("transpiling", None, self._backend)

    def pub_planned(self, workload: str, count: int) -> None:
        """Advance the first bar; a generator does not say how many PUBs are to come."""
        self._progress.update(
            self._tasks["transpiling"], advance=1, note=f"{workload} on {self._backend}"
        )

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """Print the plan when it is all that was asked for."""
        self._plan = plan
        bar = self._progress_task("transpiling")
        self._progress.update(self._tasks["transpiling"], total=bar.completed)
        if self._spec.stop_after == "plan":
            self._print_plan(plan, max_time_s, limits)
            return
        jobs = len(plan.partitions)
        self._task("submitting", jobs, "")
        self._task("running", jobs, f"predicted {format_duration(plan.qpu_s)} of QPU time")
        self._task("collecting", jobs, "")

    def warned(self, message: str) -> None:
        """Print a warning."""
        self._progress.console.print(f"qexp: warning: {message}", markup=False, soft_wrap=True)

    def batch_opened(self, batch_id: str) -> None:
        """Remember the batch id for the summary."""
        self._batch_id = batch_id
        self._progress.update(self._tasks["submitting"], note=f"batch {batch_id}")

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """Advance the bar of submissions."""
        self._progress.update(self._tasks["submitting"], advance=1)

    def queue_seen(self, length: int) -> None:
        """Show how long the backend's queue is."""
        self._progress.update(
            self._tasks["submitting"],
            note=f"batch {self._batch_id}, {length} jobs in the backend's queue",
        )

    def jobs_moved(self, states: Counter[JobState]) -> None:
        """Show how many jobs are in each state."""
        shown = [f"{states[state]} {state.lower()}" for state in _SHOWN_STATES if states[state]]
        final = states["DONE"] + states["ERROR"] + states["CANCELLED"]
        self._progress.update(self._tasks["running"], completed=final, note=", ".join(shown))

    def job_collected(self, outcome: JobOutcome) -> None:
        """Advance the bar of collected jobs."""
        note = "" if outcome.error is None else f"job {outcome.job_id} failed"
        self._progress.update(self._tasks["collecting"], advance=1, note=note)

    def sealed(self, archive: Path, outcomes: Sequence[JobOutcome]) -> None:
        """Print the summary."""
        self._progress.stop()
        if self._spec.stop_after == "plan":
            rerun = [o for o in self._spec.overrides if not o.startswith("stop_after=")]
            again = shlex.join(["python", "-m", "qexp", *rerun])
            self._print_lines({"plan": _relative(archive), "next": again})
            return
        done = sum(outcome.state == "DONE" for outcome in outcomes)
        planned = len(self._plan.partitions) if self._plan else 0
        pubs = sum(p.num_pubs for p in self._plan.partitions) if self._plan else 0
        used_s = sum(outcome.usage_s or 0.0 for outcome in outcomes)
        predicted_s = self._plan.qpu_s if self._plan else 0.0
        shown = _relative(archive)
        lines = {
            "batch": self._batch_id,
            "backend": self._backend,
            "jobs": f"{done} of {planned} done, {pubs} PUBs",
            "usage": f"{used_s:.1f} s (predicted for a QPU: {predicted_s:.1f} s)",
            "elapsed": format_duration(time.monotonic() - self._started_s),
            "archive": shown,
            "next": f"python -c \"import qexp; print(qexp.open_archive('{shown}'))\"",
        }
        self._print_lines(lines)

    def _print_lines(self, lines: Mapping[str, str]) -> None:
        named = {"point": self._point, **lines} if self._point else lines
        for name, value in named.items():
            self._out.print(f"[bold]{name:<9}[/bold]{escape(str(value))}")

    def _print_plan(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        self._progress.stop()
        summary = plan_table(plan, max_time_s, limits, self._spec.partition)
        table = Table(*summary.headers, box=SIMPLE, show_footer=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in summary.workloads:
            table.add_row(*row.cells())
        if len(summary.workloads) > 1:
            table.add_section()
            table.add_row(*summary.total.cells())
        bounds = Table("bound", "planned", "allowed", "", "from", box=SIMPLE)
        for limit in summary.limits:
            verdict = "ok" if limit.is_within else "[bold red]over[/bold red]"
            bounds.add_row(limit.what, limit.planned, limit.bound, verdict, limit.source)
        self._out.print(table, bounds, f"Nothing was submitted. Backend: {escape(self._backend)}")

    def _task(self, name: str, total: int | None, note: str) -> None:
        self._tasks[name] = self._progress.add_task(name, total=total, note=note)

    def _progress_task(self, name: str) -> Task:
        return next(task for task in self._progress.tasks if task.id == self._tasks[name])


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
