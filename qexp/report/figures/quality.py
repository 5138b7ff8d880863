"""A figure of merit against what a circuit costs: one point per circuit, medians over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qexp.report.axes import Axis, Plot
from qexp.report.svg import Drawing
from qexp.report.text import number

_NUM_BINS = 9


@dataclass(frozen=True)
class Mark:
    """One circuit: its cost, its figure of merit, and what it is."""

    x: float
    y: float
    tip: str


def quality_by(marks: Sequence[Mark], x_label: str, y_label: str, label: str) -> Drawing:
    """A scatter plot with the median and the middle half of the circuits along x."""
    xs, ys = [mark.x for mark in marks], [mark.y for mark in marks]
    plot = Plot(
        label,
        Axis.around(x_label, xs, least=0.0),
        Axis.around(y_label, ys, margin=0.08, most=max(1.0, *ys)),
    )
    draw = plot.drawing
    many = len(marks) > 120
    for mark in marks:
        draw.circle(plot.x(mark.x), plot.y(mark.y), 2 if many else 3, "point", mark.tip)
    bins = _bins(np.asarray(xs), np.asarray(ys))
    if len(bins) < 2:
        return draw
    band = [(plot.x(x), plot.y(high)) for x, _, _, high in bins]
    band += [(plot.x(x), plot.y(low)) for x, _, low, _ in reversed(bins)]
    draw.path(band, "band", closed=True)
    draw.path([(plot.x(x), plot.y(median)) for x, median, _, _ in bins], "trend")
    for x, median, low, high in bins:
        tip = f"median {number(median)}, middle half {number(low)} to {number(high)}"
        draw.circle(plot.x(x), plot.y(median), 3, "trend-dot", tip)
    return draw


def _bins(xs: np.ndarray, ys: np.ndarray) -> list[tuple[float, float, float, float]]:
    """(x, median, quartiles) of about as many circuits each; none where there are few."""
    if len(xs) < 12:
        return []
    count = min(_NUM_BINS, len(xs) // 5)
    # Circuits of equal cost are never in different groups.
    edges = np.unique(np.quantile(xs, np.linspace(0, 1, count + 1)))
    number = np.clip(np.searchsorted(edges, xs, side="right") - 1, 0, max(0, len(edges) - 2))
    groups = [np.flatnonzero(number == k) for k in np.unique(number)]
    return [
        (float(np.median(xs[group])), *map(float, np.percentile(ys[group], (50, 25, 75))))  # type: ignore[misc]
        for group in groups
    ]
