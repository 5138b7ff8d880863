"""Values as a page shows them: texts, numbers, durations, dates; the filters of templates."""

from __future__ import annotations

import json
import math
import shlex
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC
from statistics import median
from typing import Any

from qexp.archive.jobs import JobRecord
from qexp.archive.read import Archive
from qexp.listing.summary import MissingPubs
from qexp.text import format_duration, format_ranges, one_line, parse_time, shortened

_CONTROL_PICTURES = 0x2400
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MINUS = "\N{MINUS SIGN}"
_LARGEST = 1e300
_MAIN = ("qexp", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy", "scipy", "rustworkx")
_MAX_DETAILS = 300
_MAX_TEXT = 60_000

UNKNOWN = "not known"


def visible(text: str, redact: Callable[[str], str]) -> str:
    """Return a text without secrets and without characters that hide or reorder others.

    Control characters become their pictures (U+2400...). Characters that change the direction of
    writing, or that UTF-8 cannot encode, become U+FFFD. One `redact` serves a whole page.
    """
    text = redact(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    code = ord(character)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return character if unicodedata.category(character) in ("Zs", "Cn", "Co") else _REPLACEMENT


def is_finite(value: float) -> bool:
    """Return True if a number can be drawn: sums with others of its size are finite, too."""
    return abs(value) < _LARGEST


def finite(value: Any) -> float | None:
    """Return a number that can be drawn as a float, None for anything else."""
    return float(value) if isinstance(value, int | float) and is_finite(value) else None


def number(value: float, digits: int = 3) -> str:
    """Format a number with some significant digits: `0.981`, `1,240`, `3.2e-05`, `−0.5`."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: f"{_MINUS}∞"}.get(value, "not a number")
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-4 or size >= 1e9:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"
    return text.replace("-", _MINUS, 1) if value < 0 else text


def plain_number(value: float) -> str:
    """Format the value of a tick or a swept key as shortly as possible without losing anything."""
    text = f"{value:.10g}"
    return text.replace("-", _MINUS, 1) if value < 0 else text


def percent(share: float | None) -> str:
    """Format a share: `98.1 %`, `0.82 %`, `""` for None."""
    return "" if share is None else f"{number(100 * share)} %"


def microseconds(seconds: float | None) -> str:
    """Format a time of a qubit: `145 µs`, `""` for None."""
    return "" if seconds is None else f"{number(seconds * 1e6)} µs"


def duration(seconds: float | None) -> str:
    """Format a duration: `420ms`, `4.1s`, `1m 57s`, `""` for None, `not known` for NaN."""
    if seconds is None:
        return ""
    if not is_finite(seconds):
        return UNKNOWN
    if seconds < 0:
        return f"{_MINUS}{duration(-seconds)}"
    if seconds >= 0.9995:
        return format_duration(seconds)
    for factor, unit in ((1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{number(seconds * factor)}{unit}"
    return f"{number(seconds * 1e6)}µs" if seconds else "0s"


def upper_first(sentence: str) -> str:
    """Return a sentence with its first letter as a capital."""
    return sentence[:1].upper() + sentence[1:]


def plural(count: int, noun: str) -> str:
    """Format a number of things: `1 job`, `2,000 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def cut_line(text: str | None, most: int = 200) -> str:
    """Return a text on one line, without what is beyond `most` characters."""
    return shortened(one_line(text or ""), most)


def date(text: str) -> str:
    """Format an ISO 8601 time in UTC for people; any other text stays as it is."""
    time = parse_time(text)
    return time.astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC") if time else text


def left_out(count: int) -> str:
    """Return a sentence on expectation values that are not shown, `""` for none."""
    if not count:
        return ""
    are = "is" if count == 1 else "are"
    return f"{plural(count, 'expectation value')} that {are} not finite {are} left out."


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
    """Join PUBs that lack a result: workload, indices (`0-9, 40-99`), jobs that failed, reason."""
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
    each = (
        f"{name} {len(value)} digests"
        if name == "parts" and isinstance(value, list)
        else f"{name} {value}"
        for name, value in event.items()
        if name not in ("time", "event", "crc32") and value is not None
    )
    return shortened(", ".join(each), _MAX_DETAILS)


def limit(value: Any) -> str:
    """Format the value of a limit."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else number(value, 6)
