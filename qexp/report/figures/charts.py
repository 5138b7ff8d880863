"""Charts of a report: values with error bars and a legend, a trend, histograms, heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import median
from typing import Literal

import numpy as np

from qexp.report.figures.plot import HEIGHT, WIDTH, Axis, Plot, Tick, whole_ticks
from qexp.report.figures.svg import Anchor, Drawing, text_width
from qexp.report.text import number, percent
from qexp.text import shortened

NUM_COLOURS = 6
"""Series of a chart that have colours of their own."""
MAX_OUTCOMES = 32
_FEW_OUTCOMES = 8
_LEAST_FOR_TREND = 12
_NUM_GROUPS = 9
_ROW = 16
_MARK = 12
_GAP = 14
_LONGEST_NAME = 36
"""Heights and widths of a legend in pixels, and the characters of a name in it."""
_NUM_SHADES = 9
_MOST_TICKS = 6
_LEAST_TEXT = 30
"""Shades of a heat map, ticks of its axes, and the width of a cell that has room for its number."""


@dataclass(frozen=True)
class Spot:
    """A value over x."""

    x: float
    y: float | None  # None draws the reference alone
    tip: str = ""  # shown when the reader points at it
    error: tuple[float, float] | None = None  # ends of the error bar
    reference: float | None = None  # value to compare with, drawn as a ring


def extent(spots: Sequence[Spot]) -> list[float]:
    """Return everything that the y axis of some spots has to hold."""
    values = [end for spot in spots for end in spot.error or ()]
    return values + [v for spot in spots for v in (spot.y, spot.reference) if v is not None]


def draw_spots(
    plot: Plot,
    series: Sequence[Sequence[Spot]],
    *,
    style: str = "",
    join: Literal["values", "references", "pairs", ""] = "",
    radius: float = 3,
    cap: float = 0,
    spread: float = 5.0,
) -> Drawing:
    """Draw values with their error bars and references into a plot, and return its drawing.

    Zero is marked where the y axis holds it. A single series, of spots in order of x, has the CSS
    class `style`, several have a colour each, and `spread` pixels from one to the next. Lines join
    values, references, or each value and its reference; `radius` and `cap` are pixels.
    """
    if plot.y_axis.low < 0 < plot.y_axis.high:
        plot.line([(plot.x_axis.low, 0), (plot.x_axis.high, 0)], "zero")
    for k, spots in enumerate(series):
        name = style or f"s{k % NUM_COLOURS}"
        shift = spread * (k - (len(series) - 1) / 2)
        values = [(spot.x, spot.y) for spot in spots if spot.y is not None]
        references = [(spot.x, spot.reference) for spot in spots if spot.reference is not None]
        is_curve = 1 < len(references) == len({x for x, _ in references})
        if join == "references" and is_curve:
            plot.line(references, f"join {name}", shift)
        if join == "values" and len(values) > 1:
            plot.line(values, f"join {name}", shift)
        for spot in spots:
            if join == "pairs" and spot.y is not None and spot.reference is not None:
                plot.line([(spot.x, spot.y), (spot.x, spot.reference)], f"join {name}", shift)
            if spot.error is not None:
                plot.error_bar(spot.x, spot.error, f"error {name}", shift, cap)
        for spot in spots:
            if spot.reference is not None:
                point = (spot.x, spot.reference)
                plot.dot(point, radius + 0.8, f"ring {name}", spot.tip, shift)
        for spot in spots:
            if spot.y is not None:
                plot.dot((spot.x, spot.y), radius, f"dot {name}", spot.tip, shift)
    return plot.drawing


def legend_height(names: Sequence[str]) -> float:
    """Return the height of the legend of some series in pixels, 0 for a single one."""
    return _ROW * (1 + max(row for _, row in _places(names))) if len(names) > 1 else 0


def draw_legend(plot: Plot, names: Sequence[str]) -> None:
    """Draw the names of series with their colours above a plot, where there are several."""
    for k, (name, (x, row)) in enumerate(zip(names, _places(names), strict=True)):
        if len(names) > 1:
            y = 10 + _ROW * row
            plot.drawing.circle(x + 4, y - 4, 3.5, f"dot s{k}")
            plot.drawing.text(x + _MARK, y, shortened(name, _LONGEST_NAME), "tick")


def _places(names: Sequence[str]) -> list[tuple[float, int]]:
    """Return place from the left and row of each name."""
    places: list[tuple[float, int]] = []
    x, row = 8.0, 0
    for name in names:
        width = _MARK + text_width(shortened(name, _LONGEST_NAME), 10.5) + _GAP
        if x + width > WIDTH and x > 8:
            x, row = 8.0, row + 1
        places.append((x, row))
        x += width
    return places


def draw_trend(plot: Plot, spots: Sequence[Spot]) -> None:
    """Draw the median and the middle half of values along x, where there are enough of them."""
    if len(spots) < _LEAST_FOR_TREND:
        return
    groups = _middles(np.array([spot.x for spot in spots]), np.array([spot.y for spot in spots]))
    if len(groups) > 1:
        upper = [(x, high) for x, _, _, high in groups]
        lower = [(x, low) for x, low, _, _ in reversed(groups)]
        plot.line([*upper, *lower], "band", closed=True)
        plot.line([(x, middle) for x, _, middle, _ in groups], "trend")
        for x, low, middle, high in groups:
            tip = f"median {number(middle)}, middle half {number(low)} to {number(high)}"
            plot.dot((x, middle), 3, "trend-dot", tip)


def _middles(xs: np.ndarray, ys: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Return median x and quartiles of y of groups with about as many circuits each."""
    count = min(_NUM_GROUPS, len(xs) // 5)
    # Circuits of equal x stay in one group.
    edges = np.unique(np.quantile(xs, np.linspace(0, 1, count + 1)))
    group = np.clip(np.searchsorted(edges, xs, side="right") - 1, 0, max(0, len(edges) - 2))
    members = [np.flatnonzero(group == k) for k in np.unique(group)]
    return [
        (float(np.median(xs[m])), *np.percentile(ys[m], (25, 50, 75)).tolist()) for m in members
    ]


def distribution_chart(label: str, axis_label: str, values: Sequence[float]) -> Drawing:
    """Draw a histogram of a figure of merit over circuits, with its median."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = max(0.0, low - 0.05), min(1.0, high + 0.05)
    count = max(6, min(28, round(2 * math.sqrt(len(values)))))
    heights, edges = np.histogram(values, count, (low, high))
    highest = int(heights.max())
    y_axis = Axis("circuits", 0, highest * 1.14, ticks=whole_ticks(0, highest * 1.1, 4))
    plot = Plot(label, Axis.around(axis_label, [low, high], margin=0.03), y_axis, top=18)
    for held, (start, stop) in zip(heights.tolist(), pairwise(edges.tolist()), strict=True):
        gap = (stop - start) * 0.04
        tip = f"{number(start)} to {number(stop)}: {held}"
        if held:
            plot.box((start + gap, 0), (stop - gap, held), "measured", tip, 0.8)
    middle = median(values)
    plot.line([(middle, 0), (middle, y_axis.high)], "median")
    is_right = plot.x(middle) > plot.drawing.width / 2
    anchor: Anchor = "end" if is_right else "start"
    x = plot.x(middle) + (-5 if is_right else 5)
    plot.drawing.text(x, 12, f"median {number(middle)}", "note", anchor)
    return plot.drawing


def outcome_chart(
    label: str, counts: Mapping[str, int], ideal: Mapping[str, float] | None
) -> Drawing:
    """Draw a bar per outcome with its binomial standard error, within the outline of the ideal.

    `counts` are shots, `ideal` are probabilities by outcome.
    """
    shots = sum(counts.values())
    expected = ideal or {}
    measured = {outcome: count / shots for outcome, count in counts.items()}
    outcomes, num_left_out = _shown_outcomes(measured, expected)
    shares = [measured.get(outcome, 0.0) for outcome in outcomes]
    errors = [math.sqrt(share * (1 - share) / shots) for share in shares]
    highest = max(
        max(share + error, expected.get(outcome, 0.0))
        for outcome, share, error in zip(outcomes, shares, errors, strict=True)
    )
    is_turned = len(outcomes) > _FEW_OUTCOMES or any(len(outcome) > 6 for outcome in outcomes)
    names = [_short(outcome) for outcome in outcomes]
    bottom = 24 + (max(map(len, names)) * 5.6 + 4 if is_turned else 16)
    more = f" ({num_left_out:,} rarer ones not shown)" if num_left_out else ""
    plot = Plot(
        label,
        Axis(f"outcome{more}", 0, len(outcomes), ticks=()),
        Axis("probability (%)", 0, 100 * highest * 1.06),
        height=HEIGHT - 40 + bottom,
        bottom=bottom,
    )
    slot = plot.x(1) - plot.x(0)
    bar, outline = (min(0.56, 34 / slot), min(0.84, 48 / slot))
    for k, (outcome, share, error) in enumerate(zip(outcomes, shares, errors, strict=True)):
        middle, exact = k + 0.5, expected.get(outcome, 0.0)
        tip = f"{outcome}: measured {percent(share)}"
        tip += f", ideal {percent(exact)}" if ideal is not None else ""
        plot.box((middle - bar / 2, 0), (middle + bar / 2, 100 * share), "measured", tip)
        if ideal is not None:
            plot.box((middle - outline / 2, 0), (middle + outline / 2, 100 * exact), "ideal", tip)
        if plot.y(0) - plot.y(200 * error) > 2:
            plot.error_bar(middle, (100 * (share - error), 100 * (share + error)), "whisker")
        x = plot.x(middle)
        if is_turned:
            plot.drawing.text(x + 3, plot.base + 8, names[k], "bits", "end", turn=-90)
        else:
            plot.drawing.text(x, plot.base + 16, names[k], "bits", "middle")
    return plot.drawing


def _shown_outcomes(
    measured: Mapping[str, float], ideal: Mapping[str, float]
) -> tuple[list[str], int]:
    """Return the outcomes to draw in ascending order, and the number of others."""
    first = next(iter(measured))
    if 2 ** len(first) <= MAX_OUTCOMES and set(first) <= {"0", "1"}:
        return [f"{k:0{len(first)}b}" for k in range(2 ** len(first))], 0
    ranked = sorted(
        measured.keys() | ideal.keys(),
        key=lambda x: (-max(measured.get(x, 0.0), ideal.get(x, 0.0)), x),
    )
    return sorted(ranked[:MAX_OUTCOMES]), max(0, len(ranked) - MAX_OUTCOMES)


def _short(outcome: str) -> str:
    """Write long outcomes in hexadecimal, very long ones without their middle."""
    if len(outcome) <= 10:
        return outcome
    text = f"0x{int(outcome, 2):0{-(-len(outcome) // 4)}x}"
    return text if len(text) <= 14 else f"{text[:7]}…{text[-6:]}"


def draw_heat_map(
    label: str,
    axes: tuple[tuple[str, Sequence[str]], tuple[str, Sequence[str]]],
    values: Mapping[tuple[int, int], float],
) -> Drawing:
    """Draw a cell for each pair of values, with its number where there is room; others are empty.

    The axes are name and values of the key to the right, and of the key upwards; a value is finite,
    and has its place on both.
    """
    (x_name, x_values), (y_name, y_values) = axes
    plot = Plot(
        label,
        Axis(x_name, 0, len(x_values), ticks=_ticks(x_values)),
        Axis(y_name, 0, len(y_values), ticks=_ticks(y_values)),
        top=30,
        height=260,
        grid="",
    )
    low, high = min(values.values()), max(values.values())
    width, height = plot.x(1) - plot.x(0), plot.y(0) - plot.y(1)
    for i, j in product(range(len(x_values)), range(len(y_values))):
        value = values.get((i, j))
        where = f"{x_name} {x_values[i]}, {y_name} {y_values[j]}"
        if value is None:
            plot.box((i, j), (i + 1, j + 1), "unknown", f"{where}: no value")
            continue
        share = (value - low) / (high - low) if high > low else 0.0
        shade = f"e{min(_NUM_SHADES - 1, int(share * _NUM_SHADES))}"
        plot.box((i, j), (i + 1, j + 1), shade, f"{where}: {number(value)}")
        if width >= _LEAST_TEXT and height >= 12:
            x, y = plot.x(i + 0.5), plot.y(j + 0.5)
            plot.drawing.text(x, y, number(value), f"cell on-{shade}", "middle")
    _draw_scale(plot, number(low), number(high))
    return plot.drawing


def _draw_scale(plot: Plot, low: str, high: str) -> None:
    draw, step = plot.drawing, 12
    left = plot.right - step * _NUM_SHADES - 60
    draw.text(left - 6, 15, low, "tick", "end")
    for k in range(_NUM_SHADES):
        draw.rect(left + k * step, 7, step + 0.4, 9, f"e{k}")
    draw.text(left + step * _NUM_SHADES + 6, 15, high, "tick")


def _ticks(values: Sequence[str]) -> list[Tick]:
    step = max(1, -(-len(values) // _MOST_TICKS))
    return [(k + 0.5, shortened(values[k], 8)) for k in range(0, len(values), step)]
