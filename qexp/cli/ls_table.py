"""The listing as a table of lines: laid out here, as Rich's table takes a second for 2,000 runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style

from qexp.listing.filters import as_text, values_of
from qexp.listing.runs import RunTable
from qexp.listing.summary import RunEntry
from qexp.text import format_duration, printable

_STYLES: Final = {
    "complete": Style(color="green"),
    "partial": Style(color="yellow"),
    "failed": Style(color="red"),
    "damaged": Style(color="red", bold=True),
    "unreadable": Style(color="red", bold=True),
}
_UNFIT: Final = ("damaged", "unreadable")
_SHOWN: Final = ("status", "backend", "results", "usage_s", "path", "run_id", "date", "problem")
_RIGHT: Final = {"results", "usage"}
_MAX_PROBLEMS: Final = 20
_WIDEST: Final = 40
_GAP: Final = "  "


def format_table(runs: RunTable) -> str:
    """Format a listing, a count by status, and what is wrong with runs that cannot be read.

    Keys by which the runs were filtered or sorted get columns of their own.
    """
    lines = [*_table(runs), ""] if len(runs) else []
    lines.append(printable(str(runs)))
    unfit = [run for run in runs if run.status in _UNFIT]
    lines += [printable(f"{run.status}: {run.problem}") for run in unfit[:_MAX_PROBLEMS]]
    if len(unfit) > _MAX_PROBLEMS:
        more = len(unfit) - _MAX_PROBLEMS
        lines.append(f"... and {more} more: --where 'status in {','.join(_UNFIT)}' --json")
    return "\n".join(lines)


def _table(runs: RunTable) -> list[str]:
    """Lay out the columns; the run is last, so that long paths do not spoil the others."""
    keys = [key for key in runs.keys if key not in _SHOWN]
    names = ["status", "backend", "results", "usage", *map(printable, keys), "run"]
    rows = [[printable(cell) for cell in _cells(run, runs.root, keys)] for run in runs]
    columns = list(zip(names, *rows, strict=True))
    widths = [min(_WIDEST, max(map(cell_len, column))) for column in columns]
    widths[-1] = 0
    right = [name in _RIGHT or _is_numeric(cells) for name, *cells in columns]
    styles = _styles() if sys.stdout.isatty() else {}
    header = _line(names, widths, right)
    lines = [header, "─" * cell_len(header)]
    for run, row in zip(runs, rows, strict=True):
        line = _line(row, widths, right)
        start, end = styles.get(run.status, ("", ""))
        lines.append(f"{start}{line[: len(run.status)]}{end}{line[len(run.status) :]}")
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, is_right in zip(cells, widths, right, strict=True):
        fill = " " * (width - cell_len(cell))
        padded.append(fill + cell if is_right else cell + fill)
    return _GAP.join(padded).rstrip()


def _styles() -> dict[str, tuple[str, str]]:
    """Return the codes that begin and end the colour of each status on this terminal."""
    console = Console()
    if not console.color_system or console.no_color:
        return {}
    marked = {status: style.render("|").partition("|") for status, style in _STYLES.items()}
    return {status: (start, end) for status, (start, _, end) in marked.items()}


def _is_numeric(cells: Sequence[str]) -> bool:
    return all(cell == "" or cell.lstrip("-")[:1].isdigit() for cell in cells[:50])


def _cells(run: RunEntry, root: Path, keys: Sequence[str]) -> list[str]:
    results = "" if run.results is None or run.pubs is None else f"{run.results}/{run.pubs}"
    return [
        run.status,
        run.backend or "",
        str(run.pubs) if run.results == run.pubs and results else results,
        "" if run.usage_s is None else format_duration(run.usage_s),
        *(", ".join(map(as_text, values_of(run, key))) for key in keys),
        _place(run, root),
    ]


def _place(run: RunEntry, root: Path) -> str:
    path = Path(run.path)
    folder = path if run.size_bytes is None else path.parent
    relative = str(folder.relative_to(root)) if folder.is_relative_to(root) else "."
    return str(path) if relative == "." else relative
