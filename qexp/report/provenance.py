"""Texts of the section on provenance: everything that a run depended on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qexp.report.text import number

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from qexp.archive.records import JobRecord

_MAIN = ("qexp", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy", "scipy", "rustworkx")
_MAX_DETAILS = 300
_MAX_TEXT = 60_000


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
