"""The summary of a run as a page of text, readable at 80 columns."""

from __future__ import annotations

import io
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from qexp.listing.summary import (
    AttemptSummary,
    BatchSummary,
    Calibration,
    MissingPubs,
    OpenBatch,
    SealedRun,
    UnfinishedRun,
    WorkloadSummary,
    queued_s,
    ran_s,
)
from qexp.redact import redactor
from qexp.text import format_bytes, format_duration, printable

if TYPE_CHECKING:
    from qexp.archive.records import JobRecord

Summary: TypeAlias = SealedRun | UnfinishedRun

_STYLES: Final = {"complete": "green", "partial": "yellow", "failed": "red"}
_PACKAGES: Final = ("qexp", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy")
_JOB: Final = ("workload", "PUBs", "state", "queued", "ran", "usage", "predicted", "job")
_ATTEMPT: Final = ("partition", "attempt", "state", "job")
_CALIBRATION: Final = ("date", "age at start", "T1", "T2", "readout error", "used by")
_MAX_JOBS: Final = 30
_MAX_MISSING: Final = 10


def format_page(run: Summary, width: int, *, is_terminal: bool = False) -> str:
    """Format the summary of a run for people.

    Args:
        run: The summary.
        width: Number of columns.
        is_terminal: Use colours and bold text, as far as the terminal has them.
    """
    text = io.StringIO()
    styled = is_terminal or None
    page = _Page(
        Console(file=text, width=width, force_terminal=styled, highlight=False, emoji=False)
    )
    page.print_identity(run)
    page.print_missing(run)
    if isinstance(run, SealedRun):
        page.print_table("jobs", _JOB, _jobs(run.jobs_run), len(run.jobs_run), left=3)
        page.print_batches(run.batches)
        rows = [_calibration(each) for each in run.calibrations]
        page.print_table("calibration (medians over the qubits)", _CALIBRATION, rows, len(rows))
        page.print_facts(_software(run.software), "software")
    else:
        rows = [_attempt(attempt) for attempt in run.attempts[:_MAX_JOBS]]
        page.print_table("jobs", _ATTEMPT, rows, len(run.attempts), left=0)
        page.print_batches(run.batches)
    return text.getvalue()


class _Page:
    """Prints sections; every text of an archive goes through `_text`, as it is untrusted."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._redact = redactor()

    def print_identity(self, run: Summary) -> None:
        title = self._text(f"{run.experiment or 'a run'}  {run.run_id}  ", "bold")
        title.append(printable(run.status), _STYLES.get(run.status, "bold"))
        self._out.print(title)
        if isinstance(run, SealedRun) and run.is_intact is False:
            warning = (
                f"DAMAGED: this file is not what was sealed, and what follows may be wrong; "
                f"python -m qexp verify {shlex.quote(run.path)} names what is damaged"
            )
            self._out.print(self._text(warning, "bold red"))
        self.print_facts(_facts(run))

    def print_missing(self, run: Summary) -> None:
        if isinstance(run, UnfinishedRun):
            lines, folder = [run.problem or ""], run.path
        elif run.missing and run.status != "planned":
            lines = [f"stopped before its end: {run.stopped}"] if run.stopped else []
            lines += map(_missing, run.missing[:_MAX_MISSING])
            lines += _more(len(run.missing) - _MAX_MISSING)
            folder = str(Path(run.path).parent) if run.can_resume else ""
        else:
            return
        self._print("missing", *map(self._text, lines))
        if folder:
            # On one line however long, to be copied.
            command = f"  to go on: python -m qexp resume {shlex.quote(folder)}"
            self._out.print(self._text(command), soft_wrap=True)

    def print_batches(self, batches: Sequence[BatchSummary | OpenBatch]) -> None:
        if batches:
            heading = "batch" if len(batches) == 1 else "batches"
            self._print(heading, *(self._text(_batch(batch)) for batch in batches))

    def print_facts(self, facts: Iterable[tuple[str, str]], heading: str = "") -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=11)
        grid.add_column(overflow="fold")
        for name, value in facts:
            if value:
                grid.add_row(Text(name), self._text(value))
        self._print(heading, grid)

    def print_table(
        self,
        heading: str,
        headers: Sequence[str],
        rows: Sequence[Sequence[str]],
        num_all: int,
        left: int = 1,
    ) -> None:
        """Print a table; the first columns and the last are texts, which takes the room left."""
        if not rows:
            return
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        last = len(headers) - 1
        for position, header in enumerate(headers):
            table.add_column(
                header,
                justify="left" if position < left or position == last else "right",
                overflow="fold",
                no_wrap=position != last,
                header_style="dim",
            )
        for row in rows:
            table.add_row(*map(self._text, row))
        self._print(heading, table, *map(Text, _more(num_all - len(rows))))

    def _print(self, heading: str, *lines: RenderableType) -> None:
        if heading:
            self._out.print()
            self._out.print(Text(heading, "bold"))
        for line in lines:
            self._out.print(Padding(line, (0, 0, 0, 2), expand=False))

    def _text(self, text: str, style: str = "") -> Text:
        return Text(self._redact(printable(text)), style)


def _facts(run: Summary) -> Iterator[tuple[str, str]]:
    sealed = run if isinstance(run, SealedRun) else None
    if sealed:
        metadata = sealed.metadata
        yield "title", str(metadata.get("title") or "")
        yield "about", str(metadata.get("description") or "")
        yield "creators", ", ".join(one["name"] for one in metadata.get("creators") or [])
        yield "licence", str(metadata.get("license") or "")
    if run.backend:
        yield "backend", f"{run.backend}, {run.num_qubits} qubits, engine {run.engine}"
    took = _duration(sealed.took_s) if sealed else ""
    yield "started", _moment(run.date) + (f", took {took}" if took else "")
    for workload in sealed.workloads if sealed else ():
        yield "workload", _workload(workload)
    if run.jobs is not None:
        yield "jobs", f"{run.jobs_done} of {run.jobs} have a result"
    yield "usage", _usage(run)
    yield "seed", "" if run.seed is None else str(run.seed)
    yield "overrides", " ".join(run.overrides)
    for workload_name, options in sealed.not_honoured.items() if sealed else ():
        if options:
            yield "no effect", f"{workload_name}: {', '.join(map(str, options))}"
    yield "data", run.data_sha256 or ""
    if sealed:
        state = {True: "intact", False: "damaged", None: "states no digest"}[sealed.is_intact]
        size = format_bytes(sealed.size_bytes or 0)
        yield "file", f"{run.path} ({size}, schema {sealed.schema}, {state})"
    else:
        yield "file", f"{run.path}, not sealed yet"


def _workload(workload: WorkloadSummary) -> str:
    whole, part = workload.pubs, workload.results
    count = f"{whole}" if part == whole else f"{part} of {whole} with a result,"
    words = [f"{workload.name}: {count} {workload.kind} {'PUB' if whole == 1 else 'PUBs'}"]
    for name, values in (("shots", workload.shots), ("precision", workload.precision)):
        if values:
            low, high = values[0], values[-1]
            words.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    return ", ".join(words)


def _usage(run: Summary) -> str:
    if run.usage_s is None and run.predicted_qpu_s is None:
        return ""
    charged = "none reported" if run.usage_s is None else format_duration(run.usage_s)
    predicted = run.predicted_qpu_s
    return charged + (f" (predicted {format_duration(predicted)} on a QPU)" if predicted else "")


def _missing(missing: MissingPubs) -> str:
    job = f"job {missing.job_id}: " if missing.job_id else ""
    return f"PUBs {_range(missing)} of {missing.workload}: {job}{missing.reason}"


def _jobs(jobs: Sequence[JobRecord]) -> list[Sequence[str]]:
    """Return the rows of jobs, failed ones first where not all are listed."""
    listed = sorted(jobs, key=lambda job: job.state == "DONE")[:_MAX_JOBS]
    return [
        (
            job.workload,
            _range(job),
            job.state if job.attempt == 1 else f"{job.state} (try {job.attempt})",
            _duration(queued_s(job)),
            _duration(ran_s(job)),
            _duration(job.usage_s),
            _duration(job.predicted_qpu_s),
            job.job_id or "none",
        )
        for job in sorted(listed, key=lambda job: job.index)
    ]


def _attempt(attempt: AttemptSummary) -> Sequence[str]:
    job_id = attempt.job_id or "not known"
    return str(attempt.partition), str(attempt.attempt), attempt.state, job_id


def _batch(batch: BatchSummary | OpenBatch) -> str:
    words = [batch.id, f"follows {batch.follows}" if batch.follows else ""]
    if isinstance(batch, BatchSummary):
        words += [
            str(batch.state or ""),
            f"mode {batch.mode}" if batch.mode else "",
            f"max_time {batch.max_time} s" if batch.max_time else "",
        ]
    return ", ".join(filter(None, words))


def _calibration(calibration: Calibration) -> Sequence[str]:
    return (
        _moment(calibration.date)[:16],
        _age(calibration.age_s),
        _scaled(calibration.median_t1_s, 1e6, "µs"),
        _scaled(calibration.median_t2_s, 1e6, "µs"),
        _scaled(calibration.median_readout_error, 100, "%"),
        ("start, " if calibration.is_at_start else "") + f"{calibration.jobs} jobs",
    )


def _software(software: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    installed = dict(line.partition("==")[::2] for line in software["distributions"])
    packages = ", ".join(f"{name} {installed[name]}" for name in _PACKAGES if name in installed)
    commit = software["git_commit"]
    dirty = " with uncommitted changes" if software["git_dirty"] else ""
    yield "python", f"{software['python']} on {software['platform']}"
    yield "packages", f"{packages} ({len(installed)} in all)"
    yield "git commit", f"{commit}{dirty}" if commit else ""


def _more(number: int) -> list[str]:
    return [f"... and {number} more (--json lists all)"] if number > 0 else []


def _range(pubs: MissingPubs | JobRecord) -> str:
    last = pubs.stop - 1
    return str(pubs.first) if pubs.first == last else f"{pubs.first}-{last}"


def _moment(date: str | None) -> str:
    return (date or "").replace("T", " ").partition(".")[0].replace("+00:00", "").rstrip("Z")


def _duration(seconds: float | None) -> str:
    return _format(seconds, format_duration) if (seconds or 0) >= 0 else ""


def _age(seconds: float | None) -> str:
    days = (seconds or 0) / 86_400
    return _format(seconds, lambda s: f"{days:.0f} days" if days >= 2 else f"{s / 3600:.1f} h")


def _scaled(value: float | None, factor: float, unit: str) -> str:
    return _format(value, lambda known: f"{known * factor:.3g} {unit}")


def _format(value: float | None, text: Callable[[float], str]) -> str:
    """Format a finite number; nothing is shown for any other."""
    return text(value) if value is not None and math.isfinite(value) else ""
