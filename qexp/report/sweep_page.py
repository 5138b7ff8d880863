"""The runs of a sweep as a page that compares them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from urllib.parse import quote

import numpy as np

from qexp.report import PAGE_NAME
from qexp.report.execution import is_simulated
from qexp.report.figures.charts import NUM_COLOURS, Spot, draw_spots, extent
from qexp.report.figures.plot import Axis, Plot
from qexp.report.figures.svg import Figure
from qexp.report.sweep_runs import SweptRun, number_in, read_sweep, swept_keys
from qexp.report.text import is_finite, left_out, number, plural
from qexp.report.workload_results import WorkloadResults

_MAX_SECTIONS = 6

Middle = tuple[float, float, float]
"""A value with the two ends of its bar."""
MakeAxis = Callable[[str, Sequence[float]], Axis]


@dataclass(frozen=True)
class SweepSection:
    """Figures over one swept key, and the names of the lines in them."""

    key: str
    figures: tuple[Figure, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class SweepPage:
    """Everything that the template shows.

    Attributes:
        title: Title of the experiment and number of runs.
        name: Name of the folder.
        swept: Swept keys with their values.
        runs: The runs.
        readable: Those that can be read.
        sections: One for each of the first swept keys.
        links: Folder of a run -> relative address of its own page, where it has one.
        quality: Figure of merit of the runs.
        medians: Folder of a run -> its median of that, where known.
    """

    title: str
    name: str
    swept: tuple[tuple[str, list[str]], ...]
    runs: tuple[SweptRun, ...]
    readable: tuple[SweptRun, ...]
    sections: tuple[SweepSection, ...]
    links: dict[Path, str]
    quality: str
    medians: dict[Path, float]


def sweep_page(folder: Path, page: Path) -> SweepPage:
    """Read everything about the runs in a folder.

    Args:
        folder: The folder.
        page: Where the page will be: links to the runs' own pages are relative to it.

    Raises:
        ConfigError: There is no run in the folder, or too many.
    """
    runs = read_sweep(folder)
    readable = tuple(run for run in runs if not run.summary.problem)
    keys = swept_keys(runs)
    quality, medians = _medians(readable)
    experiments = dict.fromkeys(str(run.summary.experiment) for run in readable)
    title = next((run.title for run in readable if run.title), ", ".join(experiments)) or "Runs"
    return SweepPage(
        title=f"{title}: {plural(len(runs), 'run')}",
        name=folder.resolve().name,
        swept=tuple((key, _values(key, readable)) for key in keys),
        runs=runs,
        readable=readable,
        sections=tuple(_KeyFigures(key, keys, readable).draw() for key in keys[:_MAX_SECTIONS]),
        links=dict(_links(runs, page)),
        quality=quality,
        medians=medians,
    )


def _values(key: str, runs: Sequence[SweptRun]) -> list[str]:
    """The values of a key in order, numbers first."""
    values = {run.value(key) for run in runs}
    return sorted(values, key=lambda text: (number_in(text) is None, number_in(text) or 0.0, text))


class _KeyFigures:
    """Draws figures over one key; lines join runs that agree in all other keys."""

    def __init__(self, key: str, keys: Sequence[str], runs: Sequence[SweptRun]) -> None:
        self._key = key
        self._runs = runs
        values = _values(key, runs)
        numbers = [x for x in map(number_in, values) if x is not None]
        names = None if len(numbers) == len(values) else values
        xs = numbers if names is None else [float(k) for k in range(len(values))]
        self._x_of = dict(zip(values, xs, strict=True))
        self._x_axis = Axis.of_swept_key(key, xs, names)
        groups: dict[str, list[SweptRun]] = {}
        for run in runs:
            others = [f"{k.rpartition('.')[2]} {run.value(k)}" for k in keys if k != key]
            groups.setdefault(", ".join(others), []).append(run)
        self._groups = groups if len(groups) <= NUM_COLOURS else {"": list(runs)}

    def draw(self) -> SweepSection:
        """Draw quality, expectation values and usage, as far as the runs have them."""
        lines = tuple(name for name in self._groups if name)
        return SweepSection(self._key, tuple(self._figures()), lines)

    def _figures(self) -> Iterator[Figure]:
        names = dict.fromkeys(each.name for run in self._runs for each in run.workloads)
        for name in names:
            yield from self._quality(name, f" ({name})" if len(names) > 1 else "")
        simulated = all(is_simulated(run.summary) for run in self._runs)
        usage = "simulation time (s)" if simulated else "QPU time charged (s)"
        series = self._lines(lambda run: (run.summary.usage_s or 0.0,) * 3)
        yield from self._figure("Usage", "Charged for all jobs of the run.", usage, series)
        series = self._lines(lambda run: (run.summary.predicted_qpu_s or math.nan,) * 3)
        y_label = "predicted QPU time (s)"
        yield from self._figure("Predicted usage", "For a QPU, from the plan.", y_label, series)

    def _quality(self, workload: str, where: str) -> Iterator[Figure]:
        note = left_out(sum(_results(run, workload).num_not_finite for run in self._runs))
        series = self._lines(lambda run: _middle(_results(run, workload).fidelities))
        caption = "Median of the run's circuits, bar over their middle half."
        axis = partial(Axis.around, most=1.0)
        yield from self._figure(f"Fidelity{where}", caption, "Hellinger fidelity", series, axis)
        series = self._lines(lambda run: _middle(_results(run, workload).errors))
        caption = f"Median of the run, bar over the middle half. {note}"
        title = f"Error of expectation values{where}"
        yield from self._figure(title, caption, "|measured − exact|", series)
        series = self._expectation_values(workload)
        caption = f"With one standard error; rings are exact values. {note}"
        title = f"Expectation values{where}"
        yield from self._figure(title, caption, "expectation value", series, Axis.around)

    def _figure(
        self,
        title: str,
        caption: str,
        y_label: str,
        series: Sequence[Sequence[Spot]],
        axis: MakeAxis = Axis.from_zero,
    ) -> Iterator[Figure]:
        held = extent([*chain.from_iterable(series)])
        if held:
            plot = Plot(f"{title} by {self._key}", self._x_axis, axis(y_label, held))
            yield Figure(draw_spots(plot, series, join="values"), title, caption.strip())

    def _lines(self, read: Callable[[SweptRun], Middle | None]) -> list[list[Spot]]:
        """One line for each group of runs."""
        lines = []
        for runs in self._groups.values():
            spots = []
            for run in runs:
                found, value = read(run), run.value(self._key)
                if found is not None and all(map(is_finite, found)):
                    y, low, high = found
                    tip = f"{run.summary.run_id}, {self._key}={value}: {number(y)}"
                    error = (low, high) if high > low else None
                    spots.append(Spot(self._x_of[value], y, tip, error))
            lines.append(sorted(spots, key=lambda spot: spot.x))
        return lines

    def _expectation_values(self, workload: str) -> list[list[Spot]]:
        """One line for each expectation value, where all runs have few."""
        lines: dict[str, list[Spot]] = {}
        for run in self._runs:
            results = _results(run, workload)
            if not 0 < len(results.estimated) + results.num_not_finite <= NUM_COLOURS:
                return []
            x = self._x_of[run.value(self._key)]
            for point in results.estimated:
                tip = f"{run.summary.run_id}, {point.tip}"
                spot = Spot(x, point.ev, tip, point.error_bar, point.exact)
                lines.setdefault(f"{point.label}, {point.observable}", []).append(spot)
        if len(lines) > NUM_COLOURS:
            return []
        return [sorted(spots, key=lambda spot: spot.x) for spots in lines.values()]


def _results(run: SweptRun, workload: str) -> WorkloadResults:
    """The results of a workload, empty ones where the run has none."""
    empty = WorkloadResults(workload, 0, 0, ())
    return next((each for each in run.workloads if each.name == workload), empty)


def _middle(values: Sequence[float]) -> Middle | None:
    """Median and quartiles."""
    if not values:
        return None
    low, high = np.percentile(values, (25, 75)).tolist()
    return median(values), low, high


def _medians(runs: Sequence[SweptRun]) -> tuple[str, dict[Path, float]]:
    """What tells how good runs were, and its median in each run's first workload that has it."""
    quality = "median error"
    if any(each.fidelities for run in runs for each in run.workloads):
        quality = "median fidelity"
    medians: dict[Path, float] = {}
    for run in runs:
        for each in run.workloads:
            values = each.errors if quality == "median error" else each.fidelities
            if values:
                medians.setdefault(run.folder, median(values))
    return quality, medians


def _links(runs: Sequence[SweptRun], page: Path) -> Iterator[tuple[Path, str]]:
    """Links to the runs' own pages where there are any; never more than a relative path."""
    for run in runs:
        own = run.folder / PAGE_NAME
        if own.is_file():
            relative = os.path.relpath(own.resolve(), page.resolve().parent)
            yield run.folder, "./" + quote(Path(relative).as_posix())
