"""A sweep on the terminal: its points and their shared jobs, one plan, one summary."""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.markup import escape

from qexp.archive.summary import load_config
from qexp.archive.sweep_file import read_sweep
from qexp.core.model import JobOutcome, Partition, Plan
from qexp.core.observer import PointSummary, SweepSummary
from qexp.core.spec import Limit, RunSpec
from qexp.planning.table import Lane, plan_table
from qexp.progress.terminal import Terminal, decided_by, pending
from qexp.text import format_duration, one_line, short_path

_log = logging.getLogger(__name__)

_MOST_LINES = 20
"""Points of a larger sweep have no line each; and no more than these are said to have failed."""

_MOST_NAMES = 3
"""Backends, and batches, of which the names are printed."""

_LONGEST_DRAWS = 80


class SweepTerminal(Terminal):
    """Shows a sweep on the terminal, or its bars in a notebook; a context manager around it.

    The summary is printed at the end of the context, after the analyses.

    Args:
        specs: The points, in order.
        folder: The folder of the sweep, with its declaration.
        is_quiet: Print nothing on stdout.
        now_s: The clock; tests substitute their own.

    Raises:
        ArchiveError: The declaration is damaged.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        folder: Path,
        *,
        is_quiet: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(specs[0], folder, is_quiet=is_quiet, now_s=now_s)
        self._specs = specs
        self._declared = read_sweep(folder)
        self._lanes: dict[int, Lane] = {}
        self._backends: dict[str, None] = {}
        self._circuits_planned = 0
        self._jobs: set[str] = set()
        self._measured: set[int] = set()
        self._cannot_run: set[int] = set()
        self._results: dict[int | None, list[str]] = {}
        self._ended: SweepSummary | None = None
        self._num_pubs = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, value, trace)
        if self._ended is None:
            return
        try:
            self._print_summary(self._ended)
        except (Exception, SystemExit):
            # As in `qexp.core.observer.Guarded`.
            _log.warning("the summary could not be shown", exc_info=True)

    def backend_selected(
        self, name: str, num_qubits: int, engine: str, points: Sequence[int] = ()
    ) -> None:
        """Remember a backend and its points, and start the first bar of a new sweep."""
        shown = f"{name} ({num_qubits} qubits, engine {engine})"
        max_time_s = self._specs[points[0]].max_time_s
        # Selected again after an outage, it has the same points.
        self._lanes[points[0]] = Lane(name, frozenset(points), max_time_s)
        self._backends[shown] = None
        self._backend = _listed([*self._backends])
        if "submitting" not in self._bars:
            self._bars.add("transpiling", len(self._specs), shown)

    def pub_planned(self, workload: str, count: int) -> None:
        """Count circuits; the first bar is that of points."""
        self._circuits_planned += 1
        self._bars.update("transpiling", self._planned_circuits())

    def point_planned(self, point: int) -> None:
        """Advance the first bar."""
        self._bars.update("transpiling", advance=1)

    def point_failed(self, point: int, reason: str) -> None:
        """Print the reason, that of the first points at least."""
        self._bars.update("transpiling", advance=1)
        self._cannot_run.add(point)
        if len(self._cannot_run) <= _MOST_LINES:
            self._bars.print(f"{self._name(point)} cannot run: {reason}")

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """Print the plan if nothing else was asked for, or add the bars of the batch."""
        if self._spec.stop_after != "plan":
            self._add_batch_bars(plan, plan.num_jobs, 0)
            return
        self._bars.stop()
        partition, lanes = self._spec.partition, [*self._lanes.values()]
        table = plan_table(plan, max_time_s, limits, partition, backend=self._backend, lanes=lanes)
        self._out.print(table)

    def resumed(self, plan: Plan, done: int, in_flight: int, missing: int) -> None:
        """Add the bars of the batch; their ends follow when jobs are found or packed."""
        self._add_batch_bars(plan, 0, 0)

    def jobs_packed(self, jobs: int) -> None:
        """Set the end of the bars of jobs."""
        self._set_jobs(len(self._jobs) + jobs)

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """Advance the bar of submissions by a job, however many partitions it has."""
        self._jobs.add(job_id)
        self._set_jobs(max(len(self._jobs), self._bars.total("submitting")))
        self._bars.update("submitting", self._batch_note(), completed=len(self._jobs))

    def job_adopted(self, partition: int, job_id: str) -> None:
        """Advance the bar of submissions by a job that was submitted before."""
        self._note_beginning()
        self._jobs.add(job_id)
        self._set_jobs(max(len(self._jobs), self._bars.total("submitting")))
        note = f"job {job_id} was submitted before"
        self._bars.update("submitting", note, completed=len(self._jobs))

    def attempt_failed(self, outcome: JobOutcome) -> None:
        """Show why partitions are submitted again."""
        self._bars.update("collecting", f"job {outcome.job_id} failed: {outcome.error}")

    def job_collected(self, outcome: JobOutcome) -> None:
        """Show that a job failed; the bar is that of points."""
        if outcome.error is not None:
            self._bars.update("collecting", f"job {outcome.job_id} failed")

    def point_measured(self, point: int) -> None:
        """Advance the bar of points."""
        self._measured.add(point)
        self._bars.update("collecting", completed=len(self._measured))

    def detached(self, plan: Plan, out: int, batch_ids: Sequence[str]) -> None:
        """Print how many jobs are in flight, and the commands that go on."""
        folder = short_path(self._run_dir)
        self._print_end(
            batch_ids,
            points=self._count(done=len(self._measured), cannot_run=len(self._cannot_run)),
            jobs=f"{out} {'is' if out == 1 else 'are'} out, none is waited for",
            next=self._resume_command(),
            status=shlex.join(["python", "-m", "qexp", "status", folder]),
        )

    def sealed(self, archive: Path, summary: PointSummary) -> None:
        """Expect the analyses of a point that is complete."""
        if summary.status == "complete" and (analyses := self._specs[summary.point].analyses):
            self._bars.add("analysing", self._bars.total("analysing") + len(analyses))

    def sweep_ended(self, folder: Path, summary: SweepSummary) -> None:
        """Keep the summary until the analyses are made."""
        self._ended = summary

    def analysed(self, name: str, summary: str, point: int | None = 0) -> None:
        """Keep the one-line result of an analysis for the summary."""
        self._results.setdefault(point, []).append(f"{name}: {summary}")
        if point is not None:
            self._bars.update("analysing", self._name(point), advance=1)

    def _add_batch_bars(self, plan: Plan, to_submit: int, done: int) -> None:
        self._num_pubs = sum(partition.num_pubs for partition in plan.partitions)
        super()._add_batch_bars(plan, to_submit, done)
        points = {partition.point for partition in plan.partitions}
        self._bars.update("collecting", total=len(points), completed=len(self._measured))

    def _set_jobs(self, total: int) -> None:
        self._bars.update("submitting", total=total)
        self._bars.update("running", total=total)

    def _planned_circuits(self) -> str:
        return f"{self._circuits_planned} circuits"

    def _line(self) -> str:
        bars = self._bars
        if "collecting" in bars:
            return self._line_of_batch("points")
        done = f"{bars.completed('transpiling')} of {len(self._specs)} points planned"
        return f"{done}; {self._planned_circuits()}"

    def _print_summary(self, summary: SweepSummary) -> None:
        folder = short_path(self._run_dir)
        if summary.status == "planned":
            self._print_planned(summary, folder)
            return
        self._print_points(summary)
        for result in self._results.get(None, ()):
            self._out.print(f"[bold]analysis [/bold]{escape(result)}")
        is_complete = summary.status == "complete"
        opened = f"python -c \"import qexp; print(qexp.open_sweep('{folder}'))\""
        collect_only = ["--collect-only"] * summary.only_collects
        done, failed = summary.points.count("complete"), len(summary.failed)
        self._print_end(
            summary.batch_ids,
            points=self._count(
                done=done, failed=failed, unfinished=len(summary.points) - done - failed
            ),
            circuits=decided_by(_deciding(self._specs)),
            jobs=f"{summary.jobs} planned, {self._num_pubs} PUBs",
            usage=f"{summary.usage_s:.1f} s{pending(summary.usage_pending)} "
            f"(predicted for a QPU: {summary.predicted_s:.1f} s)",
            elapsed=format_duration(self._bars.elapsed_s),
            next=opened if is_complete else self._resume_command(*collect_only),
        )

    def _print_planned(self, summary: SweepSummary, folder: str) -> None:
        rerun = [one for one in self._declared.overrides if not one.startswith("stop_after=")]
        again = {"or": shlex.join(["python", "-m", "qexp", "-m", *rerun])} if rerun else {}
        failed = len(summary.failed)
        self._print_lines(
            {
                "sweep": folder,
                "points": self._count(planned=len(summary.points) - failed, cannot_run=failed),
                "circuits": decided_by(_deciding(self._specs)),
                "next": self._resume_command(),
                **again,
            }
        )

    def _print_points(self, summary: SweepSummary) -> None:
        """Print a line for each point, of a large sweep only for those that failed."""
        numbers = list(range(len(summary.points)))
        if len(numbers) > _MOST_LINES:
            numbers = sorted(summary.failed)
        for number in numbers[:_MOST_LINES]:
            if number in summary.failed:
                state = f"failed: {summary.failed[number]}"
            elif summary.points[number] == "complete":
                state = "; ".join(["done", *self._results.get(number, ())])
            else:
                state = "unfinished"
            self._out.print(escape(f"{self._name(number)}: {state}"))
        if len(numbers) > _MOST_LINES:
            self._out.print(f"and {len(numbers) - _MOST_LINES} more points that failed")

    def _print_end(self, batch_ids: Sequence[str], **lines: str) -> None:
        places = {
            "sweep": short_path(self._run_dir),
            "batch" if len(batch_ids) <= 1 else "batches": _listed(batch_ids),
            "backend" if len(self._backends) <= 1 else "backends": self._backend,
        }
        self._print_lines({**places, **lines})

    def _count(self, **numbers: int) -> str:
        """Return `10 of 12 done, 1 failed`: the first number always, others where not 0."""
        (first, number), *others = numbers.items()
        more = [f"{count} {what.replace('_', ' ')}" for what, count in others if count]
        return ", ".join([f"{number} of {len(self._specs)} {first}", *more])

    def _name(self, point: int) -> str:
        """Return `point 0003 (circuits.num_qubits=9)`."""
        if point >= len(self._declared.points):
            # A sweeper has chosen more points.
            self._declared = read_sweep(self._run_dir)
        draws = self._declared.points[point].draws
        text = " ".join(f"{key}={_value(value)}" for key, value in draws.items())
        if len(text) > _LONGEST_DRAWS:
            text = f"{text[: _LONGEST_DRAWS - 1]}…"
        return f"point {point:04d} ({text})" if text else f"point {point:04d}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join([*names[:_MOST_NAMES], *[f"and {more} more"] * (more > 0)])


def _value(value: Any) -> str:
    return one_line(value) if isinstance(value, str) else json.dumps(value)


def _deciding(specs: Sequence[RunSpec]) -> list[str] | None:
    """Return the swept keys that decide circuits, None where that is not recorded."""
    # Most points agree in them, and parsing a config takes long.
    different = {_circuits_by(spec.overrides): spec for spec in specs}
    nodes = [load_config(spec.config_yaml).get("sweep") or {} for spec in different.values()]
    known = [node["circuits_by"] for node in nodes if node.get("circuits_by") is not None]
    return list(dict.fromkeys(key for keys in known for key in keys)) if known else None


def _circuits_by(overrides: Sequence[str]) -> str:
    return next((one for one in overrides if one.startswith("sweep.circuits_by=")), "")
