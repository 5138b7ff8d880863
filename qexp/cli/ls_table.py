"""The listing as a table of lines: laid out here, as Rich's table takes a second for 2,000 runs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style

from qexp.listing.entry import Entry
from qexp.listing.where import values_of
from qexp.redact import redact
from qexp.text import format_duration, printable

_STYLES: Final = {
    "complete": Style(color="green"),
    "partial": Style(color="yellow"),
    "failed": Style(color="red"),
    "damaged": Style(color="red", bold=True),
    "unreadable": Style(color="red", bold=True),
}
_UNFIT: Final = ("damaged", "unreadable")
_SHOWN: Final = {"status", "backend", "results", "usage_s", "path", "run_id", "date", "problem"}
_RIGHT: Final = {"results", "usage"}
_MAX_PROBLEMS: Final = 20
_WIDEST: Final = 40
_GAP: Final = "  "


def print_table(
    shown: Sequence[Entry],
    found: Sequence[Entry],
    root: Path,
    keys: Sequence[str],
    *,
    num_all: int,
) -> None:
    """Print a listing, a count by status, and what is wrong with runs that cannot be read.

    Args:
        shown: The runs that are listed.
        found: Those that fulfil the conditions.
        root: The folder that was listed.
        keys: Keys by which it was filtered or sorted; each gets a column.
        num_all: Number of runs in the folder.
    """
    lines = []
    if shown:
        lines = _table(shown, root, [key for key in dict.fromkeys(keys) if key not in _SHOWN])
        lines.append("")
    lines.append(_summary(shown, found, root, num_all))
    wrong = [entry for entry in shown if entry.status in _UNFIT]
    lines += [printable(f"{entry.status}: {entry.problem}") for entry in wrong[:_MAX_PROBLEMS]]
    if len(wrong) > _MAX_PROBLEMS:
        more = len(wrong) - _MAX_PROBLEMS
        lines.append(f"... and {more} more: --where 'status in {','.join(_UNFIT)}' --json")
    sys.stdout.write(redact("\n".join(lines)) + "\n")


def _table(entries: Sequence[Entry], root: Path, keys: Sequence[str]) -> list[str]:
    """Numbers are right-aligned; the run is last, so that long paths do not spoil the columns."""
    names = ["status", "backend", "results", "usage", *map(printable, keys), "run"]
    rows = [[printable(cell) for cell in _cells(entry, root, keys)] for entry in entries]
    columns = list(zip(names, *rows, strict=True))
    widths = [min(_WIDEST, max(map(cell_len, column))) for column in columns]
    widths[-1] = 0
    right = [name in _RIGHT or _is_numeric(cells) for name, *cells in columns]
    styles = _styles() if sys.stdout.isatty() else {}
    lines = [_line(names, widths, right)]
    lines.append("─" * cell_len(lines[0]))
    for entry, row in zip(entries, rows, strict=True):
        line = _line(row, widths, right)
        start, end = styles.get(entry.status, ("", ""))
        lines.append(f"{start}{line[: len(entry.status)]}{end}{line[len(entry.status) :]}")
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, is_right in zip(cells, widths, right, strict=True):
        fill = " " * (width - cell_len(cell))
        padded.append(fill + cell if is_right else cell + fill)
    return _GAP.join(padded).rstrip()


def _styles() -> dict[str, tuple[str, str]]:
    """What begins and ends the colour of a status on this terminal."""
    console = Console()
    if not console.color_system or console.no_color:
        return {}
    marked = {name: style.render("|") for name, style in _STYLES.items()}
    return {name: (text.partition("|")[0], text.partition("|")[2]) for name, text in marked.items()}


def _is_numeric(cells: Sequence[str]) -> bool:
    return all(cell == "" or cell.lstrip("-")[:1].isdigit() for cell in cells[:50])


def _cells(entry: Entry, root: Path, keys: Sequence[str]) -> list[str]:
    return [
        entry.status,
        entry.backend or "",
        _of(entry.results, entry.pubs),
        "" if entry.usage_s is None else format_duration(entry.usage_s),
        *(", ".join(map(_shown, values_of(entry, key))) for key in keys),
        _place(entry, root),
    ]


def _place(entry: Entry, root: Path) -> str:
    path = Path(entry.path)
    folder = path if entry.size_bytes is None else path.parent
    relative = str(folder.relative_to(root)) if folder.is_relative_to(root) else "."
    return str(path) if relative == "." else relative


def _of(part: int | None, whole: int | None) -> str:
    if part is None or whole is None:
        return ""
    return str(whole) if part == whole else f"{part}/{whole}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _summary(shown: Sequence[Entry], found: Sequence[Entry], root: Path, num_all: int) -> str:
    counts = Counter(entry.status for entry in found)
    states = ", ".join(f"{number} {printable(name)}" for name, number in counts.most_common())
    listed = f"{len(found)} of {num_all}" if len(found) != num_all else str(num_all)
    text = f"{listed} {'run' if num_all == 1 else 'runs'} in {printable(str(root))}"
    text = f"{text}: {states}" if states else text
    return text if len(shown) == len(found) else f"{text}; {len(shown)} are listed"
