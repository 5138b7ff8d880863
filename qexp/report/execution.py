"""Figures and table of the section on execution: jobs in time, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from qexp.report.figures.charts import Spot, draw_spots, extent
from qexp.report.figures.plot import Axis, Plot, whole_ticks
from qexp.report.figures.svg import Drawing, Figure
from qexp.report.figures.timeline import Bar, Period, draw_time_line, merge_periods
from qexp.report.text import UNKNOWN, cut_line, duration, is_finite, number, percent, plural
from qexp.text import parse_time

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from qexp.archive.records import JobRecord
    from qexp.listing.summary import RunEntry, RunSummary

_MAX_ROWS = 250


@dataclass(frozen=True)
class ExecutionSection:
    """Jobs in time, and what they cost.

    Attributes:
        timed: Jobs whose times are known, in order of submission.
        time_line: These jobs in time; None where there is none.
        usage: Predicted and charged seconds of every job.
        listed: Jobs to list, failed ones first where not all are.
    """

    timed: Sequence[JobRecord]
    time_line: Drawing | None
    usage: Figure
    listed: Sequence[JobRecord]


def execution_section(archive: Archive, summary: RunSummary) -> ExecutionSection:
    """Draw and list the jobs of a run, of which there is at least one."""
    jobs = summary.jobs_run
    timed = [job for job in jobs if parse_time(job.created) and parse_time(job.finished)]
    timed.sort(key=lambda job: (job.created, job.index))
    time_line = _time_line(archive, timed) if timed else None
    usage = _usage(summary)
    if len(jobs) > _MAX_ROWS:
        failed_first = sorted(jobs, key=lambda job: (job.state == "DONE", job.index))
        return ExecutionSection(timed, time_line, usage, failed_first[:_MAX_ROWS])
    return ExecutionSection(timed, time_line, usage, jobs)


def is_simulated(run: RunEntry) -> bool:
    """Return whether usage is the time of a simulation rather than that of a QPU."""
    return run.engine != "ibm"


def _usage(summary: RunSummary) -> Figure:
    predicted_s, charged_s = summary.predicted_qpu_s, summary.usage_s or 0.0
    caption = f"Predicted {duration(predicted_s) or UNKNOWN} in all, charged {duration(charged_s)}"
    if predicted_s and not is_simulated(summary):
        caption += f" ({percent(charged_s / predicted_s)})"
    jobs = summary.jobs_run
    label = f"Usage of {plural(len(jobs), 'job')}: {caption}"
    chart = usage_chart(label, [(job.predicted_qpu_s, job.usage_s) for job in jobs])
    return Figure(chart, "Usage per job", f"{caption}.")


def usage_chart(label: str, usage_s: Sequence[tuple[float, float | None]]) -> Drawing:
    """Draw the usage of every job: a ring for the prediction, a dot for what was charged.

    Args:
        label: Description for readers who cannot see it.
        usage_s: Predicted and charged seconds (None: not reported). Values that are not finite are
            not drawn.
    """
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
    return draw_time_line(
        f"Time line of {plural(len(jobs), 'job')} since {start_text}",
        start_text,
        [_bar(job, since) for job in jobs],
        batches,
    )


def _opening(details: Mapping[str, Any]) -> datetime | None:
    stamps = details.get("timestamps")
    for stamp in stamps if isinstance(stamps, list) else []:
        if isinstance(stamp, dict) and stamp.get("status") == "open":
            return parse_time(str(stamp.get("timestamp", "")))
    return parse_time(str(details.get("created_at") or details.get("started_at") or ""))


def _bar(job: JobRecord, since: Any) -> Bar:
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
