"""The page that compares the runs of a sweep: what was swept over them, and how good each was."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import numpy as np

from qexp.analysis.dataset import Column, dataset, mean_and_error, with_std
from qexp.analysis.lines import REPLICATES
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME
from qexp.archive.sweep_file import is_sweep
from qexp.archive.sweep_file import read_sweep as read_declaration
from qexp.archive.verify import require_intact
from qexp.core.jsonable import as_text
from qexp.errors import ArchiveError, ConfigError
from qexp.listing.find import find_runs
from qexp.listing.read import summarise_sealed
from qexp.listing.summary import RunDetails
from qexp.report import PAGE_NAME
from qexp.report.analyses import analysis_views
from qexp.report.figures.charts import NUM_COLOURS, Spot, draw_spots, extent
from qexp.report.figures.plot import Axis, Plot
from qexp.report.figures.svg import Figure
from qexp.report.sweep_values import SweepFigures
from qexp.report.text import finite, left_out, number, plural
from qexp.report.workload_results import MAX_PUBS, WorkloadResults, read_workload
from qexp.sweeps.analyses import digest
from qexp.sweeps.opened import Sweep, open_sweep
from qexp.sweeps.pairs import Difference
from qexp.text import one_line

MAX_RUNS = 500
_ALL_PUBS = 6000
"""PUBs of all runs of a sweep together that are compared with ideal distributions."""
_LEAST_PUBS = 8
_MAX_SECTIONS = 6
_MAX_DIFFERENCES = 40
_FILLED_IN = ("seed", "simulation_seed", "sweep.circuits_by", "sweep.keys")
"""Overrides that a sweep adds to each of its points."""
_KEY = re.compile(r"\+{0,2}(?P<key>[^=~]+)=(?P<value>.*)", re.DOTALL)


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
            return as_text(self.draws[key])
        return dict(map(_override, self.summary.overrides)).get(key, "")

    def results(self, workload: str) -> WorkloadResults:
        """Return the results of a workload, empty ones where the run has none."""
        empty = WorkloadResults(workload, 0, 0, ())
        return next((each for each in self.workloads if each.name == workload), empty)


def sweep_page(folder: Path, page: Path) -> dict[str, Any]:
    """Read everything that `sweep.html` shows, with links to the runs' own pages from `page`.

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
        "sections": list(_sections(readable, keys)) if readable else [],
        "links": dict(_links(runs, page)),
        "quality": quality,
        "medians": medians,
        "results": _results(folder) if is_sweep(folder) else None,
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
    runs = [replace(_read(run, most), draws=draws.get(run, {})) for run in folders]
    for k, record in enumerate(open_sweep(folder).records if draws else ()):
        # Its jobs may have been shared.
        own = replace(runs[k].summary, predicted_qpu_s=record.get("predicted_qpu_s"))
        runs[k] = replace(runs[k], summary=own)
    return tuple(runs)


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


