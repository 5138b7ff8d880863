"""Jobs on a time line: queued, running, and the spans in which the QPU worked on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qexp.report.axes import WIDE, Axis, Plot
from qexp.report.svg import Drawing, text_width
from qexp.report.text import seconds

_LEAST_PX = 1.5
_MAX_ROWS = 240


@dataclass(frozen=True)
class Bar:
    """One job; all times in seconds since the picture's origin.

    Attributes:
        name: Shown at its row.
        note: Shown after its bar.
        tip: All that is known of it.
        created: When it was submitted.
        running: When it began to run, None if it never did or that is not known.
        finished: When it ended.
        spans: When the QPU worked on it.
        is_failed: Whether it has no result.
    """

    name: str
    note: str
    tip: str
    created: float
    running: float | None
    finished: float
    spans: tuple[tuple[float, float], ...]
    is_failed: bool


@dataclass(frozen=True)
class Stretch:
    """A batch: from when it was opened to when it was closed, in seconds."""

    name: str
    start: float
    stop: float


def merged(spans: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Spans of time, those that touch or overlap as one."""
    found: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return tuple(found)


def time_line(
    bars: Sequence[Bar], batches: Sequence[Stretch], origin: str, label: str, width: float = WIDE
) -> Drawing:
    """One row per job, in order; batches are bands behind them.

    Args:
        bars: The jobs; beyond 240 only that many are drawn.
        batches: The batches.
        origin: What time 0 is.
        label: What it shows, in words.
        width: Natural width of the drawing.
    """
    bars = bars[:_MAX_ROWS]
    is_wide = width > 500
    row = 20.0 if len(bars) <= 24 else max(4.0, 480 / len(bars))
    is_named = row >= 11
    end = max([bar.finished for bar in bars] + [batch.stop for batch in batches] + [1e-3])
    unit, name = _unit(end)
    notes = [bar.note for bar in bars] if is_wide and is_named else []
    left = max((text_width(bar.name, 10.5) for bar in bars), default=0) + 14 if is_named else 12
    right = max((text_width(note, 10.5) for note in notes), default=0) + 14
    top = 26 if batches else 10
    plot = Plot(
        label,
        Axis(f"{name} since {origin}", 0, end / unit * 1.005),
        Axis("", 0, 1, ticks=()),
        width=width,
        height=top + row * len(bars) + 50,
        left=left,
        right=max(right, 12),
        top=top,
        bottom=46,
        x_grid=True,
    )
    draw = plot.drawing
    for k, batch in enumerate(batches):
        x1, x2 = plot.x(batch.start / unit), plot.x(batch.stop / unit)
        wide = max(x2 - x1, 2)
        draw.rect(x1, top - 4, wide, row * len(bars) + 6, "batch", batch.name)
        text = batch.name if text_width(batch.name, 10.5) < wide else f"{k + 1}"
        if text_width(text, 10.5) < wide:
            draw.text(x1 + 4, top - 9, text, "tick")
    for k, bar in enumerate(bars):
        y, thick = top + k * row + row * 0.14, row * 0.72
        if is_named:
            draw.text(left - 7, y + thick / 2 + 3.5, bar.name, "tick", "end")
        _draw_bar(plot, bar, unit, y, thick)
        if notes:
            x = width - right + 10
            draw.text(x, y + thick / 2 + 3.5, bar.note, "tick failed" if bar.is_failed else "tick")
    return draw


def _draw_bar(plot: Plot, bar: Bar, unit: float, y: float, thick: float) -> None:
    def block(start: float, stop: float, name: str, inset: float) -> None:
        x1, x2 = plot.x(start / unit), plot.x(stop / unit)
        wide = max(x2 - x1, _LEAST_PX)
        plot.drawing.rect(x1, y + inset, wide, thick - 2 * inset, name, bar.tip)

    begun = bar.finished if bar.running is None else bar.running
    block(bar.created, begun, "queued-failed" if bar.is_failed else "queued", thick * 0.28)
    if bar.running is not None:
        block(bar.running, bar.finished, "run-failed" if bar.is_failed else "running", 0)
    for start, stop in bar.spans:
        block(start, stop, "span", thick * 0.24)


def _unit(longest_s: float) -> tuple[float, str]:
    if longest_s < 2:
        return 1e-3, "milliseconds"
    if longest_s < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if longest_s < 3 * 3600 else (3600.0, "hours")


def waited(bar: Bar) -> str:
    """How long a job was queued and ran, in words."""
    begun = bar.finished if bar.running is None else bar.running
    queued = f"queued {seconds(max(0.0, begun - bar.created))}"
    if bar.running is None:
        return queued
    return f"{queued}, ran {seconds(max(0.0, bar.finished - bar.running))}"
