"""Expectation values with error bars, against exact ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qexp.report.axes import Axis, Plot
from qexp.report.svg import Drawing
from qexp.report.text import number


@dataclass(frozen=True)
class Value:
    """A finite expectation value at a finite x; `std` is its standard error, NaN for none."""

    x: float
    ev: float
    std: float
    exact: float | None
    tip: str


def values_along(
    values: Sequence[Value], x_label: str, label: str, *, is_curve: bool = True
) -> Drawing:
    """Measured values with error bars over the exact ones, which a line joins if `is_curve`."""
    held = [value.ev + sign * _finite(value.std) for value in values for sign in (-1, 1)]
    held += [value.exact for value in values if value.exact is not None]
    y_axis = Axis.around("expectation value", held)
    xs = [value.x for value in values]
    plot = Plot(label, Axis.around(x_label, xs, margin=0.05), y_axis)
    if y_axis.low < 0 < y_axis.high:
        plot.drawing.line(plot.left, plot.y(0), plot.width - plot.right, plot.y(0), "zero")
    ordered = sorted(values, key=lambda value: value.x)
    exact = [(plot.x(v.x), plot.y(v.exact)) for v in ordered if v.exact is not None]
    if is_curve and 1 < len(exact) == len({x for x, _ in exact}):
        plot.drawing.path(exact, "exact-line")
    for x, y in exact:
        plot.drawing.circle(x, y, 3.6, "exact")
    for value in ordered:
        _mark(plot, value.x, value)
    return plot.drawing


def values_against_exact(values: Sequence[Value], label: str) -> Drawing:
    """Measured against exact: what is right lies on the diagonal."""
    known = [value for value in values if value.exact is not None]
    held = [v.ev + sign * _finite(v.std) for v in known for sign in (-1, 1)]
    held += [value.exact for value in known if value.exact is not None]
    plot = Plot(
        label,
        Axis.around("exact value", held),
        Axis.around("measured value", held),
        x_grid=True,
    )
    low, high = plot.x_axis.low, plot.x_axis.high
    plot.drawing.line(plot.x(low), plot.y(low), plot.x(high), plot.y(high), "diagonal")
    for value in known:
        assert value.exact is not None
        _mark(plot, value.exact, value)
    return plot.drawing


def _mark(plot: Plot, at: float, value: Value) -> None:
    x, y = plot.x(at), plot.y(value.ev)
    error = _finite(value.std)
    if error:
        low, high = plot.y(value.ev - error), plot.y(value.ev + error)
        plot.drawing.line(x, low, x, high, "error")
        if low - high > 7:
            for end in (low, high):
                plot.drawing.line(x - 2.5, end, x + 2.5, end, "error")
    tip = f"{value.tip}: {number(value.ev, 4)}" + (f" ± {number(error, 2)}" if error else "")
    if value.exact is not None:
        tip += f", exact {number(value.exact, 4)}"
        if error:
            tip += f" ({number((value.ev - value.exact) / error, 2)} standard errors off)"
    plot.drawing.circle(x, y, 2.8, "value", tip)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
