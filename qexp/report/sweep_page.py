"""The page that compares the runs of a sweep: what was swept over them, and how good each was."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import numpy as np

from qexp.analysis.lines import REPLICATES
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME
from qexp.archive.sweep_file import is_sweep
from qexp.archive.sweep_file import read_sweep as read_declaration
from qexp.archive.verify import require_intact
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError, ConfigError
from qexp.listing.find import find_runs
from qexp.listing.read import summarise_sealed
from qexp.listing.summary import RunDetails
from qexp.report import PAGE_NAME
from qexp.report.figures.charts import NUM_COLOURS, Spot, draw_spots, extent
from qexp.report.figures.plot import Axis, Plot
from qexp.report.figures.svg import Figure
from qexp.report.sweep_results import sweep_results
from qexp.report.text import finite, is_finite, left_out, number, plural
from qexp.report.workload_results import MAX_PUBS, WorkloadResults, read_workload
from qexp.text import one_line

MAX_RUNS = 500
_ALL_PUBS = 6000
"""PUBs of all runs of a sweep together that are compared with ideal distributions."""
_LEAST_PUBS = 8
_MAX_SECTIONS = 6
_FILLED_IN = ("seed", "simulation_seed", "sweep.circuits_by", "sweep.keys")
"""Overrides that a sweep adds to each of its points."""
_KEY = re.compile(r"\+{0,2}(?P<key>[^=~]+)=(?P<value>.*)", re.DOTALL)

Middle = tuple[float, float, float]
"""A value with the two ends of its bar."""


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep with its results; of a run that cannot be read, only the problem."""

    folder: Path
    summary: RunDetails
    workloads: tuple[WorkloadResults, ...] = ()
    draws: Mapping[str, Any] = field(default_factory=dict)
    """Swept key -> value, as a sweep declares them; empty where runs were made one by one."""

    def value(self, key: str) -> str:
        """Return the value of a swept key, or of a key in its overrides; `""` if it was not set."""
        if key in self.draws:
            value = self.draws[key]
            return value if isinstance(value, str) else dumps(value)
        return dict(map(_override, self.summary.overrides)).get(key, "")

    def results(self, workload: str) -> WorkloadResults:
        """Return the results of a workload, empty ones where the run has none."""
        empty = WorkloadResults(workload, 0, 0, ())
        return next((each for each in self.workloads if each.name == workload), empty)


def sweep_page(folder: Path, page: Path) -> dict[str, Any]:
    """Read everything that `sweep.html` shows.

    Args:
        folder: The folder with the runs.
        page: Path of the page: links to the runs' own pages are relative to it.

    Raises:
        ConfigError: There is no run in the folder, or too many.
    """
    runs = read_sweep(folder)
    readable = [run for run in runs if not run.summary.problem]
    keys = swept_keys(runs)
    quality, medians = _medians(readable)
    experiments = dict.fromkeys(str(run.summary.experiment) for run in readable)
    titles = [str(run.summary.metadata.get("title") or "") for run in readable]
    title = next(filter(None, titles), ", ".join(experiments)) or "Runs"
    return {
        "title": f"{title}: {plural(len(runs), 'run')}",
        "name": folder.resolve().name,
        "swept": [(key, _values(key, readable)) for key in keys],
        "runs": runs,
        "readable": readable,
        "sections": [
            _KeyFigures(key, keys, readable).draw()
            for key in keys[:_MAX_SECTIONS]
            # Over seeds there is only scatter.
            if readable and (key not in REPLICATES or len(keys) == 1)
        ],
        "links": dict(_links(runs, page)),
        "quality": quality,
        "medians": medians,
        "results": sweep_results(folder) if is_sweep(folder) else None,
    }


