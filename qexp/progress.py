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

from qexp.core.model import JobOutcome, JobState, Partition, Plan
from qexp.core.observer import Observer, RunSummary
from qexp.core.spec import Limit, RunSpec
from qexp.experiment import resume_command
from qexp.planning.table import plan_table
from qexp.text import format_duration, short_path

if TYPE_CHECKING:
    from rich.progress import Task

_SHOWN_STATES: tuple[JobState, ...] = ("QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED")
_LONGEST_NOTE = 160


class Terminal(Observer):
    """Shows a run on the terminal; a context manager around it.

    Args:
        spec: The run.
        run_dir: Its folder.
        point: What tells this run from the others of a sweep, or None.
    """

    def __init__(self, spec: RunSpec, run_dir: Path, point: str | None = None) -> None:
        self._spec = spec
        self._run_dir = run_dir
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
        self._batch_ids: list[str] = []

    def __enter__(self) -> Self:
        if not self._progress.disable:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_bars()

    def backend_selected(self, name: str, num_qubits: int, engine: str) -> None:
        """Remember the backend's name for the summary."""
        self._backend = f"{name} ({num_qubits} qubits, engine {engine})"
        if "submitting" not in self._tasks:
            self._task("transpiling", None, self._backend)

    def pub_planned(self, workload: str, count: int) -> None:
        """Advance the first bar; a generator does not say how many PUBs are to come."""
        self._progress.update(
            self._tasks["transpiling"], advance=1, note=f"{workload} on {self._backend}"
        )

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """Print the plan when it is all that was asked for."""
        bar = self._progress_task("transpiling")
        self._progress.update(self._tasks["transpiling"], total=bar.completed)
        if self._spec.stop_after == "plan":
            self._print_plan(plan, max_time_s, limits)
            return
        self._add_bars(plan, len(plan.partitions), 0)

    def resumed(self, plan: Plan, done: int, out: int, missing: int) -> None:
        """Show what is left; jobs that are out count as submitted once they are found again."""
        self._add_bars(plan, out + missing, done)
        self._note("collecting", f"{done} had a result before")

    def warned(self, message: str) -> None:
        """Print a warning."""
        self._progress.console.print(f"qexp: warning: {message}", markup=False, soft_wrap=True)

    def batch_opened(self, batch_id: str) -> None:
        """Show the batch that jobs are submitted to."""
        self._batch_ids.append(batch_id)
        self._note("submitting", self._batch_note())

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """Advance the bar of submissions."""
        self._progress.update(self._tasks["submitting"], advance=1, note=self._batch_note())

    def submission_paused(self, reason: str, seconds: float) -> None:
        """Say that submission slows down, and why."""
        again = f", again within {format_duration(seconds)}" if seconds else ""
        self._note("submitting", f"waiting{again}: {reason}")

    def job_adopted(self, partition: int, job_id: str) -> None:
        """Advance the bar of submissions: the job was submitted before."""
        self._progress.update(
            self._tasks["submitting"], advance=1, note=f"job {job_id} was submitted before"
        )

    def attempt_failed(self, outcome: JobOutcome) -> None:
        """One more job is to be submitted."""
        bar = self._progress_task("submitting")
        self._progress.update(bar.id, total=(bar.total or 0) + 1)
        self._note("collecting", f"job {outcome.job_id} failed and is run again: {outcome.error}")

    def service_lost(self, reason: str, seconds: float) -> None:
        """Say that the service is out of reach, and why."""
        self._note("running", f"out of reach, asked in {format_duration(seconds)}: {reason}")

    def queue_seen(self, length: int) -> None:
        """Show how long the backend's queue is."""
        self._note("submitting", f"{self._batch_note()}, {length} jobs in the backend's queue")

    def jobs_moved(self, states: Counter[JobState]) -> None:
        """Show how many jobs are in each state."""
        shown = [f"{states[state]} {state.lower()}" for state in _SHOWN_STATES if states[state]]
        final = states["DONE"] + states["ERROR"] + states["CANCELLED"]
        # Of the batches that still have jobs out, while the bar is of all of them.
        known = max(final, int(self._progress_task("running").completed))
        self._progress.update(self._tasks["running"], completed=known, note=", ".join(shown))

    def job_collected(self, outcome: JobOutcome) -> None:
        """Advance the bar of collected jobs."""
        note = "" if outcome.error is None else f"job {outcome.job_id} failed"
        self._progress.update(self._tasks["collecting"], advance=1, note=note)

    def detached(self, plan: Plan, out: int, batch_ids: Sequence[str]) -> None:
        """Print what is out, and the command that collects it."""
        self._stop_bars()
        lines = {
            **_batches(batch_ids),
            "backend": self._backend,
            "jobs": f"{out} of {len(plan.partitions)} are out, none is waited for",
            "next": resume_command(self._run_dir),
        }
        self._print_lines(lines)

    def sealed(self, archive: Path, summary: RunSummary) -> None:
        """Print the summary, and the command that goes on if anything is left to do."""
        self._stop_bars()
        shown = short_path(archive)
        resume = resume_command(self._run_dir)
        if summary.status == "planned":
            # What a resumed run was started with, its folder knows.
            rerun = [o for o in self._spec.overrides if not o.startswith("stop_after=")]
            again = {"or": shlex.join(["python", "-m", "qexp", *rerun])} if rerun else {}
            self._print_lines({"plan": shown, "next": resume, **again})
            return
        lines = {
            **_batches(summary.batch_ids),
            "backend": self._backend,
            "jobs": f"{summary.done} of {summary.planned} done, {summary.num_pubs} PUBs",
            "usage": f"{summary.usage_s:.1f} s (predicted for a QPU: {summary.predicted_s:.1f} s)",
            "elapsed": format_duration(time.monotonic() - self._started_s),
            "archive": shown,
        }
        opened = f"python -c \"import qexp; print(qexp.open_archive('{shown}'))\""
        self._print_lines(lines | {"next": opened if summary.status == "complete" else resume})

    def analysed(self, name: str, summary: str) -> None:
        """Print what an analysis says in one line."""
        self._out.print(f"[bold]analysis [/bold]{escape(f'{name}: {summary}')}")

    def _print_lines(self, lines: Mapping[str, str]) -> None:
        named = {"point": self._point or "", **lines}
        for name, value in ((name, value) for name, value in named.items() if value):
            self._out.print(f"[bold]{name:<9}[/bold]{escape(str(value))}")

    def _print_plan(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        self._stop_bars()
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

    def _add_bars(self, plan: Plan, to_submit: int, done: int) -> None:
        self._task("submitting", to_submit, "")
        self._task("running", to_submit, f"predicted {format_duration(plan.qpu_s)} of QPU time")
        self._task("collecting", len(plan.partitions), "")
        self._progress.update(self._tasks["collecting"], completed=done)

    def _batch_note(self) -> str:
        number = f" (number {len(self._batch_ids)})" if len(self._batch_ids) > 1 else ""
        return f"batch {self._batch_ids[-1]}{number}" if self._batch_ids else ""

    def _note(self, name: str, note: str) -> None:
        # One line, however long the service's reason is.
        if name in self._tasks:
            self._progress.update(self._tasks[name], note=" ".join(note.split())[:_LONGEST_NOTE])

    def _task(self, name: str, total: int | None, note: str) -> None:
        self._tasks[name] = self._progress.add_task(name, total=total, note=note)

    def _stop_bars(self) -> None:
        # Before Rich 14, stopping bars that are disabled prints an empty line.
        if not self._progress.disable:
            self._progress.stop()

    def _progress_task(self, name: str) -> Task:
        return next(task for task in self._progress.tasks if task.id == self._tasks[name])


def _batches(batch_ids: Sequence[str]) -> dict[str, str]:
    return {"batch" if len(batch_ids) <= 1 else "batches": ", ".join(batch_ids)}
