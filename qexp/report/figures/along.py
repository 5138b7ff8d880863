"""Something against a swept value: series of points with bars, joined by lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from qexp.report.axes import Axis, Plot
from qexp.report.svg import Drawing
from qexp.report.text import plain_number

NUM_SERIES = 6
_LOG_FROM = 30.0


@dataclass(frozen=True)
class Spot:
    """A point: `y` at `x`, a bar from `low` to `high`, a hollow ring at `other` if given."""

    x: float
    y: float
    low: float
    high: float
    tip: str
    other: float | None = None


@dataclass(frozen=True)
class Series:
    """Points that belong together, in order of x."""

    name: str
    spots: tuple[Spot, ...]


def along(
    series: Sequence[Series],
    x_axis: Axis,
    y_label: str,
    label: str,
    *,
    from_zero: bool = False,
    most: float | None = None,
) -> Drawing:
    """Draw the series, each in a colour of its own.

    Args:
        series: At most six.
        x_axis: The swept value.
        y_label: What y is, with its unit.
        label: What it shows, in words.
        from_zero: Whether y begins at 0, unless it spans orders of magnitude.
        most: Largest value y can have.
    """
    held = [v for line in series for spot in line.spots for v in (spot.low, spot.high, spot.y)]
    held += [s.other for line in series for s in line.spots if s.other is not None]
    if from_zero and min(held) > 0 and max(held) / min(held) > _LOG_FROM:
        y_axis = Axis(y_label, min(held) / 1.5, max(held) * 1.5, is_log=True)
    else:
        y_axis = Axis.around(
            y_label,
            [0.0, *held] if from_zero else held,
            least=0.0 if from_zero else None,
            most=most,
        )
    plot = Plot(label, x_axis, y_axis)
    shift = 5.0 if len(series) > 1 else 0.0
    for number, line in enumerate(series):
        name = f"s{number % NUM_SERIES}"
        offset = shift * (number - (len(series) - 1) / 2)
        points = [(plot.x(spot.x) + offset, plot.y(spot.y)) for spot in line.spots]
        if len(points) > 1:
            plot.drawing.path(points, f"series-line {name}")
        for spot, (x, y) in zip(line.spots, points, strict=True):
            if spot.high > spot.low:
                plot.drawing.line(x, plot.y(spot.low), x, plot.y(spot.high), f"series-bar {name}")
            if spot.other is not None:
                plot.drawing.circle(x, plot.y(spot.other), 4.2, f"series-ring {name}", spot.tip)
            plot.drawing.circle(x, y, 3.4, f"series-dot {name}", spot.tip)
    return plot.drawing


def swept_axis(label: str, values: Sequence[float], names: Sequence[str] | None) -> Axis:
    """The axis of a swept value: a tick at each, evenly spaced names where it is no number."""
    if names is not None:
        ticks = [
            (float(k), name if len(name) <= 12 else f"{name[:11]}…") for k, name in enumerate(names)
        ]
        return Axis(label, -0.5, len(names) - 0.5, ticks=ticks[:: max(1, len(names) // 5)])
    different = sorted(set(values))
    ticks_there = [(value, plain_number(value)) for value in different]
    low, high = different[0], different[-1]
    if low > 0 and high / low > _LOG_FROM:
        return Axis(label, low / 1.3, high * 1.3, is_log=True, ticks=_apart(ticks_there))
    gap = (high - low) * 0.08 or 0.5
    narrowest = min((b - a for a, b in pairwise(different)), default=gap)
    close = len(different) > 7 or narrowest < (high - low) / 9
    return Axis(label, low - gap, high + gap, ticks=None if close else ticks_there)


def _apart(ticks: Sequence[tuple[float, str]]) -> Sequence[tuple[float, str]]:
    return ticks[:: max(1, -(-len(ticks) // 6))]
