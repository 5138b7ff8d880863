"""Jobs on a time line: queued, running, and the spans in which the QPU worked on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qexp.report.figures.plot import WIDE, WIDE_TEXT, Axis, Plot
from qexp.report.figures.svg import Drawing, text_width

MAX_ROWS = 240
"""Jobs that are drawn."""
_LEAST_PX = 1.5
_NOTE_TEXT = 8.0

Period = tuple[float, float]
"""From when to when, in seconds since the figure's origin."""


@dataclass(frozen=True)
class Bar:
    """One job.

    Attributes:
        name: Text left of its row.
        note: Text right of its row, where there is room.
        tip: Text that is shown when it is pointed at.
        queued: From its submission to its start, or to its end where it never ran.
        running: From its start to its end, or None.
        spans: When the QPU worked on it.
        is_failed: Whether it has no result.
    """

    name: str
    note: str
    tip: str
    queued: Period
    running: Period | None
    spans: tuple[Period, ...]
    is_failed: bool


def merge_periods(periods: Iterable[Period]) -> tuple[Period, ...]:
    """Join periods that touch or overlap."""
    merged: list[Period] = []
    for start, stop in sorted(periods):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return tuple(merged)


def draw_time_line(
    label: str, origin: str, bars: Sequence[Bar], batches: Sequence[Period]
) -> Drawing:
    """Draw one row per job, in order, over a band for each batch.

    Args:
        label: Description for readers who cannot see it.
        origin: Time 0, as text.
        bars: The jobs; the first `MAX_ROWS` are drawn.
        batches: When each batch was open.
    """
    bars = bars[:MAX_ROWS]
    height = 19.0 if len(bars) <= 24 else max(4.0, 400 / len(bars))
    is_named = height >= 14
    end = max([(bar.running or bar.queued)[1] for bar in bars] + [b[1] for b in batches] + [1e-3])
    unit, unit_name = _unit(end)
    notes = [bar.note for bar in bars] if is_named else []
    names = [(k + 0.5, bar.name) for k, bar in enumerate(bars)] if is_named else []
    top = 26 if batches else 10
    plot = Plot(
        label,
        Axis(f"{unit_name} since {origin}", 0, end / unit * 1.005),
        Axis("", len(bars), 0, ticks=names),
        width=WIDE,
        height=top + height * len(bars) + 50,
        right=max([text_width(note, _NOTE_TEXT) for note in notes], default=0) + 16,
        top=top,
        bottom=46,
        grid="x",
    )
    for k, (start, stop) in enumerate(batches, start=1):
        name = f"batch {k}"
        band = (start / unit, -4 / height), (stop / unit, len(bars) + 2 / height)
        plot.box(*band, "batch", name, least=2)
        room = plot.x(stop / unit) - plot.x(start / unit)
        text = name if text_width(name, WIDE_TEXT) < room else str(k)
        if text_width(text, WIDE_TEXT) < room:
            plot.drawing.text(plot.x(start / unit) + 4, top - 9, text, "tick")
    for k, bar in enumerate(bars):
        _draw_bar(plot, k, bar, unit)
        if notes:
            name = "tick aside failed" if bar.is_failed else "tick aside"
            plot.drawing.text(plot.right + 8, plot.y(k + 0.5) + 3.5, bar.note, name)
    return plot.drawing


def _draw_bar(plot: Plot, row: int, bar: Bar, unit: float) -> None:
    failed = "-failed" if bar.is_failed else ""
    blocks = [(bar.queued, f"queued{failed}", 0.34)]
    if bar.running is not None:
        blocks.append((bar.running, f"running{failed}", 0.14))
    blocks += [(span, "span", 0.31) for span in bar.spans]
    for (start, stop), name, inset in blocks:
        corners = (start / unit, row + inset), (stop / unit, row + 1 - inset)
        plot.box(*corners, name, bar.tip, least=_LEAST_PX)


def _unit(longest_s: float) -> tuple[float, str]:
    if longest_s < 2:
        return 1e-3, "milliseconds"
    if longest_s < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if longest_s < 3 * 3600 else (3600.0, "hours")
