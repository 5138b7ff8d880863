"""Axes and plots: every chart of a report is a `Plot` with marks in the units of its axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from qexp.report.figures.svg import Drawing, Position, text_width
from qexp.report.text import plain_number
from qexp.text import shortened

WIDTH = 360
"""Natural width of a figure in pixels: a phone's page, or a third of a desktop's."""
WIDE = 520
"""Natural width of a figure over two columns, whose texts the style sheet keeps readable."""
WIDE_TEXT = 15.0
"""Largest size of a text in a wide figure, on a phone."""
HEIGHT = 236
_LOG_FROM = 30.0

Tick = tuple[float, str]


@dataclass(frozen=True)
class Axis:
    """One axis."""

    label: str  # quantity with its unit
    low: float  # value at the left or bottom end
    high: float  # value at the other end; it may be the smaller one
    is_log: bool = False
    ticks: Sequence[Tick] | None = None  # values and texts; None for round numbers

    @classmethod
    def around(
        cls,
        label: str,
        values: Sequence[float],
        *,
        margin: float = 0.06,
        least: float | None = None,
        most: float | None = None,
    ) -> Axis:
        """Return a linear axis that holds all values, within `least` and `most`."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        gap = (high - low) * margin or abs(high) * 0.05 or 0.5
        low = low - gap if least is None else max(least, low - gap)
        high = high + gap if most is None else min(most, high + gap)
        return cls(label, low, high if high > low else low + gap)

    @classmethod
    def from_zero(cls, label: str, values: Sequence[float]) -> Axis:
        """Return an axis from zero, or a logarithmic one for orders of magnitude."""
        if values and min(values) > 0 and max(values) / min(values) > _LOG_FROM:
            return cls(label, min(values) / 1.5, max(values) * 1.5, is_log=True)
        return cls(label, 0, max([*values, 1e-3]) * 1.1)

    @classmethod
    def of_swept_key(cls, key: str, values: Sequence[float], names: Sequence[str] | None) -> Axis:
        """Return the axis of a swept key, with a tick at each value where there is room.

        Where the values are names rather than numbers, `values` are their positions from 0.
        """
        if names is not None:
            ticks = [(float(k), shortened(text, 12)) for k, text in enumerate(names)]
            return cls(key, -0.5, len(names) - 0.5, ticks=_thinned(ticks, 5))
        different = sorted(set(values))
        ticks = [(value, plain_number(value)) for value in different]
        low, high = different[0], different[-1]
        if low > 0 and high / low > _LOG_FROM:
            return cls(key, low / 1.3, high * 1.3, is_log=True, ticks=_thinned(ticks, 6))
        gap = (high - low) * 0.08 or 0.5
        narrowest = min((b - a for a, b in pairwise(different)), default=gap)
        is_crowded = len(different) > 7 or narrowest < (high - low) / 9
        return cls(key, low - gap, high + gap, ticks=None if is_crowded else ticks)

    def share(self, value: float) -> float:
        """Return the place of a value between the low end (0) and the high one (1)."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def marked(self, count: int) -> list[Tick]:
        """Return about `count` ticks."""
        if self.ticks is not None:
            return list(self.ticks)
        values = _log_ticks(self.low, self.high) if self.is_log else []
        values = values or round_ticks(self.low, self.high, count)
        return [(value, plain_number(value)) for value in values]


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` multiples of 1, 2 or 5 times a power of ten between two values."""
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    # Steps of 2.5 would look odd where values are whole numbers.
    factors = (1, 2, 5, 10) if power == 1 else (1, 2, 2.5, 5, 10)
    step = next(power * factor for factor in factors if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def whole_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Return about `count` ticks at whole numbers."""
    return [(tick, f"{tick:,.0f}") for tick in round_ticks(low, high, count) if tick == int(tick)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        values = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
        ticks = [value for value in values if low * 0.999 <= value <= high * 1.001]
        if len(ticks) >= 3:
            return ticks
    return []


def _thinned(ticks: Sequence[Tick], most: int) -> Sequence[Tick]:
    return ticks[:: max(1, -(-len(ticks) // most))]


class Plot:
    """A drawing with two axes; the grid is drawn first, then marks in the axes' units.

    `right`, `top` and `bottom` are pixels beside the data; `grid` names the axes with grid lines.
    """

    def __init__(
        self,
        label: str,
        x_axis: Axis,
        y_axis: Axis,
        *,
        width: float = WIDTH,
        height: float = HEIGHT,
        right: float = 10,
        top: float = 12,
        bottom: float = 42,
        grid: str = "y",
    ) -> None:
        self.x_axis, self.y_axis = x_axis, y_axis
        self.top, self.right = top, width - right
        self.base = height - bottom
        is_wide = width > WIDTH
        size = WIDE_TEXT if is_wide else 10.5
        y_ticks = y_axis.marked(int((self.base - top) / 32))
        widest = max((text_width(text, size) for _, text in y_ticks), default=0)
        self.left = (20 if y_axis.label else 4) + widest + 8
        x_ticks = x_axis.marked(int((self.right - self.left) / (80 if is_wide else 58)))
        self.drawing = Drawing(width, height, label, "plot wide" if is_wide else "plot")
        self._draw_axes(x_ticks, y_ticks, grid)

    def x(self, value: float) -> float:
        """Return the place of a value in pixels from the left."""
        return self.left + self.x_axis.share(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the place of a value in pixels from the top."""
        return self.base - self.y_axis.share(value) * (self.base - self.top)

    def line(
        self, points: Sequence[Position], name: str, shift: float = 0, *, closed: bool = False
    ) -> None:
        """Join points by straight lines, moved to the right by `shift` pixels."""
        places = [(self.x(x) + shift, self.y(y)) for x, y in points]
        self.drawing.path(places, name, closed=closed)

    def dot(
        self, point: Position, radius: float, name: str, tip: str = "", shift: float = 0
    ) -> None:
        """Draw a disc, moved to the right by `shift` pixels."""
        self.drawing.circle(self.x(point[0]) + shift, self.y(point[1]), radius, name, tip)

    def box(
        self, start: Position, stop: Position, name: str, tip: str = "", least: float = 0
    ) -> None:
        """Draw a rectangle between two corners, at least `least` pixels wide."""
        left, right = sorted((self.x(start[0]), self.x(stop[0])))
        top, bottom = sorted((self.y(start[1]), self.y(stop[1])))
        self.drawing.rect(left, top, max(right - left, least), bottom - top, name, tip)

    def error_bar(
        self, x: float, ends: Position, name: str, shift: float = 0, cap: float = 0
    ) -> None:
        """Draw a vertical bar between two values, with caps of a width where there is room."""
        middle, (low, high) = self.x(x) + shift, map(self.y, ends)
        self.drawing.line(middle, low, middle, high, name)
        if cap and low - high > 7:
            for end in (low, high):
                self.drawing.line(middle - cap / 2, end, middle + cap / 2, end, name)

    def _draw_axes(self, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], grid: str) -> None:
        draw, left, right, top, base = self.drawing, self.left, self.right, self.top, self.base
        for value, text in y_ticks:
            y = self.y(value)
            if "y" in grid:
                draw.line(left, y, right, y, "grid")
            draw.text(left - 7, y + 3.5, text, "tick", "end")
        for value, text in x_ticks:
            x = self.x(value)
            if "x" in grid:
                draw.line(x, top, x, base, "grid")
            draw.line(x, base, x, base + 4, "frame")
            draw.text(x, base + 16, text, "tick", "middle")
        draw.line(left, base, right, base, "frame")
        if self.x_axis.label:
            middle = (left + right) / 2
            draw.text(middle, draw.height - 7, self.x_axis.label, "axis", "middle")
        if self.y_axis.label:
            draw.text(12, (top + base) / 2, self.y_axis.label, "axis", "middle", turn=-90)
