"""Values as a page shows them: texts without anything invisible, numbers, durations, dates."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC

from qexp.redact import redact
from qexp.text import format_duration, one_line, parse_time

_CONTROL_PICTURES = 0x2400
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MINUS = "\N{MINUS SIGN}"
_LARGEST = 1e300

UNKNOWN = "not known"


def visible(text: str) -> str:
    """Return a text without secrets and without characters that hide or reorder others.

    Control characters become their pictures (U+2400...). Characters that change the direction of
    writing, or that UTF-8 cannot encode, become U+FFFD.
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
    """Return whether a number can be drawn: it and sums with others like it are finite."""
    return abs(value) < _LARGEST


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
    line = one_line(text or "")
    return line if len(line) <= most else f"{line[: most - 1]}…"


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
