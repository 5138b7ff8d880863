"""Durations as people write them: `"25m"`, `"2h 30m 40s"`, seconds."""

from __future__ import annotations

import math
import re

_PATTERN = re.compile(
    r"\s*(?:([0-9]{1,9})\s*h)?\s*(?:([0-9]{1,9})\s*m)?\s*(?:([0-9]{1,9})\s*s)?\s*"
)
_ALLOWED = 'allowed are "25m", "2h 30m 40s", a whole number of seconds above 0, or null'


def parse_duration_s(value: str | int | float | None) -> int | None:
    """Read a duration.

    Args:
        value: `"1h30m"`, `"2h 30m 40s"`, `"90s"` (hours, minutes, seconds, in this order, each
            at most once), a whole number of seconds, or None.

    Returns:
        Whole seconds, at least 1, or None for None.

    Raises:
        ValueError: The value is malformed, zero or negative. One line that says what is allowed.
    """
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None or seconds <= 0:
        raise ValueError(f"{value!r} is not a duration; {_ALLOWED}")
    return seconds


def _seconds(value: str | int | float) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _PATTERN.fullmatch(value)
        if match is None:
            return None
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds
    if isinstance(value, (int, float)) and math.isfinite(value) and value == int(value):
        return int(value)
    return None


def format_duration(seconds: float) -> str:
    """A duration for people: `"4.1s"`, `"45s"`, `"25m 0s"`, `"2h 30m 40s"`.

    Args:
        seconds: Seconds, `>= 0`; shown in tenths below ten seconds, in whole seconds above.
    """
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m {rest}s"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
