"""Progress of a run on the terminal or in a notebook, the plan, and a short summary at the end.

Progress goes to stderr, and only if that is a terminal; the table and the summary go to stdout.
"""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape as escape_html
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from qexp.archive.sweep_file import is_sweep
from qexp.core.model import JobOutcome, JobState, Partition, Plan
from qexp.core.observer import Observer, PointSummary
from qexp.core.spec import Limit, RunSpec
from qexp.planning.table import plan_table
from qexp.points import resume_command
from qexp.text import format_duration, one_line, short_path

Stage = Literal["transpiling", "submitting", "running", "collecting"]

_SHOWN_STATES: tuple[JobState, ...] = ("QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED")
_LONGEST_NOTE = 160

_SCREEN = threading.Lock()
"""The terminal, on which one run at a time can show its bars."""

_NOTEBOOK_PAUSE_S = 0.2
"""The shortest time between two pictures that a notebook is sent."""


class Terminal(Observer):
    """Shows a run on the terminal, or its bars in a notebook; a context manager around it.

    Args:
        spec: The run, or the first point of a sweep.
        run_dir: The folder of the run or the sweep.
        point: Overrides of this point of a sweep, or None.
        circuits_by: The swept keys that decide its circuits, or None.
        is_quiet: Print nothing on stdout.
    """

    def __init__(
        self,
        spec: RunSpec,
        run_dir: Path,
        point: str | None = None,
        circuits_by: Sequence[str] | None = None,
        *,
        is_quiet: bool = False,
    ) -> None:
        self._spec = spec
        self._is_sweep = is_sweep(run_dir)
        self._run_dir = run_dir
        self._point = point
        self._circuits = _decided_by(circuits_by)
        # Not cut to a terminal's width when the output goes to a file.
        width = None if sys.stdout.isatty() else 120
        self._out = Console(highlight=False, soft_wrap=True, width=width, quiet=is_quiet)
        self._progress = (
            NotebookBars()
            if in_notebook()
            else Progress(
                SpinnerColumn(),
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True, highlight=False),
                # Not the console's `is_terminal`, which FORCE_COLOR makes true of a file, too.
                disable=not sys.stderr.isatty(),
                transient=True,
            )
        )
        self._has_screen = False
        self._bars: dict[Stage, TaskID] = {}
        self._started_s = time.monotonic()
        self._backend = ""
        self._batch_ids: list[str] = []

    def __enter__(self) -> Self:
        if isinstance(self._progress, NotebookBars):
            self._progress.start()
        elif not self._progress.disable:
            self._has_screen = _SCREEN.acquire(blocking=False)
            self._progress.disable = not self._has_screen
            if self._has_screen:
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
        """Remember the backend for the summary, and start the first bar of a new run."""
        self._backend = f"{name} ({num_qubits} qubits, engine {engine})"
        if not self._bars:
            self._add_bar("transpiling", None, self._backend)

    def pub_planned(self, workload: str, count: int) -> None:
        """Advance the first bar; a generator does not say how many PUBs are to come."""
        self._update("transpiling", f"{workload} on {self._backend}", advance=1)

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """Print the plan if nothing else was asked for, or add the bars of the batch."""
        self._update("transpiling", total=self._progress.tasks[0].completed)
        if self._spec.stop_after == "plan":
            self._print_plan(plan, max_time_s, limits)
        else:
            self._add_batch_bars(plan, len(plan.partitions), 0)

    def resumed(self, plan: Plan, done: int, in_flight: int, missing: int) -> None:
        """Add the bars of the batch; jobs in flight count as submitted once found again."""
        self._add_batch_bars(plan, in_flight + missing, done)
        self._update("collecting", f"{done} had a result before")

    def warned(self, message: str) -> None:
        """Print a warning."""
        self._progress.console.print(f"qexp: warning: {message}", markup=False, soft_wrap=True)

    def trying_again(self, charged_s: Mapping[int, float], predicted_s: float) -> None:
        """Print what is about to be paid for again."""
        before = [seconds for seconds in charged_s.values() if seconds > 0]
        were = f"{len(before)} of them charged before ({format_duration(sum(before))})"
        self.warned(
            f"{len(charged_s)} {'partition is' if len(charged_s) == 1 else 'partitions are'} tried "
            f"again, {were if before else 'none of them charged before'}; predicted QPU time: "
            f"{format_duration(predicted_s)}"
        )

    def batch_opened(self, batch_id: str) -> None:
        """Show the batch that jobs are submitted to."""
        self._batch_ids.append(batch_id)
        self._update("submitting", self._batch_note())

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """Advance the bar of submissions."""
        self._update("submitting", self._batch_note(), advance=1)

    def submission_paused(self, reason: str, seconds: float) -> None:
        """Show why submission pauses, and for how long."""
        again = f", again within {format_duration(seconds)}" if seconds else ""
        self._update("submitting", f"waiting{again}: {reason}")

    def job_adopted(self, partition: int, job_id: str) -> None:
        """Advance the bar of submissions by a job that was submitted before."""
        self._update("submitting", f"job {job_id} was submitted before", advance=1)

    def attempt_failed(self, outcome: JobOutcome) -> None:
        """Add one more job to the bar of submissions."""
        total = self._progress.tasks[self._bars["submitting"]].total or 0
        self._update("submitting", total=total + 1)
        self._update("collecting", f"job {outcome.job_id} failed and is run again: {outcome.error}")

    def service_lost(self, reason: str, seconds: float) -> None:
        """Show why the service is out of reach."""
        self._update("running", f"out of reach, asked in {format_duration(seconds)}: {reason}")

    def queue_seen(self, length: int) -> None:
        """Show how long the backend's queue is."""
        self._update("submitting", f"{self._batch_note()}, {length} jobs in the backend's queue")

    def jobs_moved(self, states: Counter[JobState]) -> None:
        """Show the number of jobs in each state."""
        shown = [f"{states[state]} {state.lower()}" for state in _SHOWN_STATES if states[state]]
        final = states["DONE"] + states["ERROR"] + states["CANCELLED"]
        # The states are those of the batches with jobs in flight, the bar is that of all batches.
        before = int(self._progress.tasks[self._bars["running"]].completed)
        self._update("running", ", ".join(shown), completed=max(final, before))

    def job_collected(self, outcome: JobOutcome) -> None:
        """Advance the bar of collected jobs."""
        note = "" if outcome.error is None else f"job {outcome.job_id} failed"
        self._update("collecting", note, advance=1)

    def detached(self, plan: Plan, out: int, batch_ids: Sequence[str]) -> None:
        """Print how many jobs are in flight, and the command that collects them."""
        self._print_end(
            batch_ids,
            jobs=f"{out} of {len(plan.partitions)} are out, none is waited for",
            next=self._resume_command(),
        )

    def sealed(self, archive: Path, summary: PointSummary) -> None:
        """Print the summary, and the command that resumes the run if anything is left to do."""
        path = short_path(archive)
        if summary.status == "planned":
            # A resumed run has its overrides in its folder.
            rerun = [o for o in self._spec.overrides if not o.startswith("stop_after=")]
            again = {"or": shlex.join(["python", "-m", "qexp", *rerun])} if rerun else {}
            self._print_lines({"plan": path, "next": self._resume_command(), **again})
            return
        opened = f"python -c \"import qexp; print(qexp.open_archive('{path}'))\""
        self._print_end(
            summary.batch_ids,
            jobs=f"{summary.done} of {summary.planned} done, {summary.num_pubs} PUBs",
            usage=f"{summary.usage_s:.1f} s{_pending(summary.usage_pending)} "
            f"(predicted for a QPU: {summary.predicted_s:.1f} s)",
            elapsed=format_duration(time.monotonic() - self._started_s),
            archive=path,
            next=opened
            if summary.status == "complete"
            else self._resume_command(*["--collect-only"] * summary.only_collects),
        )

    def analysed(self, name: str, summary: str) -> None:
        """Print the one-line result of an analysis."""
        self._out.print(f"[bold]analysis [/bold]{escape(f'{name}: {summary}')}")

    def _resume_command(self, *words: str) -> str:
        spec = self._spec
        return resume_command(self._run_dir, spec.config_yaml, *words, *spec.given_anew)

    def _print_end(self, batch_ids: Sequence[str], **lines: str) -> None:
        batches = {"batch" if len(batch_ids) <= 1 else "batches": ", ".join(batch_ids)}
        self._print_lines({**batches, "backend": self._backend, **lines})

    def _print_lines(self, lines: Mapping[str, str]) -> None:
        self._stop_bars()
        known = {"point": self._point or "", "circuits": self._circuits}
        for name, text in {**known, **lines}.items():
            if text:
                self._out.print(f"[bold]{name:<9}[/bold]{escape(text)}")

    def _print_plan(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        self._stop_bars()
        table = plan_table(plan, max_time_s, limits, self._spec.partition, backend=self._backend)
        self._out.print(table)

    def _add_batch_bars(self, plan: Plan, to_submit: int, done: int) -> None:
        self._add_bar("submitting", to_submit, "")
        self._add_bar("running", to_submit, f"predicted {format_duration(plan.qpu_s)} of QPU time")
        self._add_bar("collecting", len(plan.partitions), "")
        self._update("collecting", completed=done)

    def _batch_note(self) -> str:
        number = f" (number {len(self._batch_ids)})" if len(self._batch_ids) > 1 else ""
        return f"batch {self._batch_ids[-1]}{number}" if self._batch_ids else ""

    def _add_bar(self, stage: Stage, total: int | None, note: str) -> None:
        self._bars[stage] = self._progress.add_task(stage, total=total, note=note)

    def _update(self, stage: Stage, note: str | None = None, **changes: Any) -> None:
        """Change a stage's bar, if it has one yet; a note is cut to one line."""
        if note is not None:
            changes["note"] = one_line(note)[:_LONGEST_NOTE]
        if stage in self._bars:
            self._progress.update(self._bars[stage], **changes)

    def _stop_bars(self) -> None:
        # Before Rich 14, stopping bars that are disabled prints an empty line.
        if not self._progress.disable:
            self._progress.stop()
        if self._has_screen:
            self._has_screen = False
            _SCREEN.release()


def _decided_by(keys: Sequence[str] | None) -> str:
    """Describe which points of a sweep have the same circuits."""
    if keys is None:
        return ""
    if not keys:
        return "the same in all points"
    return f"decided by {', '.join(keys)}; the same in points that agree in that"


def _pending(charges: int) -> str:
    if not charges:
        return ""
    return f", of which {charges} {'charge is' if charges == 1 else 'charges are'} pending"


def in_notebook() -> bool:
    """Return True in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class NotebookBars(Progress):
    """The bars as an output of a notebook's cell, changed in place; they stay when a run has ended.

    Rich's own form needs ipywidgets, which few have, and a thread that draws.
    """

    def __init__(self) -> None:
        super().__init__(console=Console(stderr=True, force_jupyter=False), auto_refresh=False)
        self._output: Any = None
        self._shown_s = 0.0

    def start(self) -> None:
        """Make the output."""
        # Its functions have no types.
        display: Any = import_module("IPython.display").display
        self._output = display({"text/html": ""}, raw=True, display_id=True)

    def refresh(self) -> None:
        """Show the bars as they are, unless that was done a moment ago."""
        if time.monotonic() - self._shown_s >= _NOTEBOOK_PAUSE_S:
            self._show()

    def update(self, *arguments: Any, **changes: Any) -> None:
        """Change a bar."""
        super().update(*arguments, **changes)
        self.refresh()

    def stop(self) -> None:
        """Show the bars as they are at the end."""
        self._show()

    def _show(self) -> None:
        if self._output is not None:
            self._shown_s = time.monotonic()
            rows = "".join(map(_html_row, self.tasks))
            self._output.update({"text/html": f"<table>{rows}</table>"}, raw=True)


def _html_row(task: Task) -> str:
    total = "?" if task.total is None else f"{task.total:.0f}"
    amount = "" if task.total is None else f' value="{task.completed}" max="{task.total or 1}"'
    cells = (
        task.description,
        f"<progress{amount}></progress>",
        f"{task.completed:.0f}/{total}",
        escape_html(str(task.fields["note"])),
        format_duration(task.elapsed or 0),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
