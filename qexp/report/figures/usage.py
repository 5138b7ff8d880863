"""Predicted against actual usage of every job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qexp.report.axes import Axis, Plot, round_ticks
from qexp.report.svg import Drawing
from qexp.report.text import is_finite, number, plain_number

_FAR = 12.0


@dataclass(frozen=True)
class Usage:
    """QPU seconds of one job: predicted, and charged (None: not reported or not run).

    What is not finite is not drawn.
    """

    name: str
    predicted_s: float
    actual_s: float | None


def usage_of_jobs(jobs: Sequence[Usage], label: str) -> Drawing:
    """A hollow dot for what was predicted, joined to a filled one for what was charged."""
    times = [(_drawn(job.predicted_s), _drawn(job.actual_s)) for job in jobs]
    held = [time for pair in times for time in pair if time is not None]
    positive = [value for value in held if value > 0]
    if positive and min(positive) == min(held) and max(held) / min(held) > _FAR:
        y_axis = Axis("QPU time (s)", min(held) / 1.6, max(held) * 1.6, is_log=True)
    else:
        y_axis = Axis("QPU time (s)", 0, max([*held, 1e-3]) * 1.1)
    plot = Plot(label, Axis("job", 0.4, len(jobs) + 0.6, ticks=_job_ticks(len(jobs))), y_axis)
    radius = 4.0 if len(jobs) <= 30 else 2.2
    for k, (job, (predicted, actual)) in enumerate(zip(jobs, times, strict=True), start=1):
        x = plot.x(k)
        heights = [
            None if t is None else plot.y(t if t > 0 else y_axis.low) for t in (predicted, actual)
        ]
        tip = f"{job.name}: {_told('predicted', predicted)}, {_told('charged', actual)}"
        y, end = heights
        if y is not None and end is not None and abs(end - y) > 2 * radius:
            down = 1 if end > y else -1
            plot.drawing.line(x, y + down * radius, x, end - down * radius, "joint")
        for name, height in zip(("predicted", "actual"), heights, strict=True):
            if height is not None:
                plot.drawing.circle(x, height, radius, name, tip)
    return plot.drawing


def _drawn(time: float | None) -> float | None:
    return time if time is not None and is_finite(time) else None


def _told(what: str, time: float | None) -> str:
    return f"none {what}" if time is None else f"{what} {number(time)} s"


def _job_ticks(count: int) -> list[tuple[float, str]]:
    if count <= 12:
        return [(float(k), str(k)) for k in range(1, count + 1)]
    return [(t, plain_number(t)) for t in round_ticks(1, count, 5) if t == int(t)]