def _sections(runs: Sequence[SweptRun], keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a section for each key with quality, usage and expectation values over it."""
    # Over seeds there is only scatter.
    shown = [key for key in keys if key not in REPLICATES] or keys
    figures = _quality(runs, keys)
    for key in shown[:_MAX_SECTIONS]:
        yield {
            "title": f"By {key}",
            "figures": [*figures.over_key(key), *_expectation_values(runs, key)],
        }


def _quality(runs: Sequence[SweptRun], keys: Sequence[str]) -> SweepFigures:
    """Return figures of the quality and the usage of runs over their swept keys."""
    columns: dict[str, Column] = {"status": ("point", [r.summary.status for r in runs], "status")}
    for name, where in _workloads(runs).items():
        each = [run.results(name) for run in runs]
        for title, text, values in (
            ("Fidelity", "mean Hellinger fidelity", [r.fidelities for r in each]),
            ("Error of expectation values", "mean |measured − exact|", [r.errors for r in each]),
        ):
            means = np.array([mean_and_error(np.array(one, float)) for one in values])
            columns |= with_std(f"{title}{where}", "point", means[:, 0], means[:, 1], text)
    simulated = all(run.summary.is_simulated for run in runs)
    usage = "simulation time" if simulated else "QPU time charged"
    usage_s = [run.summary.usage_s or 0.0 for run in runs]
    predicted_s = [run.summary.predicted_qpu_s or math.nan for run in runs]
    columns["Usage"] = ("point", usage_s, usage, "s")
    columns["Predicted usage"] = ("point", predicted_s, "predicted QPU time", "s")
    swept: dict[str, Column] = {key: ("point", _places(key, runs)[0], key) for key in keys}
    return SweepFigures(dataset("", "", columns, swept), [*columns][1:], draws_constant=True)


def _workloads(runs: Sequence[SweptRun]) -> dict[str, str]:
    """Return the workloads of runs, each with the ending of the titles of its figures."""
    names = dict.fromkeys(each.name for run in runs for each in run.workloads)
    return {name: f" ({name})" if len(names) > 1 else "" for name in names}


def _places(key: str, runs: Sequence[SweptRun]) -> tuple[list[Any], list[str] | None]:
    """Return the value of a key in each run: numbers, or texts and the texts in order."""
    values = [run.value(key) for run in runs]
    numbers = [_number(value) for value in values]
    return (values, _values(key, runs)) if None in numbers else (numbers, None)


def _expectation_values(runs: Sequence[SweptRun], key: str) -> Iterator[Figure]:
    """Draw each expectation value over a key, for workloads of which all runs have few."""
    places, names = _places(key, runs)
    xs = places if names is None else [float(names.index(place)) for place in places]
    for workload, where in _workloads(runs).items():
        each = [run.results(workload) for run in runs]
        lines: dict[str, list[Spot]] = {}
        for run, results, x in zip(runs, each, xs, strict=True):
            for point in results.estimated:
                tip = f"{run.summary.run_id}, {point.tip}"
                spot = Spot(x, point.ev, tip, point.error_bar, point.exact)
                lines.setdefault(f"{point.label}, {point.observable}", []).append(spot)
        sizes = {len(results.estimated) + results.num_not_finite for results in each}
        if 0 in sizes or max(sizes) > NUM_COLOURS or not 0 < len(lines) <= NUM_COLOURS:
            continue
        series = [sorted(spots, key=lambda spot: spot.x) for spots in lines.values()]
        y_axis = Axis.around("expectation value", extent([*chain.from_iterable(series)]))
        title = f"Expectation values{where}"
        plot = Plot(f"{title} by {key}", Axis.of_swept_key(key, xs, names), y_axis)
        # A line through several runs at one place would be no line.
        is_line = all(len({spot.x for spot in spots}) == len(spots) for spots in series)
        note = left_out(sum(results.num_not_finite for results in each))
        caption = f"With one standard error; rings are exact values. {note}"
        yield Figure(draw_spots(plot, series, join="values" if is_line else ""), title, caption)


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


def _results(folder: Path) -> dict[str, Any]:
    """Read values by key, results of the sweep's analyses, differences of pairs, and reasons."""
    with open_sweep(folder) as sweep:
        names = dict.fromkeys(name for one in sweep.records for name in one.get("values", {}))
        figures = SweepFigures(sweep.to_dataset(evs=False), [*names])
        differences = sorted(
            sweep.differences(),
            key=lambda one: math.inf if one.p_adjusted is None else one.p_adjusted,
        )
        return {
            "values": list(figures.sections()),
            "constant": figures.constant,
            "num_left_out": figures.num_left_out,
            "analyses": list(analysis_views(folder, digest(sweep), figures.of_result)),
            "differences": list(map(_difference, differences[:_MAX_DIFFERENCES])),
            "num_differences": len(differences),
            "reasons": dict(_reasons(sweep)),
        }


def _reasons(sweep: Sweep) -> Iterator[tuple[str, str]]:
    for point, record in zip(sweep.points, sweep.records, strict=True):
        if record["reason"]:
            # A page that is passed on must not name paths of this machine.
            reason = str(record["reason"]).replace(str(sweep.path.absolute()), sweep.path.name)
            yield point.folder.name, reason.replace(str(sweep.path), sweep.path.name)


def _difference(one: Difference) -> tuple[str, ...]:
    error = "" if math.isnan(one.error) else f" ± {number(one.error, 2)}"
    tests = ("" if p is None else number(p, 2) for p in (one.p_value, one.p_adjusted))
    mean = f"{number(one.mean)}{error}"
    return (one.change, one.name, str(len(one.pairs)), mean, one.test or "", *tests)
