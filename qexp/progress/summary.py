"""The short summary at the end of a run or a sweep: its state, its places, the next command."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from qexp.archive.summary import load_config
from qexp.archive.sweep_file import is_sweep, read_sweep
from qexp.core.observer import PointSummary, SweepSummary
from qexp.core.spec import RunSpec
from qexp.resumption import resume_command
from qexp.text import format_duration, one_line, short_path, shortened

MOST_LINES = 20
"""Points of a larger sweep have no line each; and no more than these are said to have failed."""

_MOST_NAMES = 3
"""Backends, and batches, of which the names are printed."""

_LONGEST_DRAWS = 80


class Summary:
    """Prints the end of a run or a sweep on stdout; arguments are those of `Terminal`.

    Raises:
        ArchiveError: The declaration of the sweep is damaged.
    """

    def __init__(
        self, specs: Sequence[RunSpec], folder: Path, point: str | None, *, is_quiet: bool
    ) -> None:
        self._specs, self._folder, self._point = specs, folder, point
        self.is_sweep = is_sweep(folder)
        # Of each point no more is kept, as there may be thousands.
        self._draws = self._read_draws() if self.is_sweep else []
        # Not cut to a terminal's width when the output goes to a file.
        width = None if sys.stdout.isatty() else 120
        self.out = Console(highlight=False, soft_wrap=True, width=width, quiet=is_quiet)
        self.backends: dict[str, None] = {}
        self.results: dict[int | None, list[str]] = {}
        self.num_pubs = 0

    @property
    def backend(self) -> str:
        """Names of the backends."""
        return listed([*self.backends])

    def print_run(self, archive: Path, summary: PointSummary, elapsed_s: float) -> None:
        """Print the end of a run, and the command that resumes it if anything is left to do."""
        path = short_path(archive)
        if summary.status == "planned":
            self._print_lines({"plan": path, **self._go_on(self._specs[0].overrides)})
            return
        self.print_end(
            summary.batch_ids,
            jobs=f"{summary.done} of {summary.planned} done, {summary.num_pubs} PUBs",
            **_costs(summary, elapsed_s),
            archive=path,
            next=self._next(summary, f"open_archive('{path}')"),
        )

    def print_sweep(self, summary: SweepSummary, elapsed_s: float) -> None:
        """Print the end of a sweep, with a line for each point."""
        folder, failed = short_path(self._folder), len(summary.failed)
        if summary.status == "planned":
            points = self.count(planned=len(summary.points) - failed, cannot_run=failed)
            go_on = self._go_on(read_sweep(self._folder).overrides, "-m")
            circuits = _decided_by(self._specs)
            self._print_lines({"sweep": folder, "points": points, "circuits": circuits, **go_on})
            return
        self._print_points(summary)
        for result in self.results.get(None, ()):
            self.print_analysis(result)
        done = summary.points.count("complete")
        left = len(summary.points) - done - failed
        self.print_end(
            summary.batch_ids,
            points=self.count(done=done, failed=failed, unfinished=left),
            circuits=_decided_by(self._specs),
            jobs=f"{summary.jobs} planned, {self.num_pubs} PUBs",
            **_costs(summary, elapsed_s),
            next=self._next(summary, f"open_sweep('{folder}')"),
        )

    def _print_points(self, summary: SweepSummary) -> None:
        """Print a line for each point, of a large sweep only for those that failed."""
        numbers = list(range(len(summary.points)))
        if len(numbers) > MOST_LINES:
            numbers = sorted(summary.failed)
        for number in numbers[:MOST_LINES]:
            if number in summary.failed:
                state = f"failed: {summary.failed[number]}"
            elif summary.points[number] == "complete":
                state = "; ".join(["done", *self.results.get(number, ())])
            else:
                state = "unfinished"
            self.out.print(escape(f"{self.name(number)}: {state}"))
        if len(numbers) > MOST_LINES:
            self.out.print(f"and {len(numbers) - MOST_LINES} more points that failed")

    def print_analysis(self, result: str) -> None:
        """Print the one-line result of an analysis."""
        self.out.print(f"[bold]analysis [/bold]{escape(result)}")

    def print_end(self, batch_ids: Sequence[str], **lines: str) -> None:
        """Print names with their texts, after the places of the run."""
        places = {
            "sweep": short_path(self._folder) if self.is_sweep else "",
            "batch" if len(batch_ids) <= 1 else "batches": listed(batch_ids),
            "backend" if len(self.backends) <= 1 else "backends": self.backend,
        }
        self._print_lines({**places, **lines})

    def _print_lines(self, lines: Mapping[str, str]) -> None:
        circuits = _decided_by(self._specs) if self._point else ""
        for name, text in [("point", self._point), ("circuits", circuits), *lines.items()]:
            if text:
                self.out.print(f"[bold]{name:<9}[/bold]{escape(text)}")

    def _next(self, summary: PointSummary | SweepSummary, opened: str) -> str:
        """Return the command that reads the data, or the one that resumes what is not complete."""
        if summary.status == "complete":
            return f'python -c "import qexp; print(qexp.{opened})"'
        return self.resume_command(*summary.next_words)

    def _go_on(self, overrides: Sequence[str], *flags: str) -> dict[str, str]:
        """Return the commands that run a plan; a resumed run has its overrides in its folder."""
        rerun = [one for one in overrides if not one.startswith("stop_after=")]
        again = shlex.join(["python", "-m", "qexp", *flags, *rerun]) if rerun else ""
        return {"next": self.resume_command(), "or": again}

    def resume_command(self, *words: str) -> str:
        """Return the command that goes on, with further words."""
        first = self._specs[0]
        return resume_command(self._folder, first.config_yaml, *words, *first.given_anew)

    def count(self, **numbers: int) -> str:
        """Return `10 of 12 done, 1 failed`: the first number always, others where not 0."""
        (first, number), *others = numbers.items()
        more = [f"{count} {what.replace('_', ' ')}" for what, count in others if count]
        return ", ".join([f"{number} of {len(self._specs)} {first}", *more])

    def _read_draws(self) -> list[Mapping[str, Any]]:
        return [point.draws for point in read_sweep(self._folder).points]

    def name(self, point: int) -> str:
        """Return `point 0003 (circuits.num_qubits=9)`."""
        if point >= len(self._draws):
            # A sweeper has chosen more points.
            self._draws = self._read_draws()
        text = " ".join(f"{key}={_value(value)}" for key, value in self._draws[point].items())
        return f"point {point:04d}" + (f" ({shortened(text, _LONGEST_DRAWS)})" if text else "")


def listed(names: Sequence[str]) -> str:
    """Join names, the first few at least."""
    more = len(names) - _MOST_NAMES
    return ", ".join([*names[:_MOST_NAMES], *[f"and {more} more"] * (more > 0)])


def _value(value: Any) -> str:
    return one_line(value) if isinstance(value, str) else json.dumps(value)


def _decided_by(specs: Sequence[RunSpec]) -> str:
    """Describe which points of a sweep have the same circuits, as far as that is recorded."""
    # Most points agree in what decides them, and parsing a config takes long.
    different = {_circuits_by(spec.overrides): spec for spec in specs}
    nodes = [load_config(spec.config_yaml).get("sweep") or {} for spec in different.values()]
    known = [node["circuits_by"] for node in nodes if node.get("circuits_by") is not None]
    deciding = ", ".join(dict.fromkeys(key for keys in known for key in keys))
    if deciding:
        return f"decided by {deciding}; the same in points that agree in that"
    return "the same in all points" if known else ""


def _circuits_by(overrides: Sequence[str]) -> str:
    return next((one for one in overrides if one.startswith("sweep.circuits_by=")), "")


def _costs(summary: PointSummary | SweepSummary, elapsed_s: float) -> dict[str, str]:
    charges, pending = summary.usage_pending, ""
    if charges:
        pending = f", of which {charges} {'charge is' if charges == 1 else 'charges are'} pending"
    predicted = f"(predicted for a QPU: {summary.predicted_s:.1f} s)"
    return {
        "usage": f"{summary.usage_s:.1f} s{pending} {predicted}",
        "elapsed": format_duration(elapsed_s),
    }
