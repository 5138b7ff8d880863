"""The section on execution: batches and jobs in time, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from qexp.report.axes import WIDTH
from qexp.report.figures.timeline import Bar, Stretch, merged, time_line, waited
from qexp.report.figures.usage import Usage, usage_of_jobs
from qexp.report.parts import Key, Picture, Row, Table, sign, table
from qexp.report.text import moment, number, plural, seconds

if TYPE_CHECKING:
    from qexp.archive.jobs import JobRecord
    from qexp.archive.read import Archive

_MAX_ROWS = 250
_OPEN_ROWS = 12
_ALWAYS = (
    "#job",
    "id",
    "PUBs",
    "state",
    "submitted (UTC)",
    "#queued",
    "#ran",
    "#predicted",
    "#charged",
)


@dataclass(frozen=True)
class Execution:
    """What was executed when, and at what cost."""

    summary: str
    pictures: tuple[Picture, ...]
    jobs: Table
    is_open: bool


def execution(archive: Archive, jobs: Sequence[JobRecord]) -> Execution | None:
    """The section; None where no job was submitted."""
    if not jobs:
        return None
    pictures = [*_time_line(archive, jobs), _usage(archive, jobs)]
    return Execution(
        _summary(archive, jobs), tuple(pictures), _table(jobs), len(jobs) <= _OPEN_ROWS
    )


def is_simulated(archive: Archive) -> bool:
    """Whether usage is the time of a simulation rather than of a QPU."""
    return archive.engine != "ibm"


def _summary(archive: Archive, jobs: Sequence[JobRecord]) -> str:
    failed = sum(job.state != "DONE" for job in jobs)
    text = f"{plural(len(jobs), 'job')} in {_batches(archive)}; {failed or 'none'} without result."
    unsent = len(archive.partitions) - len({job.partition for job in jobs})
    if unsent:
        text += f" {plural(unsent, 'planned job')} never submitted."
    if is_simulated(archive):
        text += (
            f" The engine {archive.engine!r} simulates: what it charges is its own time, what is "
            "predicted is that of a QPU."
        )
    return text


def _batches(archive: Archive) -> str:
    count = len(archive.batches)
    return (
        "one batch"
        if count == 1
        else f"{count} batches, each after the first linked to the one before"
    )


def _time_line(archive: Archive, jobs: Sequence[JobRecord]) -> list[Picture]:
    timed = [job for job in jobs if moment(job.created) and moment(job.finished)]
    if not timed:
        return []
    timed.sort(key=lambda job: (job.created, job.index))
    opened = [_opening(batch.opened or batch.final or {}) for batch in archive.batches]
    starts = [time for time in (moment(timed[0].created), *opened) if time is not None]
    origin = min(starts)
    bars = [_bar(job, origin) for job in timed]
    end = max(bar.finished for bar in bars)
    batches = [
        Stretch(
            f"batch {k + 1}", (start - origin).total_seconds(), _closing(batch.final, origin, end)
        )
        for k, (batch, start) in enumerate(zip(archive.batches, opened, strict=True))
        if start is not None
    ]
    said = f"{origin:%-d %B %Y, %H:%M:%S} UTC"
    label = f"Time line of {len(bars)} jobs since {said}"
    key = [
        Key(sign(("slim", "queued"), width=22), "queued"),
        Key(sign(("bar", "running"), width=22), "running"),
    ]
    if any(bar.spans for bar in bars):
        key.append(Key(sign(("bar", "running"), ("slim", "span"), width=22), _span_name(archive)))
    if any(bar.is_failed for bar in bars):
        key.append(Key(sign(("bar", "run-failed"), width=22), "failed"))
    drawn = "" if len(bars) <= 240 else f" The first 240 of {len(bars):,} jobs."
    return [
        Picture(
            time_line(bars, batches, said, label),
            "Jobs in time",
            f"One row per job, in order of submission.{drawn}",
            "two",
            time_line(bars, batches, f"{origin:%H:%M:%S} UTC", label, WIDTH),
            tuple(key),
        )
    ]


def _span_name(archive: Archive) -> str:
    return "execution spans (simulated)" if is_simulated(archive) else "spans on the QPU"


def _opening(details: dict[str, object]) -> datetime | None:
    stamps = details.get("timestamps")
    if isinstance(stamps, list):
        for stamp in stamps:
            if isinstance(stamp, dict) and stamp.get("status") == "open":
                return moment(str(stamp.get("timestamp", "")))
    return moment(str(details.get("created_at") or details.get("started_at") or ""))


def _closing(details: dict[str, object] | None, origin: datetime, end: float) -> float:
    closed = moment(str((details or {}).get("closed_at") or ""))
    return (closed - origin).total_seconds() if closed else end


def _bar(job: JobRecord, origin: datetime) -> Bar:
    def since(text: str) -> float | None:
        time = moment(text)
        return (time - origin).total_seconds() if time else None

    spans = [(since(span.start), since(span.stop)) for span in job.spans]
    known = [(start, stop) for start, stop in spans if start is not None and stop is not None]
    created, running, finished = (since(t) for t in (job.created, job.running, job.finished))
    is_failed = job.state != "DONE"
    bar = Bar(
        f"{job.index + 1}" + (f" · try {job.attempt}" if job.attempt > 1 else ""),
        _note(job, is_failed),
        "",
        created or 0.0,
        running,
        finished or 0.0,
        merged(known),
        is_failed,
    )
    tip = f"job {job.index + 1} ({job.job_id}), {job.state}: {waited(bar)}"
    if bar.spans:
        tip += f", {seconds(sum(stop - start for start, stop in bar.spans))} in spans"
    if job.error:
        tip += f"; {_short(job.error)}"
    return Bar(**{**vars(bar), "tip": tip})


def _note(job: JobRecord, is_failed: bool) -> str:
    if is_failed:
        return f"{job.state.lower()}" + (f": {job.failure}" if job.failure else "")
    return "" if job.usage_s is None else f"charged {seconds(job.usage_s)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"


def _usage(archive: Archive, jobs: Sequence[JobRecord]) -> Picture:
    shown = [Usage(f"job {job.index + 1}", job.predicted_qpu_s, job.usage_s) for job in jobs]
    predicted = sum(partition.qpu_s for partition in archive.partitions)
    caption = f"Predicted {seconds(predicted)} in all, charged {seconds(archive.usage_s)}"
    if predicted > 0 and not is_simulated(archive):
        caption += f" ({number(100 * archive.usage_s / predicted)} %)"
    return Picture(
        usage_of_jobs(shown, f"Usage of {len(shown)} jobs: {caption}"),
        "Usage per job",
        f"{caption}.",
        key=(
            Key(sign(("dot", "predicted")), "predicted for a QPU"),
            Key(
                sign(("dot", "actual")),
                "charged" + (" (simulation)" if is_simulated(archive) else ""),
            ),
        ),
    )


def _table(jobs: Sequence[JobRecord]) -> Table:
    # Failed ones first where not all are listed.
    listed = list(jobs)
    if len(listed) > _MAX_ROWS:
        listed = sorted(listed, key=lambda job: (job.state == "DONE", job.index))[:_MAX_ROWS]
    cells = [_cells(job) for job in listed]
    # What is the same for all says nothing.
    names = [name for name in cells[0] if name in _ALWAYS or len({row[name] for row in cells}) > 1]
    made = table(
        "|".join(names),
        [[row[name] for name in names] for row in cells],
        note=f"{_MAX_ROWS} of {len(jobs):,} jobs, failed ones first."
        if len(jobs) > _MAX_ROWS
        else "",
    )
    rows = tuple(
        Row(row.cells, job.state != "DONE") for row, job in zip(made.rows, listed, strict=True)
    )
    return Table(made.heads, rows, note=made.note)


def _cells(job: JobRecord) -> dict[str, str]:
    """Column -> cell; `#` marks numbers."""
    code = f" (code {job.error_code})" if job.error_code is not None else ""
    return {
        "#job": str(job.index + 1),
        "id": job.job_id or "none",
        "workload": job.workload,
        "PUBs": str(job.first) if job.stop == job.first + 1 else f"{job.first}–{job.stop - 1}",
        "#try": str(job.attempt),
        "#batch": "" if job.batch is None else str(job.batch + 1),
        "state": job.state,
        "submitted (UTC)": _clock(job.created),
        "#queued": _between(job.created, job.running or job.finished),
        "#ran": _between(job.running, job.finished),
        "#predicted": seconds(job.predicted_qpu_s),
        "#charged": "" if job.usage_s is None else seconds(job.usage_s),
        "reason": f"{_short(job.error)}{code}" if job.error else "",
    }


def _clock(text: str) -> str:
    time = moment(text)
    return f"{time:%-d %b, %H:%M:%S}" if time else ""


def _between(start: str, stop: str) -> str:
    first, last = moment(start), moment(stop)
    return seconds(max(0.0, (last - first).total_seconds())) if first and last else ""
