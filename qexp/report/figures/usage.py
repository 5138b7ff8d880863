"""Predicted against actual usage of every job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qexp.report.axes import Axis, Plot, round_ticks
from qexp.report.svg import Drawing
from qexp.report.text import number, plain_number

_FAR = 12.0


@dataclass(frozen=True)
class Usage:
    """QPU seconds of one job: predicted, and charged (None: not reported or not run)."""

    name: str
    predicted_s: float
    actual_s: float | None


def usage_of_jobs(jobs: Sequence[Usage], label: str) -> Drawing:
    """A hollow dot for what was predicted, joined to a filled one for what was charged."""
    held = [job.predicted_s for job in jobs]
    held += [job.actual_s for job in jobs if job.actual_s is not None]
    positive = [value for value in held if value > 0]
    if positive and min(positive) == min(held) and max(held) / min(held) > _FAR:
        y_axis = Axis("QPU time (s)", min(held) / 1.6, max(held) * 1.6, is_log=True)
    else:
        y_axis = Axis("QPU time (s)", 0, max([*held, 1e-3]) * 1.1)
    plot = Plot(label, Axis("job", 0.4, len(jobs) + 0.6, ticks=_job_ticks(len(jobs))), y_axis)
    radius = 4.0 if len(jobs) <= 30 else 2.2
    for k, job in enumerate(jobs, start=1):
        x, y = plot.x(k), plot.y(job.predicted_s) if job.predicted_s > 0 else plot.y(y_axis.low)
        tip = f"{job.name}: predicted {number(job.predicted_s)} s"
        if job.actual_s is None:
            plot.drawing.circle(x, y, radius, "predicted", f"{tip}, none charged")
            continue
        tip += f", charged {number(job.actual_s)} s"
        actual = plot.y(job.actual_s if job.actual_s > 0 else y_axis.low)
        if abs(actual - y) > 2 * radius:
            down = 1 if actual > y else -1
            plot.drawing.line(x, y + down * radius, x, actual - down * radius, "joint")
        plot.drawing.circle(x, y, radius, "predicted", tip)
        plot.drawing.circle(x, actual, radius, "actual", tip)
    return plot.drawing


def _job_ticks(count: int) -> list[tuple[float, str]]:
    if count <= 12:
        return [(float(k), str(k)) for k in range(1, count + 1)]
    return [(t, plain_number(t)) for t in round_ticks(1, count, 5) if t == int(t)]
