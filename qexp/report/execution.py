"""The section on execution: jobs on a time line, and their predicted and charged usage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from qexp.archive.jobs import JobRecord
from qexp.archive.read import Archive
from qexp.listing.summary import RunDetails
from qexp.report.figures.charts import Spot, draw_spots, extent
from qexp.report.figures.plot import WIDE, WIDE_TEXT, Axis, Plot, whole_ticks
from qexp.report.figures.svg import Drawing, Figure, text_width
from qexp.report.text import UNKNOWN, cut_line, duration, is_finite, number, percent, plural
from qexp.text import parse_time

MAX_DRAWN = 240
_MAX_LISTED = 250
_LEAST_PX = 1.5
_NOTE_TEXT = 8.0

Period = tuple[float, float]
"""Start and end, in seconds since the origin of the time line."""


class Bar(NamedTuple):
    """One job on the time line: texts left of, right of and over its row, and its periods."""

    name: str
    note: str
    tip: str
    queued: Period
    running: Period | None  # None where it never ran
    spans: tuple[Period, ...]
    is_failed: bool


def execution_section(archive: Archive, summary: RunDetails) -> dict[str, Any]:
    """Draw and list the jobs of a run, of which there is at least one."""
    jobs = listed = summary.jobs_run
    timed = [job for job in jobs if parse_time(job.created) and parse_time(job.finished)]
    timed.sort(key=lambda job: (job.created, job.index))
    if len(jobs) > _MAX_LISTED:
        failed_first = sorted(jobs, key=lambda job: (job.state == "DONE", job.index))
        listed = failed_first[:_MAX_LISTED]
    return {
        "timed": timed,
        "time_line": _time_line(archive, timed) if timed else None,
        "usage": _usage(summary),
        "listed": listed,
    }


def _usage(summary: RunDetails) -> Figure:
    predicted_s, charged_s = summary.predicted_qpu_s, summary.usage_s or 0.0
    caption = f"Predicted {duration(predicted_s) or UNKNOWN} in all, charged {duration(charged_s)}"
    if predicted_s and not summary.is_simulated:
        caption += f" ({percent(charged_s / predicted_s)})"
    if summary.usage_pending:
        caption += f", {plural(summary.usage_pending, 'charge')} pending"
    jobs = summary.jobs_run
    label = f"Usage of {plural(len(jobs), 'job')}: {caption}"
    chart = usage_chart(label, [(job.predicted_qpu_s, job.usage_s) for job in jobs])
    return Figure(chart, "Usage per job", f"{caption}.")


def usage_chart(label: str, usage_s: Sequence[tuple[float, float | None]]) -> Drawing:
    """Draw predicted (ring) and charged (dot) seconds of every job, as far as they are finite."""
    spots = []
    for k, seconds in enumerate(usage_s, start=1):
        predicted, charged = (t if t is not None and is_finite(t) else None for t in seconds)
        tip = f"job {k}: {'none' if predicted is None else number(predicted) + ' s'} predicted, "
        tip += f"{'none' if charged is None else number(charged) + ' s'} charged"
        spots.append(Spot(k, charged, tip, None, predicted))
    count = len(spots)
    ticks = whole_ticks(0.4, count + 0.6, 13 if count <= 12 else 5)
    x_axis = Axis("job", 0.4, count + 0.6, ticks=ticks)
    plot = Plot(label, x_axis, Axis.from_zero("QPU time (s)", extent(spots)))
    return draw_spots(plot, [spots], style="usage", join="pairs", radius=4 if count <= 30 else 2.2)


def _time_line(archive: Archive, jobs: Sequence[JobRecord]) -> Drawing:
    opened = [_opening(batch.opened or batch.final or {}) for batch in archive.batches]
    starts = [parse_time(jobs[0].created), *opened]
    origin = min(start for start in starts if start is not None)

    def since(text: str) -> float | None:
        time = parse_time(text)
        return None if time is None else (time - origin).total_seconds()

    end = max(since(job.finished) or 0.0 for job in jobs)
    batches: list[Period] = []
    for batch, start in zip(archive.batches, opened, strict=True):
        if start is not None:
            closed = since(str((batch.final or {}).get("closed_at") or ""))
            batches.append(((start - origin).total_seconds(), end if closed is None else closed))
    start_text = f"{origin:%-d %B %Y, %H:%M:%S} UTC"
    label = f"Time line of {plural(len(jobs), 'job')} since {start_text}"
    return draw_time_line(label, start_text, [_bar(job, since) for job in jobs], batches)


def _opening(details: Mapping[str, Any]) -> datetime | None:
    stamps = details.get("timestamps")
    for stamp in stamps if isinstance(stamps, list) else []:
        if isinstance(stamp, dict) and stamp.get("status") == "open":
            return parse_time(str(stamp.get("timestamp", "")))
    return parse_time(str(details.get("created_at") or details.get("started_at") or ""))


def _bar(job: JobRecord, since: Callable[[str], Any]) -> Bar:
    created, running, finished = map(since, (job.created, job.running, job.finished))
    spans = [(since(span.start), since(span.stop)) for span in job.spans]
    merged = merge_periods((a, b) for a, b in spans if a is not None and b is not None)
    begun = finished if running is None else running
    tip = f"job {job.index + 1} ({job.job_id}), {job.state}"
    tip += f": queued {duration(max(0.0, begun - created))}"
    if running is not None:
        tip += f", ran {duration(max(0.0, finished - running))}"
    if merged:
        tip += f", {duration(sum(stop - start for start, stop in merged))} in spans"
    if job.error:
        tip += f"; {cut_line(job.error)}"
    note = "" if job.usage_s is None else f"charged {duration(job.usage_s)}"
    if job.state != "DONE":
        note = job.state.lower() + (f": {job.failure}" if job.failure else "")
    return Bar(
        name=f"{job.index + 1}" + (f" · try {job.attempt}" if job.attempt > 1 else ""),
        note=note,
        tip=tip,
        queued=(created, begun),
        running=None if running is None else (running, finished),
        spans=merged,
        is_failed=job.state != "DONE",
    )


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
    """Draw a row for each job, at most `MAX_DRAWN`, over bands for the times of open batches."""
    bars = bars[:MAX_DRAWN]
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
        failed = "-failed" if bar.is_failed else ""
        blocks = [(bar.queued, f"queued{failed}", 0.34)]
        if bar.running is not None:
            blocks.append((bar.running, f"running{failed}", 0.14))
        blocks += [(span, "span", 0.31) for span in bar.spans]
        for (start, stop), name, inset in blocks:
            corners = (start / unit, k + inset), (stop / unit, k + 1 - inset)
            plot.box(*corners, name, bar.tip, least=_LEAST_PX)
        if notes:
            name = "tick aside failed" if bar.is_failed else "tick aside"
            plot.drawing.text(plot.right + 8, plot.y(k + 0.5) + 3.5, bar.note, name)
    return plot.drawing


def _unit(longest_s: float) -> tuple[float, str]:
    if longest_s < 2:
        return 1e-3, "milliseconds"
    if longest_s < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if longest_s < 3 * 3600 else (3600.0, "hours")
