"""Values, fits and differences on the page of a sweep, from its dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qexp.report.analyses import analysis_views
from qexp.report.figures.svg import Figure
from qexp.report.sweep_values import SweepFigures
from qexp.report.text import number
from qexp.sweeps.analyses import digest
from qexp.sweeps.opened import Sweep, open_sweep
from qexp.sweeps.pairs import Difference

_MAX_DIFFERENCES = 40


def sweep_results(folder: Path) -> dict[str, Any]:
    """Read values by key, results of the sweep's analyses, differences of pairs, and reasons."""
    with open_sweep(folder) as sweep:
        names = dict.fromkeys(name for one in sweep.records for name in one.get("values", {}))
        figures = SweepFigures(sweep.to_dataset(evs=False), [*names])
        differences = sorted(sweep.differences(), key=_rank)
        return {
            "values": list(figures.sections()),
            "constant": figures.constant,
            "num_left_out": figures.num_left_out,
            "analyses": list(analysis_views(folder, digest(sweep), figures.of_result)),
            "differences": list(map(_row, differences[:_MAX_DIFFERENCES])),
            "num_differences": len(differences),
            "reasons": dict(_reasons(sweep)),
        }


def all_figures(page: dict[str, Any]) -> Iterator[Figure]:
    """Yield the figures of values and analyses on a sweep's page."""
    for part in (*page["values"], *page["analyses"]):
        yield from part.get("figures", ())


def _reasons(sweep: Sweep) -> Iterator[tuple[str, str]]:
    for point, record in zip(sweep.points, sweep.records, strict=True):
        if record["reason"]:
            # A page that is passed on must not name paths of this machine.
            reason = str(record["reason"]).replace(str(sweep.path.absolute()), sweep.path.name)
            yield point.folder.name, reason.replace(str(sweep.path), sweep.path.name)


def _rank(one: Difference) -> float:
    return math.inf if one.p_adjusted is None else one.p_adjusted


def _row(one: Difference) -> tuple[str, ...]:
    error = "" if math.isnan(one.error) else f" ± {number(one.error, 2)}"
    tests = ("" if p is None else number(p, 2) for p in (one.p_value, one.p_adjusted))
    mean = f"{number(one.mean)}{error}"
    return (one.change, one.name, str(len(one.pairs)), mean, one.test or "", *tests)