def read_sweep(folder: Path) -> tuple[SweptRun, ...]:
    """Read the points of a sweep, in order, or the runs that `find_runs` finds, by path.

    Raises:
        ConfigError: There is no such folder, no run in it, or more than 500.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; name a run, or a folder with runs")
    draws: dict[Path, Mapping[str, Any]] = {}
    if is_sweep(folder):
        draws = {folder / point.folder: point.draws for point in read_declaration(folder).points}
    folders = [*draws] or sorted(run.folder for run in find_runs(folder))
    if not folders:
        raise ConfigError(
            f"{folder} holds no run: there is no {ARCHIVE_NAME} in it; name a run, or a folder "
            f"with runs, such as outputs/EXPERIMENT/SWEEP_ID"
        )
    if len(folders) > MAX_RUNS:
        raise ConfigError(
            f"{folder} holds {len(folders):,} runs, a page compares at most {MAX_RUNS}: name a "
            f"folder with fewer, such as one sweep"
        )
    most = max(_LEAST_PUBS, min(MAX_PUBS, _ALL_PUBS // len(folders)))
    return tuple(replace(_read(run, most), draws=draws.get(run, {})) for run in folders)


def swept_keys(runs: Sequence[SweptRun]) -> tuple[str, ...]:
    """Return the declared keys, or those whose values differ; seeds only if nothing else does."""
    if any(run.draws for run in runs):
        return tuple(dict.fromkeys(key for run in runs for key in run.draws))
    readable = [run for run in runs if not run.summary.problem]
    keys = dict.fromkeys(_override(text)[0] for run in readable for text in run.summary.overrides)
    swept = [key for key in keys if len({run.value(key) for run in readable}) > 1]
    return tuple(key for key in swept if key not in _FILLED_IN) or tuple(swept)


def _read(folder: Path, max_pubs: int) -> SweptRun:
    try:
        if not (folder / ARCHIVE_NAME).is_file():
            resumed = folder.parent if is_sweep(folder.parent) else folder
            problem = f"it is not sealed; python -m qexp resume {resumed.name} goes on with it"
            return _unreadable(folder, problem)
        with open_archive(require_intact(folder)) as archive:
            workloads = [read_workload(archive, name, max_pubs) for name in archive.workloads]
            return SweptRun(folder, summarise_sealed(archive.path), tuple(workloads))
    except PermissionError:
        return _unreadable(folder, "no permission to read its folder")
    except ArchiveError as error:
        # A page that is passed on must not name paths of this machine.
        problem = str(error).replace(f"{folder}/", "").replace(str(folder), folder.name)
        return _unreadable(folder, problem)


def _unreadable(folder: Path, problem: str) -> SweptRun:
    name = folder.absolute().name
    return SweptRun(folder, RunDetails("unreadable", name, problem=one_line(problem)))


def _override(text: str) -> tuple[str, str]:
    match = _KEY.fullmatch(text)
    return (match["key"], match["value"]) if match else (text, "")


def _values(key: str, runs: Sequence[SweptRun]) -> list[str]:
    """Return the values of a key in order, numbers first."""
    values = {run.value(key) for run in runs}
    return sorted(values, key=lambda text: (_number(text) is None, _number(text) or 0.0, text))


def _number(text: str) -> float | None:
    """Read a swept value that is a finite number, None for any other."""
    try:
        return finite(float(text))
    except ValueError:
        return None


class _KeyFigures:
    """Draws figures over one key; lines join runs that agree in all other keys."""

    def __init__(self, key: str, keys: Sequence[str], runs: Sequence[SweptRun]) -> None:
        self._key = key
        self._runs = runs
        values = _values(key, runs)
        numbers = [x for x in map(_number, values) if x is not None]
        names = None if len(numbers) == len(values) else values
        xs = numbers if names is None else [float(k) for k in range(len(values))]
        self._x_of = dict(zip(values, xs, strict=True))
        self._x_axis = Axis.of_swept_key(key, xs, names)
        groups: dict[str, list[SweptRun]] = {}
        for run in runs:
            others = [f"{k.rpartition('.')[2]} {run.value(k)}" for k in keys if k != key]
            groups.setdefault(", ".join(others), []).append(run)
        self._groups = groups if len(groups) <= NUM_COLOURS else {"": list(runs)}

    def draw(self) -> dict[str, Any]:
        """Draw quality, expectation values and usage, as far as the runs have them."""
        lines = [name for name in self._groups if name]
        return {"key": self._key, "figures": list(self._figures()), "lines": lines}

    def _figures(self) -> Iterator[Figure]:
        names = dict.fromkeys(each.name for run in self._runs for each in run.workloads)
        for name in names:
            yield from self._quality(name, f" ({name})" if len(names) > 1 else "")
        simulated = all(run.summary.is_simulated for run in self._runs)
        usage = "simulation time (s)" if simulated else "QPU time charged (s)"
        series = self._lines(lambda run: (run.summary.usage_s or 0.0,) * 3)
        yield from self._figure("Usage", "Charged for all jobs of the run.", usage, series)
        series = self._lines(lambda run: (run.summary.predicted_qpu_s or math.nan,) * 3)
        y_label = "predicted QPU time (s)"
        yield from self._figure("Predicted usage", "For a QPU, from the plan.", y_label, series)

    def _quality(self, workload: str, where: str) -> Iterator[Figure]:
        note = left_out(sum(run.results(workload).num_not_finite for run in self._runs))
        series = self._lines(lambda run: _middle(run.results(workload).fidelities))
        caption = "Median of the run's circuits, bar over their middle half."
        axis = partial(Axis.around, most=1.0)
        yield from self._figure(f"Fidelity{where}", caption, "Hellinger fidelity", series, axis)
        series = self._lines(lambda run: _middle(run.results(workload).errors))
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
        axis: Callable[[str, Sequence[float]], Axis] = Axis.from_zero,
    ) -> Iterator[Figure]:
        held = extent([*chain.from_iterable(series)])
        if held:
            plot = Plot(f"{title} by {self._key}", self._x_axis, axis(y_label, held))
            # A line through several runs at one place would be no line.
            is_line = all(len({spot.x for spot in spots}) == len(spots) for spots in series)
            drawing = draw_spots(plot, series, join="values" if is_line else "")
            yield Figure(drawing, title, caption.strip())

    def _lines(self, read: Callable[[SweptRun], Middle | None]) -> list[list[Spot]]:
        """Make one line for each group of runs."""
        lines = []
        for runs in self._groups.values():
            spots = []
            for run in runs:
                middle, value = read(run), run.value(self._key)
                if middle is not None and all(map(is_finite, middle)):
                    y, low, high = middle
                    tip = f"{run.summary.run_id}, {self._key}={value}: {number(y)}"
                    error = (low, high) if high > low else None
                    spots.append(Spot(self._x_of[value], y, tip, error))
            lines.append(sorted(spots, key=lambda spot: spot.x))
        return lines

    def _expectation_values(self, workload: str) -> list[list[Spot]]:
        """Make one line for each expectation value, where all runs have few."""
        lines: dict[str, list[Spot]] = {}
        for run in self._runs:
            results = run.results(workload)
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


def _middle(values: Sequence[float]) -> Middle | None:
    """Return median and quartiles."""
    if not values:
        return None
    low, high = np.percentile(values, (25, 75)).tolist()
    return median(values), low, high


def _medians(runs: Sequence[SweptRun]) -> tuple[str, dict[Path, float]]:
    """Return the figure of merit, and its median in each run's first workload that has it."""
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
    """Yield links to the runs' own pages where there are any; never more than a relative path."""
    for run in runs:
        own = run.folder / PAGE_NAME
        if own.is_file():
            relative = os.path.relpath(own.resolve(), page.resolve().parent)
            yield run.folder, "./" + quote(Path(relative).as_posix())
