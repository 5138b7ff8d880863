"""A legend above a plot, which goes with the drawing into a file of its own."""

from __future__ import annotations

from collections.abc import Sequence

from qexp.report.figures.plot import WIDTH, Plot
from qexp.report.figures.svg import text_width
from qexp.text import shortened

_ROW = 16
_MARK = 12
_GAP = 14
_LONGEST = 36


def legend_height(names: Sequence[str]) -> float:
    """Return the height of the legend of some series in pixels, 0 for a single one."""
    return _ROW * (1 + max(row for _, row in _places(names))) if len(names) > 1 else 0


def draw_legend(plot: Plot, names: Sequence[str]) -> None:
    """Draw the names of series with their colours, where there are several."""
    for k, (name, (x, row)) in enumerate(zip(names, _places(names), strict=True)):
        if len(names) > 1:
            y = 10 + _ROW * row
            plot.drawing.circle(x + 4, y - 4, 3.5, f"dot s{k}")
            plot.drawing.text(x + _MARK, y, shortened(name, _LONGEST), "tick")


def _places(names: Sequence[str]) -> list[tuple[float, int]]:
    """Return place from the left and row of each name."""
    places: list[tuple[float, int]] = []
    x, row = 8.0, 0
    for name in names:
        width = _MARK + text_width(shortened(name, _LONGEST), 10.5) + _GAP
        if x + width > WIDTH and x > 8:
            x, row = 8.0, row + 1
        places.append((x, row))
        x += width
    return places
