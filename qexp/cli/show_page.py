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

from qexp.core.model import is_charge_pending
from qexp.listing.summary import (
    MissingPubs,
    RunDetails,
    Software,
    WorkloadSummary,
    seconds_between,
)
from qexp.redact import redactor
from qexp.text import format_bytes, format_duration, printable

if TYPE_CHECKING:
    from qexp.archive.jobs import JobRecord

_STYLES: Final = {"complete": "green", "partial": "yellow", "failed": "red"}
_PACKAGES: Final = ("qexp", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy")
_MAX_JOBS: Final = 30
_MAX_MISSING: Final = 10

Columns: TypeAlias = Mapping[str, Callable[[Any], str]]
"""Header of a column -> function of an item that gives its cell."""


def format_page(run: RunDetails, width: int, *, is_terminal: bool = False) -> str:
    """Format the summary of a run in `width` columns, with colours and bold text on a terminal."""
    page = Page(width, is_terminal=is_terminal)
    page.print_identity(run)
    page.print_missing(run)
    # Failed ones first where not all are listed.
    jobs = sorted(run.jobs_run, key=lambda job: job.state == "DONE")[:_MAX_JOBS]
    jobs.sort(key=lambda job: job.index)
    page.print_table("jobs", _JOB, jobs, len(run.jobs_run), left=3)
    page.print_table("jobs", _ATTEMPT, run.attempts[:_MAX_JOBS], len(run.attempts), left=0)
    page.print_lines("batch" if len(run.batches) == 1 else "batches", map(_batch, run.batches))
    calibrations = run.calibrations
    page.print_table(
        "calibration (medians over the qubits)", _CALIBRATION, calibrations, len(calibrations)
    )
    if run.schema is not None:
        page.print_facts(_software(run.software), "software")
    return page.text


class Page:
    """Prints sections; every text of an archive goes through `_text`, as it is untrusted."""

    def __init__(self, width: int, *, is_terminal: bool = False) -> None:
        self._written = io.StringIO()
        self._out = Console(
            file=self._written,
            width=width,
            force_terminal=is_terminal or None,
            highlight=False,
            emoji=False,
        )
        self._redact = redactor()

    @property
    def text(self) -> str:
        """The page so far."""
        return self._written.getvalue()

    def print_title(self, title: str, status: str) -> None:
        """Print the first line."""
        text = self._text(f"{title}  ", "bold")
        text.append(printable(status), _STYLES.get(status, "bold"))
        self._out.print(text)

    def print_command(self, command: str) -> None:
        """Print a command on one line, however long, so that it can be copied."""
        self._out.print(self._text(f"  {command}"), soft_wrap=True)

    def print_identity(self, run: RunDetails) -> None:
        """Print the first line and the facts of a run."""
        self.print_title(f"{run.experiment or 'a run'}  {run.run_id}", run.status)
        if run.is_intact is False:
            warning = (
                f"DAMAGED: this file is not what was sealed, and what follows may be wrong; "
                f"python -m qexp verify {shlex.quote(run.path)} names what is damaged"
            )
            self._out.print(self._text(warning, "bold red"))
        self.print_facts(_facts(run))

    def print_missing(self, run: RunDetails) -> None:
        """Print the results that a run lacks, and how to go on."""
        path = Path(run.path)
        if run.schema is None:
            lines, folder = [run.problem or ""], path
        elif run.missing and run.status != "planned":
            lines = [f"stopped before its end: {run.stopped}"] if run.stopped else []
            for one in run.missing[:_MAX_MISSING]:
                job = f"job {one.job_id}: " if one.job_id else ""
                lines.append(f"PUBs {_range(one)} of {one.workload}: {job}{one.reason}")
            lines += _more(len(run.missing) - _MAX_MISSING)
            folder = path.parent
        else:
            return
        self.print_lines("missing", lines)
        if run.can_resume:
            from qexp.resumption import modules_to_trust

            command = f"to go on: python -m qexp resume {shlex.quote(str(folder))}"
            if modules := modules_to_trust(run.config):
                command += f" (add --trust {' --trust '.join(modules)} if you trust that code)"
            self.print_command(command)

    def print_facts(self, facts: Iterable[tuple[str, str]], heading: str = "") -> None:
        """Print names with their values, as far as they have any."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=11)
        grid.add_column(overflow="fold")
        for name, value in facts:
            if value:
                grid.add_row(Text(name), self._text(value))
        self._print(heading, grid)

    def print_table(
        self, heading: str, columns: Columns, items: Sequence[Any], num_all: int, left: int = 1
    ) -> None:
        """Print a table; the first columns and the last are texts, which takes the room left."""
        if not items:
            return
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        last = len(columns) - 1
        for position, header in enumerate(columns):
            table.add_column(
                header,
                justify="left" if position < left or position == last else "right",
                overflow="fold",
                no_wrap=position != last,
                header_style="dim",
            )
        for item in items:
            table.add_row(*(self._text(cell(item)) for cell in columns.values()))
        self._print(heading, table, *map(Text, _more(num_all - len(items))))

    def print_lines(self, heading: str, lines: Iterable[str]) -> None:
        """Print lines, if there are any."""
        if texts := [self._text(line) for line in lines]:
            self._print(heading, *texts)

    def _print(self, heading: str, *lines: RenderableType) -> None:
        if heading:
            self._out.print()
            self._out.print(Text(heading, "bold"))
        for line in lines:
            self._out.print(Padding(line, (0, 0, 0, 2), expand=False))

    def _text(self, text: str, style: str = "") -> Text:
        return Text(self._redact(printable(text)), style)


def _facts(run: RunDetails) -> Iterator[tuple[str, str]]:
    metadata = run.metadata
    yield "title", str(metadata.get("title") or "")
    yield "about", str(metadata.get("description") or "")
    yield "creators", ", ".join(one["name"] for one in metadata.get("creators") or [])
    yield "licence", str(metadata.get("license") or "")
    if run.backend:
        yield "backend", f"{run.backend}, {run.num_qubits} qubits, engine {run.engine}"
    took = duration(run.took_s)
    yield "started", _moment(run.date) + (f", took {took}" if took else "")
    for workload in run.workloads:
        yield "workload", _workload(workload)
    if run.jobs is not None:
        yield "jobs", f"{run.jobs_done} of {run.jobs} have a result"
    yield "usage", _usage(run)
    yield "seed", "" if run.seed is None else str(run.seed)
    yield "overrides", " ".join(run.overrides)
    for name, options in run.not_honoured.items():
        if options:
            yield "no effect", f"{name}: {', '.join(map(str, options))}"
    errors: dict[str, float] = {}
    for job in run.jobs_run:
        errors |= job.info.get("approximated_noise", {})
    if errors:
        name, largest = max(errors.items(), key=lambda item: item[1])
        count = f"{len(errors)} error" + "s" * (len(errors) > 1)
        yield "noise", f"{count} approximated, by up to {largest:.1e} ({name})"
    yield "data", run.data_sha256 or ""
    if run.schema is None:
        yield "file", f"{run.path}, not sealed yet"
    else:
        state = {True: "intact", False: "damaged", None: "states no digest"}[run.is_intact]
        size = format_bytes(run.size_bytes or 0)
        yield "file", f"{run.path} ({size}, schema {run.schema}, {state})"


def _workload(workload: WorkloadSummary) -> str:
    whole, part = workload.pubs, workload.results
    count = f"{whole}" if part == whole else f"{part} of {whole} with a result,"
    words = [f"{workload.name}: {count} {workload.kind} {'PUB' if whole == 1 else 'PUBs'}"]
    for name, values in (("shots", workload.shots), ("precision", workload.precision)):
        if values:
            low, high = values[0], values[-1]
            words.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    return ", ".join(words)


def _usage(run: RunDetails) -> str:
    if run.usage_s is None and run.predicted_qpu_s is None:
        return ""
    charged = "none reported" if run.usage_s is None else format_duration(run.usage_s)
    if run.usage_pending:
        charged += f", {run.usage_pending} of {len(run.jobs_run)} charges pending"
    predicted = run.predicted_qpu_s
    return charged + (f" (predicted {format_duration(predicted)} on a QPU)" if predicted else "")


def _batch(batch: Mapping[str, Any]) -> str:
    words = [batch["id"], f"follows {batch['follows']}" if batch["follows"] else ""]
    words.append(str(batch.get("state") or ""))
    words.append(f"mode {batch['mode']}" if batch.get("mode") else "")
    words.append(f"max_time {batch['max_time']} s" if batch.get("max_time") else "")
    return ", ".join(word for word in words if word)


def _software(software: Software) -> Iterator[tuple[str, str]]:
    installed = dict(line.partition("==")[::2] for line in software.distributions)
    packages = ", ".join(f"{name} {installed[name]}" for name in _PACKAGES if name in installed)
    dirty = " with uncommitted changes" if software.git_dirty else ""
    yield "python", f"{software.python} on {software.platform}"
    yield "packages", f"{packages} ({len(installed)} in all)"
    yield "git commit", f"{software.git_commit}{dirty}" if software.git_commit else ""


def _more(number: int) -> list[str]:
    return [f"... and {number} more (--json lists all)"] if number > 0 else []


def _range(pubs: MissingPubs | JobRecord) -> str:
    last = pubs.stop - 1
    return str(pubs.first) if pubs.first == last else f"{pubs.first}-{last}"


def _moment(date: str | None) -> str:
    return (date or "").replace("T", " ").partition(".")[0].replace("+00:00", "").rstrip("Z")


def duration(seconds: float | None) -> str:
    """Format a time that is finite and not negative; nothing is shown for any other."""
    return "" if seconds is None or not 0 <= seconds < math.inf else format_duration(seconds)


def _age(seconds: float | None) -> str:
    is_old = (seconds or 0) >= 2 * 86_400
    return _scaled(seconds, *((1 / 86_400, "days", ".0f") if is_old else (1 / 3600, "h", ".1f")))


def _scaled(value: float | None, factor: float, unit: str, form: str = ".3g") -> str:
    """Format a finite number; nothing is shown for any other."""
    return f"{value * factor:{form}} {unit}" if value is not None and math.isfinite(value) else ""


_JOB: Final[Columns] = {
    "workload": lambda job: job.workload,
    "PUBs": _range,
    "state": lambda job: job.state if job.attempt == 1 else f"{job.state} (try {job.attempt})",
    "queued": lambda job: duration(seconds_between(job.created, job.running)),
    "ran": lambda job: duration(seconds_between(job.running, job.finished)),
    "usage": lambda job: "pending" if is_charge_pending(job.metrics) else duration(job.usage_s),
    "predicted": lambda job: duration(job.predicted_qpu_s),
    "job": lambda job: job.job_id or "none",
}
_ATTEMPT: Final[Columns] = {
    "partition": lambda attempt: str(attempt["partition"]),
    "attempt": lambda attempt: str(attempt["attempt"]),
    "state": lambda attempt: attempt["state"],
    "job": lambda attempt: attempt["job_id"] or "not known",
}
_CALIBRATION: Final[Columns] = {
    "date": lambda one: _moment(one.date)[:16],
    "age at start": lambda one: _age(one.age_s),
    "T1": lambda one: _scaled(one.median_t1_s, 1e6, "µs"),
    "T2": lambda one: _scaled(one.median_t2_s, 1e6, "µs"),
    "readout error": lambda one: _scaled(one.median_readout_error, 100, "%"),
    "used by": lambda one: ("start, " if one.is_at_start else "") + f"{one.jobs} jobs",
}
