"""A heat map: one number for each pair of values of two swept keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from qexp.report.figures.plot import Axis, Plot, Tick
from qexp.report.figures.svg import Drawing
from qexp.report.text import number
from qexp.text import shortened

_NUM_CLASSES = 9
_MOST_TICKS = 6
_LEAST_TEXT = 30


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
        shade = f"e{min(_NUM_CLASSES - 1, int(share * _NUM_CLASSES))}"
        plot.box((i, j), (i + 1, j + 1), shade, f"{where}: {number(value)}")
        if width >= _LEAST_TEXT and height >= 12:
            x, y = plot.x(i + 0.5), plot.y(j + 0.5)
            plot.drawing.text(x, y, number(value), f"cell on-{shade}", "middle")
    _draw_scale(plot, number(low), number(high))
    return plot.drawing


def _draw_scale(plot: Plot, low: str, high: str) -> None:
    draw, step = plot.drawing, 12
    left = plot.right - step * _NUM_CLASSES - 60
    draw.text(left - 6, 15, low, "tick", "end")
    for k in range(_NUM_CLASSES):
        draw.rect(left + k * step, 7, step + 0.4, 9, f"e{k}")
    draw.text(left + step * _NUM_CLASSES + 6, 15, high, "tick")


def _ticks(values: Sequence[str]) -> list[Tick]:
    step = max(1, -(-len(values) // _MOST_TICKS))
    return [(k + 0.5, shortened(values[k], 8)) for k in range(0, len(values), step)]
