"""Axes: scales from values to pixels, round ticks, and the frame of a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qexp.report.svg import Drawing, text_width
from qexp.report.text import plain_number

WIDTH = 360
"""Natural width of a picture in pixels: as wide as a phone's page, a third of a desktop's."""
WIDE = 732
"""Of one that takes two columns of a desktop's page, or the width of a printed one."""
HEIGHT = 236


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: What it shows, with its unit.
        low: Least value, at the left or bottom.
        high: Largest value.
        is_log: Whether it is logarithmic.
        show: A tick's value as text.
        ticks: Where its ticks are; None for round values.
    """

    label: str
    low: float
    high: float
    is_log: bool = False
    show: Callable[[float], str] = plain_number
    ticks: Sequence[tuple[float, str]] | None = None

    @classmethod
    def around(
        cls,
        label: str,
        values: Sequence[float],
        *,
        margin: float = 0.06,
        least: float | None = None,
        most: float | None = None,
        show: Callable[[float], str] = plain_number,
    ) -> Axis:
        """A linear axis that holds all values, with a margin; `least` and `most` end it."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        gap = (high - low) * margin or abs(high) * 0.05 or 0.5
        low = low - gap if least is None else max(least, low - gap)
        high = high + gap if most is None else min(most, high + gap)
        return cls(label, low, high if high > low else low + gap, show=show)

    def share(self, value: float) -> float:
        """Where a value is, from 0 at the low end to 1 at the high one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def marked(self, count: int) -> list[tuple[float, str]]:
        """Values and texts of about so many ticks."""
        if self.ticks is not None:
            return list(self.ticks)
        values = _log_ticks(self.low, self.high) if self.is_log else []
        values = values or round_ticks(self.low, self.high, count)
        return [(value, self.show(value)) for value in values]


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two values, about `count` of them."""
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    # Halves would be odd where only whole numbers are meant.
    factors = (1, 2, 5, 10) if power == 1 else (1, 2, 2.5, 5, 10)
    step = next(power * factor for factor in factors if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [
            float(f"{factor}e{decade}")
            for decade in decades
            for factor in factors
            if low * 0.999 <= factor * 10.0**decade <= high * 1.001
        ]
        if len(found) >= 3:
            return found
    return []


@dataclass
class Plot:
    """A drawing with two axes. Draw the grid by making it, then the data, into `drawing`.

    Attributes:
        left: Pixels left of the data; 0 finds it from the labels.
        bottom: Pixels below the data.
    """

    label: str
    x_axis: Axis
    y_axis: Axis
    width: float = WIDTH
    height: float = HEIGHT
    left: float = 0
    right: float = 10
    top: float = 12
    bottom: float = 42
    x_grid: bool = False
    drawing: Drawing = field(init=False)

    def __post_init__(self) -> None:
        self.drawing = Drawing(self.width, self.height, self.label, "plot")
        y_ticks = self.y_axis.marked(int((self.height - self.top - self.bottom) / 32))
        if not self.left:
            widest = max((text_width(text, 10.5) for _, text in y_ticks), default=0)
            self.left = (20 if self.y_axis.label else 4) + widest + 8
        self._draw_y(y_ticks)
        self._draw_x(self.x_axis.marked(int((self.width - self.left - self.right) / 58)))

    def x(self, value: float) -> float:
        """Where a value is, in pixels from the left."""
        return self.left + self.x_axis.share(value) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Where a value is, in pixels from the top."""
        return self.height - self.bottom - self.y_axis.share(value) * self.inner_height

    @property
    def inner_height(self) -> float:
        """Height of the part with the data."""
        return self.height - self.top - self.bottom

    def _draw_y(self, ticks: Sequence[tuple[float, str]]) -> None:
        draw = self.drawing
        for value, text in ticks:
            y = self.y(value)
            draw.line(self.left, y, self.width - self.right, y, "grid")
            draw.text(self.left - 7, y + 3.5, text, "tick", "end")
        if self.y_axis.label:
            middle = self.top + self.inner_height / 2
            draw.text(12, middle, self.y_axis.label, "axis", "middle", turn=-90)

    def _draw_x(self, ticks: Sequence[tuple[float, str]]) -> None:
        draw, base = self.drawing, self.height - self.bottom
        for value, text in ticks:
            x = self.x(value)
            if self.x_grid:
                draw.line(x, self.top, x, base, "grid")
            draw.line(x, base, x, base + 4, "frame")
            draw.text(x, base + 16, text, "tick", "middle")
        draw.line(self.left, base, self.width - self.right, base, "frame")
        if self.x_axis.label:
            middle = (self.left + self.width - self.right) / 2
            draw.text(middle, self.height - 7, self.x_axis.label, "axis", "middle")
