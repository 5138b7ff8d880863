"""Figures of the section on results: measured values against those of an ideal device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any, Literal

from qexp.report.figures.charts import (
    Spot,
    distribution_chart,
    draw_spots,
    draw_trend,
    extent,
    outcome_chart,
)
from qexp.report.figures.plot import Axis, Plot
from qexp.report.figures.svg import Figure
from qexp.report.text import number, plural, upper_first
from qexp.report.workload_results import EstimatedPoint, SampledPoint, WorkloadResults
from qexp.text import shortened

_MAX_PANELS = 5
_LEAST_FOR_QUALITY = 10
_MOST_CAPTION = 160


def results_section(results: WorkloadResults) -> dict[str, Any]:
    """Draw the results of one workload: figures over all PUBs, and histograms of a few."""
    if results.estimated:
        panels = _panels(results.estimated)
        drawn = [_panel(*panel) for panel in panels[:_MAX_PANELS]]
        return {
            "results": results,
            "figures": [*_against_exact(results), *drawn],
            "num_panels": len(panels),
            "num_drawn": len(drawn),
        }
    shots = [sum(point.counts.values()) for point in results.sampled]
    return {
        "results": results,
        "figures": _quality(results) if len(results.judged) >= _LEAST_FOR_QUALITY else [],
        "examples": [_outcomes(name, point) for name, point in representatives(results)],
        "shots": sorted({min(shots), max(shots)}) if shots else [],
        "has_sweeps": len(shots) > len({point.pub for point in results.sampled}),
    }


def representatives(results: WorkloadResults) -> list[tuple[str, SampledPoint]]:
    """Return the best, the median and the worst points by fidelity, with names.

    Where few fidelities are known, all of these points; where none is, the first and the last.
    """
    judged, sampled = results.judged, results.sampled
    if len(judged) >= 3:
        return [("Best", judged[0]), ("Median", judged[len(judged) // 2]), ("Worst", judged[-1])]
    if judged:
        return [(point.label, point) for point in judged]
    return [("First", sampled[0]), ("Last", sampled[-1])][: len(sampled)] if sampled else []


def _quality(results: WorkloadResults) -> list[Figure]:
    """Draw the distribution of the fidelities, and what they depend on."""
    judged, values = results.judged, results.fidelities
    label = f"Histogram of fidelities, median {number(median(values))}"
    caption = f"{len(judged):,} distributions: {number(min(values))} to {number(max(values))}."
    chart = distribution_chart(label, "Hellinger fidelity", values)
    depths = [point.size.depth for point in judged]
    sizes = [point.size.entangling for point in judged]
    trends = [
        *_trend(results, depths, "ISA circuit depth", "Fidelity by depth"),
        *_trend(results, sizes, "gates on two or more qubits", "Fidelity by size"),
    ]
    # Circuits of one size: a trend along the workload is a drift.
    trends = trends or _trend(results, [point.pub for point in judged], "PUB", "Fidelity by PUB")
    return [Figure(chart, "Fidelity", caption), *trends]


def _trend(results: WorkloadResults, xs: Sequence[int], axis: str, title: str) -> list[Figure]:
    """Draw fidelity against a property of the circuits; nothing where it hardly varies."""
    if len(set(xs)) < 3:
        return []
    spots = [
        Spot(x, fidelity, f"{point.label}: fidelity {number(fidelity)}, {axis} {x:,}")
        for point, fidelity, x in zip(results.judged, results.fidelities, xs, strict=True)
    ]
    y_axis = Axis.around("Hellinger fidelity", results.fidelities, margin=0.08, most=1.0)
    plot = Plot(f"{title} of {len(spots)} circuits", Axis.around(axis, xs, least=0.0), y_axis)
    draw_spots(plot, [spots], style="point", radius=2 if len(spots) > 120 else 3)
    draw_trend(plot, spots)
    caption = "Median and middle half in orange." if len(spots) >= 12 else "A point per circuit."
    return [Figure(plot.drawing, title, caption)]


def _outcomes(name: str, point: SampledPoint) -> Figure:
    facts = [] if name == point.label else [point.label]
    facts += [] if point.fidelity is None else [f"fidelity {number(point.fidelity)}"]
    facts.append(plural(point.size.entangling, "two-qubit gate"))
    caption = f"{', '.join(facts)}."
    label = f"Outcomes of {point.label}, measured and ideal: {caption}"
    chart = outcome_chart(label, point.counts, point.ideal)
    return Figure(chart, name, upper_first(caption))


def _against_exact(results: WorkloadResults) -> list[Figure]:
    spots = [_spot(point, point.exact) for point in results.estimated if point.exact is not None]
    if len(spots) < 3:
        return []
    held = [*extent(spots), *(spot.x for spot in spots)]
    x_axis, y_axis = Axis.around("exact value", held), Axis.around("measured value", held)
    label = f"{len(spots)} measured expectation values against exact ones"
    plot = Plot(label, x_axis, y_axis, grid="xy")
    plot.line([(x_axis.low, x_axis.low), (x_axis.high, x_axis.high)], "diagonal")
    spots = [replace(spot, reference=None) for spot in spots]
    chart = draw_spots(plot, [spots], style="value", radius=2.8, cap=5)
    return [Figure(chart, "Measured against exact", "A perfect device is on the diagonal.")]


def _panels(points: Sequence[EstimatedPoint]) -> list[tuple[str, list[EstimatedPoint]]]:
    """Group expectation values by observable where each has several, else all together."""
    groups: dict[str, list[EstimatedPoint]] = defaultdict(list)
    for point in points:
        groups[point.observable].append(point)
    if max(map(len, groups.values())) < 3:
        return [("All expectation values", list(points))]
    return list(groups.items())


def _panel(name: str, points: Sequence[EstimatedPoint]) -> Figure:
    pubs = {point.pub for point in points}
    settings = [point.setting for point in points if point.setting is not None]
    is_one = len({point.observable for point in points}) == 1
    xs, axis = [float(k) for k in range(len(points))], "index of the expectation value"
    join: Literal["references", ""] = ""
    if is_one and len(pubs) == len(points):
        xs, axis, join = [float(point.pub) for point in points], "PUB", "references"
    elif is_one and len(pubs) == 1 and len(settings) == len(points):
        xs, axis, join = settings, "parameter value", "references"
    spots = sorted(map(_spot, points, xs), key=lambda spot: spot.x)
    y_axis = Axis.around("expectation value", extent(spots))
    plot = Plot(f"{name} by {axis}", Axis.around(axis, xs, margin=0.05), y_axis)
    chart = draw_spots(plot, [spots], style="value", join=join, radius=2.8, cap=5)
    title = name if len(name) <= 40 else f"{' '.join(name.split()[:3])} …"
    terms = points[0].terms if is_one else ""
    return Figure(chart, title, "" if title == terms else shortened(terms, _MOST_CAPTION))


def _spot(point: EstimatedPoint, x: float) -> Spot:
    return Spot(x, point.ev, point.tip, point.error_bar, point.exact)
