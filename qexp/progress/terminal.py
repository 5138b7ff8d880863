"""A run on the terminal: its stages as they come, its plan, and a short summary at the end."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape

from qexp.core.model import JobOutcome, JobState, Partition, Plan
from qexp.core.observer import Observer, PointSummary
from qexp.core.spec import Limit, RunSpec
from qexp.planning.table import plan_table
from qexp.progress.bars import Bars
from qexp.resumption import resume_command
from qexp.text import format_duration, short_path

_SHOWN_STATES: tuple[JobState, ...] = ("QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED")


class Terminal(Observer):
    """Shows a run on the terminal, or its bars in a notebook; a context manager around it.

    Args:
        spec: The run, or the first point of a sweep.
        run_dir: The folder of the run or the sweep.
        point: Overrides of this point of a sweep, or None.
        circuits_by: The swept keys that decide its circuits, or None.
        is_quiet: Print nothing on stdout.
        now_s: The clock; tests substitute their own.
    """

    def __init__(
        self,
        spec: RunSpec,
        run_dir: Path,
        point: str | None = None,
        circuits_by: Sequence[str] | None = None,
        *,
        is_quiet: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._run_dir = run_dir
        self._point = point
        self._circuits = decided_by(circuits_by)
        # Not cut to a terminal's width when the output goes to a file.
        width = None if sys.stdout.isatty() else 120
        self._out = Console(highlight=False, soft_wrap=True, width=width, quiet=is_quiet)
        self._bars = Bars(self._line, now_s)
        self._backend = ""
        self._batch_ids: list[str] = []
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def backend_selected(
        self, name: str, num_qubits: int, engine: str, points: Sequence[int] = ()
    ) -> None:
        """Remember the backend for the summary, and start the first bar of a new run."""
        self._backend = f"{name} ({num_qubits} qubits, engine {engine})"
        if "submitting" not in self._bars:
            self._bars.add("transpiling", None, self._backend)

    def pub_planned(self, workload: str, count: int) -> None:
        """Advance the first bar; a generator does not say how many PUBs are to come."""
        self._bars.update("transpiling", f"{workload} on {self._backend}", advance=1)

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """Print the plan if nothing else was asked for, or add the bars of the batch."""
        self._bars.update("transpiling", total=self._bars.completed("transpiling"))
        if self._spec.stop_after == "plan":
            self._print_plan(plan, max_time_s, limits)
        else:
            self._add_batch_bars(plan, len(plan.partitions), 0)

    def resumed(self, plan: Plan, done: int, in_flight: int, missing: int) -> None:
        """Add the bars of the batch; jobs in flight count as submitted once found again."""
        self._add_batch_bars(plan, in_flight + missing, done)
        self._bars.update("collecting", f"{done} had a result before")

    def warned(self, message: str) -> None:
        """Print a warning."""
        self._bars.print(f"warning: {message}")

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
        self._note_beginning()
        self._bars.update("submitting", self._batch_note())

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """Advance the bar of submissions."""
        self._bars.update("submitting", self._batch_note(), advance=1)

    def submission_paused(self, reason: str, seconds: float) -> None:
        """Show why submission pauses, and for how long."""
        again = f", again within {format_duration(seconds)}" if seconds else ""
        self._bars.update("submitting", f"waiting{again}: {reason}")

    def job_adopted(self, partition: int, job_id: str) -> None:
        """Advance the bar of submissions by a job that was submitted before."""
        self._note_beginning()
        self._bars.update("submitting", f"job {job_id} was submitted before", advance=1)

    def attempt_failed(self, outcome: JobOutcome) -> None:
        """Add one more job to the bar of submissions."""
        self._bars.update("submitting", total=self._bars.total("submitting") + 1)
        self._bars.update(
            "collecting", f"job {outcome.job_id} failed and is run again: {outcome.error}"
        )

    def service_lost(self, reason: str, seconds: float) -> None:
        """Show why the service is out of reach."""
        self._bars.update("running", f"out of reach, asked in {format_duration(seconds)}: {reason}")

    def queue_seen(self, length: int) -> None:
        """Show how long the backend's queue is."""
        self._bars.update(
            "submitting", f"{self._batch_note()}, {length} jobs in the backend's queue"
        )

    def jobs_moved(self, states: Counter[JobState]) -> None:
        """Show the number of jobs in each state."""
        shown = [f"{states[state]} {state.lower()}" for state in _SHOWN_STATES if states[state]]
        final = states["DONE"] + states["ERROR"] + states["CANCELLED"]
        # The states are those of the batches with jobs in flight, the bar is that of all batches.
        completed = max(final, self._bars.completed("running"))
        self._bars.update("running", ", ".join(shown), completed=completed)

    def job_collected(self, outcome: JobOutcome) -> None:
        """Advance the bar of collected jobs."""
        note = "" if outcome.error is None else f"job {outcome.job_id} failed"
        self._bars.update("collecting", note, advance=1)

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
            usage=f"{summary.usage_s:.1f} s{pending(summary.usage_pending)} "
            f"(predicted for a QPU: {summary.predicted_s:.1f} s)",
            elapsed=format_duration(self._bars.elapsed_s),
            archive=path,
            next=opened
            if summary.status == "complete"
            else self._resume_command(*["--collect-only"] * summary.only_collects),
        )

    def analysed(self, name: str, summary: str, point: int | None = 0) -> None:
        """Print the one-line result of an analysis."""
        self._out.print(f"[bold]analysis [/bold]{escape(f'{name}: {summary}')}")

    def _resume_command(self, *words: str) -> str:
        spec = self._spec
        return resume_command(self._run_dir, spec.config_yaml, *words, *spec.given_anew)

    def _print_end(self, batch_ids: Sequence[str], **lines: str) -> None:
        batches = {"batch" if len(batch_ids) <= 1 else "batches": ", ".join(batch_ids)}
        self._print_lines({**batches, "backend": self._backend, **lines})

    def _print_lines(self, lines: Mapping[str, str]) -> None:
        self._bars.stop()
        known = {"point": self._point or "", "circuits": self._circuits}
        for name, text in [*known.items(), *lines.items()]:
            if text:
                self._out.print(f"[bold]{name:<9}[/bold]{escape(text)}")

    def _print_plan(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        self._bars.stop()
        table = plan_table(plan, max_time_s, limits, self._spec.partition, backend=self._backend)
        self._out.print(table)

    def _add_batch_bars(self, plan: Plan, to_submit: int, done: int) -> None:
        self._bars.add("submitting", to_submit)
        self._bars.add("running", to_submit, f"predicted {format_duration(plan.qpu_s)} of QPU time")
        self._bars.add("collecting", len(plan.partitions))
        self._bars.update("collecting", completed=done)

    def _note_beginning(self) -> None:
        """Note when the jobs began, and how much was collected before."""
        if self._began is None:
            self._began = self._bars.elapsed_s, self._bars.completed("collecting")

    def _line(self) -> str:
        """Return how far the run is."""
        bars = self._bars
        if "collecting" not in bars:
            return f"{bars.completed('transpiling')} circuits planned"
        return self._line_of_batch("jobs")

    def _line_of_batch(self, unit: str) -> str:
        bars, submitted = self._bars, ""
        if bars.completed("submitting") < bars.total("submitting"):
            submitted = f"{bars.completed('submitting')} of {bars.total('submitting')} submitted"
        states = ", ".join(filter(None, [submitted, bars.note("running")]))
        done = f"{bars.completed('collecting')} of {bars.total('collecting')} {unit} done"
        return "; ".join(filter(None, [done, f"jobs: {states}", self._time_left()]))

    def _time_left(self) -> str:
        """Return a prediction from what was collected since the jobs began, if anything was."""
        began_s, before = self._began or (0.0, 0)
        done = self._bars.completed("collecting")
        left = self._bars.total("collecting") - done
        if done <= before or left <= 0:
            return ""
        seconds = (self._bars.elapsed_s - began_s) / (done - before) * left
        return f"about {format_duration(seconds)} left"

    def _batch_note(self) -> str:
        number = f" (number {len(self._batch_ids)})" if len(self._batch_ids) > 1 else ""
        return f"batch {self._batch_ids[-1]}{number}" if self._batch_ids else ""


def decided_by(keys: Sequence[str] | None) -> str:
    """Describe which points of a sweep have the same circuits; None: unknown."""
    if keys is None:
        return ""
    if not keys:
        return "the same in all points"
    return f"decided by {', '.join(keys)}; the same in points that agree in that"


def pending(charges: int) -> str:
    """Describe charges that are not final yet, as the rest of a sentence."""
    if not charges:
        return ""
    return f", of which {charges} {'charge is' if charges == 1 else 'charges are'} pending"
