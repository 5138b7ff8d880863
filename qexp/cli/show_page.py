"""The summary of a run as a page of text, readable at 80 columns."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from qexp.redact import redactor
from qexp.text import format_duration, printable

_STYLES: Final = {"complete": "green", "partial": "yellow", "failed": "red"}
_PACKAGES: Final = ("qexp", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy")
_WIDTH: Final = 100
_MAX_JOBS: Final = 30
_MAX_MISSING: Final = 10
_INDENT: Final = (0, 0, 0, 2)
_DAY_S: Final = 86_400


def print_page(known: Mapping[str, Any]) -> None:
    """Print the summary of a run.

    Args:
        known: What `summarise` or `summarise_unfinished` returned.
    """
    _Page(Console(highlight=False, markup=False, emoji=False, width=_width())).show(known)


def _width() -> int | None:
    return None if sys.stdout.isatty() else _WIDTH


class _Page:
    """Every text of an archive goes through `_text`: it is a stranger's."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._redact: Callable[[str], str] = redactor()

    def show(self, known: Mapping[str, Any]) -> None:
        title = self._text(f"{known['experiment'] or 'a run'}  {known['run_id']}  ", "bold")
        title.append(printable(known["status"]), _STYLES.get(known["status"], "bold"))
        self._out.print(title)
        if known.get("is_intact") is False:
            advice = f"python -m qexp verify {shlex.quote(known['path'])}"
            self._out.print(
                self._text(
                    f"DAMAGED: this file is not what was sealed, and what follows may be wrong; "
                    f"{advice} names what is damaged",
                    "bold red",
                )
            )
        self._lines(_facts(known))
        self._missing(known)
        self._jobs(known.get("jobs_run") or [])
        self._attempts(known.get("attempts") or [])
        self._batches(known.get("batches") or [])
        self._calibrations(known.get("calibrations") or [])
        self._software(known.get("software"))

    def _text(self, text: str, style: str = "") -> Text:
        return Text(self._redact(printable(text)), style)

    def _heading(self, text: str) -> None:
        self._out.print()
        self._out.print(Text(text, "bold"))

    def _lines(self, facts: Iterator[tuple[str, str]]) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=11)
        grid.add_column(overflow="fold")
        for name, value in facts:
            if value:
                grid.add_row(Text(name), self._text(value))
        self._out.print(Padding(grid, _INDENT, expand=False))

    def _table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
        """A table whose first and last column are texts; the last takes what room is left."""
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        for position, header in enumerate(headers):
            is_last = position == len(headers) - 1
            is_left = position < left or is_last
            justify: Any = "left" if is_left else "right"
            table.add_column(
                header, justify=justify, overflow="fold", no_wrap=not is_last, header_style="dim"
            )
        for row in rows:
            table.add_row(*map(self._text, row))
        self._out.print(Padding(table, _INDENT, expand=False))

    def _missing(self, known: Mapping[str, Any]) -> None:
        missing = known.get("missing") or []
        if known["status"] == "planned" or not (missing or known.get("problem")):
            return
        self._heading("missing")
        lines = [known["problem"]] if known.get("problem") else []
        if known.get("stopped"):
            lines.append(f"stopped before its end: {known['stopped']}")
        for item in missing[:_MAX_MISSING]:
            job = f"job {item['job_id']}: " if item["job_id"] else ""
            lines.append(f"PUBs {_range(item)} of {item['workload']}: {job}{item['reason']}")
        if len(missing) > _MAX_MISSING:
            lines.append(f"... and {len(missing) - _MAX_MISSING} more (--json lists all)")
        for line in lines:
            self._out.print(Padding(self._text(line), _INDENT, expand=False))
        if known["can_resume"]:
            path = Path(known["path"])
            folder = path.parent if "jobs_run" in known else path
            line = f"  to go on: python -m qexp resume {shlex.quote(str(folder))}"
            self._out.print(self._text(line), soft_wrap=True)

    def _jobs(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        if not jobs:
            return
        self._heading("jobs")
        failed = [job for job in jobs if job["state"] != "DONE"][:_MAX_JOBS]
        rest = _MAX_JOBS - len(failed)
        done = [job for job in jobs if job["state"] == "DONE"][:rest]
        shown = sorted([*failed, *done], key=lambda job: job["index"])
        rows = [
            (
                job["workload"],
                _range(job),
                job["state"] if job["attempt"] == 1 else f"{job['state']} (try {job['attempt']})",
                _duration(job["queued_s"]),
                _duration(job["ran_s"]),
                _duration(job["usage_s"]),
                _duration(job["predicted_qpu_s"]),
                job["job_id"] or "none",
            )
            for job in shown
        ]
        headers = ("workload", "PUBs", "state", "queued", "ran", "usage", "predicted", "job")
        self._table(headers, rows, left=3)
        if len(shown) < len(jobs):
            more = f"... and {len(jobs) - len(shown)} more (--json lists all)"
            self._out.print(Padding(Text(more), _INDENT, expand=False))

    def _attempts(self, attempts: Sequence[Mapping[str, Any]]) -> None:
        if not attempts:
            return
        self._heading("jobs")
        rows = [
            (str(one["partition"]), str(one["attempt"]), one["state"], one["job_id"] or "not known")
            for one in attempts[:_MAX_JOBS]
        ]
        self._table(("partition", "attempt", "state", "job"), rows, left=0)
        if len(attempts) > _MAX_JOBS:
            more = f"... and {len(attempts) - _MAX_JOBS} more (--json lists all)"
            self._out.print(Padding(Text(more), _INDENT, expand=False))

    def _batches(self, batches: Sequence[Mapping[str, Any]]) -> None:
        if not batches:
            return
        self._heading("batch" if len(batches) == 1 else "batches")
        for batch in batches:
            words = [
                batch["id"],
                f"follows {batch['follows']}" if batch["follows"] else "",
                str(batch.get("state") or ""),
                f"mode {batch['mode']}" if batch.get("mode") else "",
                f"max_time {batch['max_time']} s" if batch.get("max_time") else "",
            ]
            line = self._text(", ".join(word for word in words if word))
            self._out.print(Padding(line, _INDENT, expand=False))

    def _calibrations(self, calibrations: Sequence[Mapping[str, Any]]) -> None:
        if not calibrations:
            return
        self._heading("calibration (medians over the qubits)")
        rows = [
            (
                _moment(item["date"])[:16],
                _age(item["age_s"]),
                _scaled(item["median_t1_s"], 1e6, "µs"),
                _scaled(item["median_t2_s"], 1e6, "µs"),
                _scaled(item["median_readout_error"], 100, "%"),
                ("start, " if item["is_at_start"] else "") + f"{item['jobs']} jobs",
            )
            for item in calibrations
        ]
        headers = ("date", "age at start", "T1", "T2", "readout error", "used by")
        self._table(headers, rows)

    def _software(self, software: Mapping[str, Any] | None) -> None:
        if not software:
            return
        self._heading("software")
        installed = dict(line.partition("==")[::2] for line in software["distributions"])
        packages = ", ".join(f"{name} {installed[name]}" for name in _PACKAGES if name in installed)
        commit = software["git_commit"]
        dirty = " with uncommitted changes" if software["git_dirty"] else ""
        facts = {
            "python": f"{software['python']} on {software['platform']}",
            "packages": f"{packages} ({len(installed)} in all)",
            "git commit": f"{commit}{dirty}" if commit else "",
        }
        self._lines(iter(facts.items()))


def _facts(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    metadata = known.get("metadata") or {}
    yield "title", str(metadata.get("title") or "")
    yield "about", str(metadata.get("description") or "")
    yield "creators", ", ".join(one["name"] for one in metadata.get("creators") or [])
    yield "licence", str(metadata.get("license") or "")
    yield "backend", _backend(known)
    took = _duration(known.get("took_s"))
    yield "started", _moment(known["date"]) + (f", took {took}" if took else "")
    for workload in known.get("workloads") or []:
        yield "workload", _workload(workload)
    if known["jobs"] is not None:
        yield "jobs", f"{known['jobs_done']} of {known['jobs']} have a result"
    yield "usage", _usage(known)
    yield "seed", "" if known["seed"] is None else str(known["seed"])
    yield "overrides", " ".join(known["overrides"])
    for workload, options in (known.get("not_honoured") or {}).items():
        if options:
            yield "no effect", f"{workload}: {', '.join(map(str, options))}"
    yield "data", known.get("data_sha256") or ""
    yield "file", _file(known)


def _backend(known: Mapping[str, Any]) -> str:
    if not known["backend"]:
        return ""
    return f"{known['backend']}, {known['num_qubits']} qubits, engine {known['engine']}"


def _workload(workload: Mapping[str, Any]) -> str:
    whole, part = workload["pubs"], workload["results"]
    count = f"{whole}" if part == whole else f"{part} of {whole} with a result,"
    words = [f"{workload['name']}: {count} {workload['kind']} {'PUB' if whole == 1 else 'PUBs'}"]
    for name in ("shots", "precision"):
        if workload[name]:
            low, high = workload[name][0], workload[name][-1]
            words.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    return ", ".join(words)


def _usage(known: Mapping[str, Any]) -> str:
    actual, predicted = known["usage_s"], known["predicted_qpu_s"]
    if actual is None and predicted is None:
        return ""
    charged = "none reported" if actual is None else format_duration(actual)
    return charged + (f" (predicted {format_duration(predicted)} on a QPU)" if predicted else "")


def _file(known: Mapping[str, Any]) -> str:
    if "schema" not in known:
        return f"{known['path']}, not sealed yet"
    state = {True: "intact", False: "damaged", None: "states no digest"}[known["is_intact"]]
    return f"{known['path']} ({_bytes(known['size_bytes'])}, schema {known['schema']}, {state})"


def _range(item: Mapping[str, Any]) -> str:
    first, last = item["first"], item["stop"] - 1
    return str(first) if first == last else f"{first}-{last}"


def _moment(date: str | None) -> str:
    return (date or "").replace("T", " ").partition(".")[0].replace("+00:00", "").rstrip("Z")


def _known(value: Any) -> float | None:
    """A finite number; `to_jsonable` makes a text of any other, such as `NaN`."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _duration(given: Any) -> str:
    seconds = _known(given)
    return "" if seconds is None or seconds < 0 else format_duration(seconds)


def _age(given: Any) -> str:
    seconds = _known(given)
    if seconds is None:
        return ""
    return f"{seconds / _DAY_S:.0f} days" if seconds >= 2 * _DAY_S else f"{seconds / 3600:.1f} h"


def _scaled(given: Any, factor: float, unit: str) -> str:
    value = _known(given)
    return "" if value is None else f"{value * factor:.3g} {unit}"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
