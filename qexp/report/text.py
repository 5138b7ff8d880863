"""Values as a report shows them: texts without anything invisible in them, numbers, times."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime

from qexp.redact import redact

_KEPT = "\n\t"
_CONTROL_PICTURES = 0x2400
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MINUS = "\N{MINUS SIGN}"
_LARGEST = 1e300


def visible(text: str) -> str:
    """`text` as it may be shown: no secret, and no character that hides or reorders others.

    Control characters become their pictures (U+2400...), what changes the direction of writing, and
    what UTF-8 cannot encode, becomes U+FFFD.
    """
    text = redact(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character.isprintable() or character in _KEPT:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    if unicodedata.category(character) in ("Zs", "Cn", "Co"):
        return character
    return _REPLACEMENT


def is_finite(value: float) -> bool:
    """Whether a number can be drawn: finite, and so are sums and differences of such numbers."""
    return abs(value) < _LARGEST


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits: `0.981`, `1,240`, `3.2e-05`, `−0.5`."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: f"{_MINUS}∞"}.get(value, "not a number")
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-4 or size >= 1e9:
        text = f"{value:.{digits - 1}e}"
    elif size >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    else:
        decimals = digits - 1 - math.floor(math.log10(size))
        text = f"{value:.{decimals}f}"
    return text.replace("-", _MINUS, 1) if value < 0 else text


def plain_number(value: float) -> str:
    """A tick's or swept value: as short as it can be without losing anything."""
    text = f"{value:.10g}"
    return text.replace("-", _MINUS, 1) if value < 0 else text


def percent(value: float) -> str:
    """A share: `98.1 %`, `0.82 %`."""
    return f"{number(100 * value)} %"


def seconds(value: float) -> str:
    """A duration: `420 ms`, `4.1 s`, `1 min 57 s`, `3 h 2 min`, `not known` if not finite."""
    if not is_finite(value):
        return "not known"
    if value < 0:
        return f"{_MINUS}{seconds(-value)}"
    if value < 59.95:
        return _short_time(value)
    whole = round(value)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _short_time(value: float) -> str:
    for least, factor, unit in ((0.9995, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs")):
        if value >= least and value:
            return f"{number(value * factor)} {unit}"
    return "0 s"


def plural(count: int, noun: str) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment(text: str) -> datetime | None:
    """A time as archives hold it (ISO 8601), None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def date(text: str) -> str:
    """A time for people, in UTC; itself where it is none."""
    found = moment(text)
    return found.astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC") if found else text
