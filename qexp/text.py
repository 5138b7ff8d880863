"""Text for people: one-line errors, safe output, tables, index ranges, sizes, durations, times."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

_LONGEST_REASON = 300
_PATTERN = re.compile(
    r"\s*(?:([0-9]{1,9})\s*h)?\s*(?:([0-9]{1,9})\s*m)?\s*(?:([0-9]{1,9})\s*s)?\s*"
)
_ALLOWED = 'allowed are "25m", "2h 30m 40s", a whole number of seconds above 0, or null'


def one_line(text: object) -> str:
    """Join the words of a text, or of the text of an exception, with single spaces."""
    return " ".join(str(text).split())


def shortened(text: str, most: int) -> str:
    """Return a text without what is beyond `most` characters, with an ellipsis in its place."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def error_reason(error: BaseException) -> str:
    """Return the message of an exception on one line of at most 300 characters.

    An exception without a message is named by its type.
    """
    return shortened(one_line(error) or type(error).__name__, _LONGEST_REASON)


def typed_reason(error: BaseException) -> str:
    """Return the type and the message of an exception on one line: `ValueError: no such gate`."""
    reason, name = error_reason(error), type(error).__name__
    return name if reason == name else f"{name}: {reason}"


def printable(text: str) -> str:
    r"""Return untrusted text as one line that cannot steer a terminal or hide anything.

    Line breaks and tabs become spaces, and every other character that cannot be seen, lone
    surrogates included, its Python escape, such as `\x1b`.
    """
    if text.isprintable():
        return text
    return "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\n\r\t":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def html_table(rows: Iterable[Sequence[str]], headers: Sequence[str] = ()) -> str:
    """Return a table for a notebook, all text escaped; the first of each row is its heading."""
    from html import escape

    style = "text-align: left; vertical-align: top"

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="{style}">{escape(printable(text))}</{tag}>' for text in texts
        )

    head = f"<thead><tr>{cells('th', headers)}</tr></thead>" if headers else ""
    body = "".join(f"<tr>{cells('th', row[:1])}{cells('td', row[1:])}</tr>" for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def short_path(path: Path) -> str:
    """Return a path as a person would type it in the current folder.

    The current folder itself and a file right in it are given in full: with `hydra.job.chdir` it is
    the run's own folder, and its user stands elsewhere.
    """
    here = Path.cwd()
    is_here = path == here or (path.parent == here and path.is_file())
    return str(path.relative_to(here) if path.is_relative_to(here) and not is_here else path)


def typed_path(given: str | Path) -> Path:
    """Return a path that a person typed, with `~` as their home folder, if there is one."""
    # `Path.expanduser` raises where it knows no home.
    return Path(os.path.expanduser(given))


def format_ranges(indices: Iterable[int], most: int = 8) -> str:
    """Format indices in any order as short text, `most` ranges at the most: `0-4, 7, 9-12`."""
    runs: list[list[int]] = []
    ordered = sorted(set(indices))
    for index in ordered:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    listed = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:most]]
    more = f", ... ({len(ordered)} in all)" if len(runs) > most else ""
    return ", ".join(listed) + more


def format_bytes(size: int) -> str:
    """Format a size in powers of 1000: `"999 B"`, `"1.5 kB"`, `"48.2 MB"`."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


Precision = Literal["seconds", "milliseconds", "microseconds"]


def utc_text(moment: datetime, precision: Precision = "microseconds") -> str:
    """Format a time as ISO 8601 in UTC with a `Z`: `2026-11-22T09:15:00.123456Z`.

    One without a time zone is taken as UTC; `precision` is the smallest unit in the text.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def utc_now(precision: Precision = "microseconds") -> str:
    """Format the present time as `utc_text` does."""
    return utc_text(datetime.now(UTC), precision)


def parse_time(text: str) -> datetime | None:
    """Read an ISO 8601 time; one without a time zone is taken as UTC, None where it is no time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_duration_s(value: str | int | float | None) -> int | None:
    """Read a duration: whole seconds, at least 1, or None for None.

    Args:
        value: `"1h30m"`, `"2h 30m 40s"`, `"90s"` (hours, minutes, seconds, in this order, each
            at most once), a whole number of seconds, or None.

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
    """A duration for people, tenths of seconds below ten: `"4.1s"`, `"45s"`, `"2h 30m 40s"`."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m {rest}s"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
