"""A run or a sweep on the terminal: its stages as they come, its plan, a short summary at the end.

A single run is a sweep of one point whose bars count circuits and jobs instead of points.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from qexp.core.model import JobOutcome, JobState, Partition, Plan, Progress
from qexp.core.observer import Observer, PointSummary, SweepSummary
from qexp.core.protocols import SimulatingEngine
from qexp.core.spec import Limit, RunSpec
from qexp.planning.forecast import describe_time
from qexp.planning.table import Lane, plan_table
from qexp.progress.bars import Bars
from qexp.progress.summary import MOST_LINES, Summary
from qexp.text import format_duration, short_path

_log = logging.getLogger(__name__)

_LONG_S = 20.0

_NO_PROGRESS = Progress()

_SHOWN_STATES: tuple[JobState, ...] = ("QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED")


class Terminal(Observer):
    """Shows a run or a sweep on the terminal, or its bars in a notebook; a context manager.

    The summary of a sweep is printed at the end of the context, after the analyses. `point` has the
    overrides of a run that is a point of a sweep; if `is_quiet`, nothing is printed on stdout.

    Raises:
        ArchiveError: The declaration of the sweep is damaged.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        folder: Path,
        point: str | None = None,
        *,
        is_quiet: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._specs = specs
        self._folder = folder
        self._end = Summary(specs, folder, point, is_quiet=is_quiet)
        self._is_sweep = self._end.is_sweep
        self._bars = Bars(self._line, now_s)
        self._lanes: dict[int, Lane] = {}
        self._batch_ids: list[str] = []
        self._num_circuits = 0
        self._jobs: set[str] = set()
        self._began: tuple[float, int] | None = None
        self._measured: set[int] = set()
        self._cannot_run: set[int] = set()
        self._ended: SweepSummary | None = None
        self._progress = _NO_PROGRESS
        self._core_s = 0.0  # predicted for all PUBs whose time is predicted

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
        if self._ended is None:
            return
        try:
            self._end.print_sweep(self._ended, self._bars.elapsed_s)
        except (Exception, SystemExit):
            # As in `qexp.core.observer.Guarded`.
            _log.warning("the summary could not be shown", exc_info=True)

    def backend_selected(
        self, name: str, num_qubits: int, engine: str, points: Sequence[int] = (0,)
    ) -> None:
        """Remember a backend and its points, and start the first bar of a new run."""
        shown = f"{name} ({num_qubits} qubits, engine {engine})"
        # Selected again after an outage, it has the same points.
        self._lanes[points[0]] = Lane(name, frozenset(points), self._specs[points[0]].max_time_s)
        self._end.backends[shown] = None
        if "submitting" not in self._bars:
            # A generator does not say how many circuits are to come.
            total = len(self._specs) if self._is_sweep else None
            self._bars.add("transpiling", total, shown)

    def pub_planned(self, workload: str, count: int) -> None:
        """Count circuits, and advance the first bar of a single run."""
        self._num_circuits += 1
        if self._is_sweep:
            self._bars.update("transpiling", f"{self._num_circuits} circuits")
        else:
            self._bars.update("transpiling", f"{workload} on {self._end.backend}", advance=1)

    def point_planned(self, point: int) -> None:
        """Advance the first bar of a sweep."""
        if self._is_sweep:
            self._bars.update("transpiling", advance=1)

    def point_failed(self, point: int, reason: str) -> None:
        """Print the reason, that of the first points at least."""
        self.point_planned(point)
        self._cannot_run.add(point)
        if len(self._cannot_run) <= MOST_LINES:
            self._bars.print(f"{self._end.name(point)} cannot run: {reason}")

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """Print the plan if nothing else was asked for, or add the bars of the batch."""
        self._bars.update("transpiling", total=self._bars.completed("transpiling"))
        first = self._specs[0]
        if first.stop_after != "plan":
            self._add_batch_bars(plan, plan.num_jobs, 0)
            self._announce(plan)
            return
        self._bars.stop()
        table = plan_table(
            plan,
            max_time_s,
            limits,
            first.partition,
            backend=self._end.backend,
            lanes=[*self._lanes.values()],
            engine=first.engine,
            budget_s=first.budget_s,
        )
        self._end.out.print(table)

    def _announce(self, plan: Plan) -> None:
        """Note how long a simulation will take, and say so if that is long."""
        engine = self._specs[0].engine
        if plan.forecast is None or not isinstance(engine, SimulatingEngine):
            return
        self._core_s = plan.forecast.core_s
        if plan.forecast.wall_s(engine.cores) > _LONG_S:
            time = describe_time(plan.forecast, engine.cores)
            self._bars.print(f"the simulation is predicted to take {time}")

    def resumed(self, plan: Plan, done: int, in_flight: int, missing: int) -> None:
        """Add the bars of the batch; their ends follow when jobs are found and packed."""
        if self._is_sweep:
            self._add_batch_bars(plan, 0, len(self._measured))
        else:
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

    def jobs_packed(self, jobs: int) -> None:
        """Set the end of the bars of jobs."""
        self._set_jobs(len(self._jobs) + jobs)

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """Advance the bar of submissions by a job, however many partitions it has."""
        self._count_job(job_id, self._batch_note())

    def job_adopted(self, partition: int, job_id: str) -> None:
        """Advance the bar of submissions by a job that was submitted before."""
        self._note_beginning()
        self._count_job(job_id, f"job {job_id} was submitted before")

    def submission_paused(self, reason: str, seconds: float) -> None:
        """Show why submission pauses, and for how long."""
        again = f", again within {format_duration(seconds)}" if seconds else ""
        self._bars.update("submitting", f"waiting{again}: {reason}")

    def attempt_failed(self, outcome: JobOutcome) -> None:
        """Show why a job is run again."""
        note = f"job {outcome.job_id} failed and is run again: {outcome.error}"
        self._bars.update("collecting", note)

    def service_lost(self, reason: str, seconds: float) -> None:
        """Show why the service is out of reach."""
        self._bars.update("running", f"out of reach, asked in {format_duration(seconds)}: {reason}")

    def queue_seen(self, length: int) -> None:
        """Show how long the backend's queue is."""
        note = f"{self._batch_note()}, {length} jobs in the backend's queue"
        self._bars.update("submitting", note)

    def jobs_moved(self, states: Counter[JobState], progress: Progress = _NO_PROGRESS) -> None:
        """Show the number of jobs in each state, how far simulated ones are, and when they end."""
        shown = [f"{states[state]} {state.lower()}" for state in _SHOWN_STATES if states[state]]
        final = states["DONE"] + states["ERROR"] + states["CANCELLED"]
        # The states are those of the batches with jobs in flight, the bar is that of all batches.
        completed = max(final, progress.jobs, self._bars.completed("running"))
        self._progress = progress
        left_s = self._left_s() if progress.jobs else None
        self._bars.update("running", ", ".join(shown), completed=completed, left_s=left_s)

    def job_collected(self, outcome: JobOutcome) -> None:
        """Advance the last bar of a single run, and show that a job failed."""
        note = "" if outcome.error is None else f"job {outcome.job_id} failed"
        self._bars.update("collecting", note, advance=0 if self._is_sweep else 1)

    def point_measured(self, point: int) -> None:
        """Advance the bar of points."""
        self._measured.add(point)
        if self._is_sweep:
            self._bars.update("collecting", completed=len(self._measured))

    def detached(self, plan: Plan, out: int, batch_ids: Sequence[str]) -> None:
        """Print how many jobs are in flight, and the commands that go on."""
        self._bars.stop()
        go_on = self._end.resume_command()
        if not self._is_sweep:
            jobs = f"{out} of {plan.num_jobs} are out, none is waited for"
            self._end.print_end(batch_ids, jobs=jobs, next=go_on)
            return
        self._end.print_end(
            batch_ids,
            points=self._end.count(done=len(self._measured), cannot_run=len(self._cannot_run)),
            jobs=f"{out} {'is' if out == 1 else 'are'} out, none is waited for",
            next=go_on,
            status=shlex.join(["python", "-m", "qexp", "status", short_path(self._folder)]),
        )

    def sealed(self, archive: Path, summary: PointSummary) -> None:
        """Print the summary of a single run; expect the analyses of a point that is complete."""
        if not self._is_sweep:
            self._bars.stop()
            self._end.print_run(archive, summary, self._bars.elapsed_s)
        elif summary.status == "complete" and (analyses := self._specs[summary.point].analyses):
            self._bars.add("analysing", self._bars.total("analysing") + len(analyses))

    def sweep_ended(self, folder: Path, summary: SweepSummary) -> None:
        """Keep the summary until the analyses are made."""
        self._ended = summary

    def analysed(self, name: str, summary: str, point: int | None = 0) -> None:
        """Print the one-line result of an analysis, or keep it for the summary of a sweep."""
        result = f"{name}: {summary}"
        if not self._is_sweep:
            self._end.print_analysis(result)
            return
        self._end.results.setdefault(point, []).append(result)
        if point is not None:
            self._bars.update("analysing", self._end.name(point), advance=1)

    def _add_batch_bars(self, plan: Plan, to_submit: int, done: int) -> None:
        self._end.num_pubs = sum(partition.num_pubs for partition in plan.partitions)
        units = {one.point if self._is_sweep else one.index for one in plan.partitions}
        self._bars.add("submitting", to_submit)
        self._bars.add("running", to_submit, f"predicted {format_duration(plan.qpu_s)} of QPU time")
        self._bars.add("collecting", len(units))
        self._bars.update("collecting", completed=done)

    def _set_jobs(self, total: int) -> None:
        self._bars.update("submitting", total=total)
        self._bars.update("running", total=total)

    def _count_job(self, job_id: str, note: str) -> None:
        self._jobs.add(job_id)
        self._set_jobs(max(len(self._jobs), self._bars.total("submitting")))
        self._bars.update("submitting", note, completed=len(self._jobs))

    def _note_beginning(self) -> None:
        """Note when the jobs began, and how much was collected before."""
        if self._began is None:
            self._began = self._bars.elapsed_s, self._bars.completed("collecting")

    def _line(self) -> str:
        """Return how far the run is."""
        bars, submitted = self._bars, ""
        if "collecting" not in bars:
            circuits = f"{self._num_circuits} circuits"
            planned = f"{bars.completed('transpiling')} of {len(self._specs)} points planned"
            return f"{planned}; {circuits}" if self._is_sweep else f"{circuits} planned"
        if bars.completed("submitting") < bars.total("submitting"):
            submitted = f"{bars.completed('submitting')} of {bars.total('submitting')} submitted"
        states = ", ".join(filter(None, [submitted, bars.note("running")]))
        unit = "points" if self._is_sweep else "jobs"
        done = f"{bars.completed('collecting')} of {bars.total('collecting')} {unit} done"
        left_s = self._left_s()
        left = "" if left_s is None else f"about {format_duration(left_s)} left"
        return "; ".join(filter(None, [done, f"jobs: {states}", left]))

    def _left_s(self) -> float | None:
        """Predict the time left from what was done since the jobs began, if anything was."""
        began_s, before = self._began or (0.0, 0)
        done: float = self._bars.completed("collecting") - before
        left: float = self._bars.total("collecting") - before - done
        if 0 < self._progress.core_s < self._core_s:
            done, left = self._progress.core_s, self._core_s - self._progress.core_s
        elif self._progress.jobs:
            done = self._progress.jobs
            left = self._bars.total("running") - done
        if done <= 0 or left <= 0:
            return None
        return (self._bars.elapsed_s - began_s) / done * left

    def _batch_note(self) -> str:
        number = f" (number {len(self._batch_ids)})" if len(self._batch_ids) > 1 else ""
        return f"batch {self._batch_ids[-1]}{number}" if self._batch_ids else ""
