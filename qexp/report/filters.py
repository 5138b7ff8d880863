"""Functions that templates use as filters, besides those of `qexp.report.text`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING, Any

from qexp.report.text import cut_line, number
from qexp.text import format_ranges, parse_time

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from qexp.archive.records import JobRecord
    from qexp.listing.summary import MissingPubs

_MAIN = ("qexp", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy", "scipy", "rustworkx")
_MAX_DETAILS = 300
_MAX_TEXT = 60_000


def commas(count: int) -> str:
    """Format a whole number: `2,000`."""
    return f"{count:,}"


def spread(counts: Iterable[int]) -> str:
    """Format counts as their median and range: `98 (10 to 239)`."""
    ordered = sorted(counts)
    if not ordered:
        return ""
    low, high = ordered[0], ordered[-1]
    return f"{median(ordered):,.0f}" + (f" ({low:,} to {high:,})" if low != high else "")


def clock(text: str) -> str:
    """Format an ISO 8601 time without its year, `""` where it is no time."""
    time = parse_time(text)
    return f"{time:%-d %b, %H:%M:%S}" if time else ""


def command(archive: Archive) -> str:
    """Return the command line that starts such a run."""
    return shlex.join(["python", "-m", "qexp", *archive.overrides])


def main_packages(distributions: list[str]) -> list[tuple[str, str]]:
    """Return names and versions of the packages that matter most."""
    installed = dict(item.partition("==")[::2] for item in distributions)
    return [(name, installed[name]) for name in _MAIN if name in installed]


def first_options(jobs: Iterable[JobRecord]) -> dict[str, Any]:
    """Return the options of each workload's first job, as finalised."""
    options: dict[str, Any] = {}
    for job in jobs:
        options.setdefault(job.workload, job.options)
    return options


def by_reason(missing: Iterable[MissingPubs]) -> list[tuple[str, str, int, str]]:
    """Join PUBs of a workload that have no result for the same reason.

    Returns:
        Workload, indices of the PUBs such as `0-9, 40-99`, number of jobs that failed, reason.
    """
    groups: dict[tuple[str, str], list[MissingPubs]] = {}
    for each in missing:
        reason = each.reason
        if each.state and not reason.startswith(each.state):
            reason = f"{each.state}, {reason}"
        groups.setdefault((each.workload, cut_line(reason, _MAX_DETAILS)), []).append(each)
    return [
        (
            workload,
            format_ranges(pub for each in group for pub in range(each.first, each.stop)),
            len({each.job_id for each in group if each.state}),
            reason,
        )
        for (workload, reason), group in groups.items()
    ]


def json_text(value: Any) -> str:
    """Return a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)


def cut(text: str) -> str:
    """Return a text without what is beyond 60,000 characters."""
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}\n… (cut here: {len(text):,} characters; the archive has all of it)"


def event_details(event: dict[str, Any]) -> str:
    """Return what a journal's event says besides its kind and time, in one line."""
    text = ", ".join(
        f"{name} {len(value)} digests"
        if name == "parts" and isinstance(value, list)
        else f"{name} {value}"
        for name, value in event.items()
        if name not in ("time", "event", "crc32") and value is not None
    )
    return text if len(text) <= _MAX_DETAILS else f"{text[: _MAX_DETAILS - 1]}…"


def limit(value: Any) -> str:
    """Format the value of a limit."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else number(value, 6)
