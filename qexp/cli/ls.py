"""`ls`: the runs in a folder, as a table for people or as JSON for programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qexp.cli.output import print_json
from qexp.cli.verbs import add_json, whole_number
from qexp.text import format_duration, printable

if TYPE_CHECKING:
    from qexp.listing.runs import RunTable
    from qexp.listing.summary import RunEntry

_EPILOG = """
A condition is KEY OP VALUE. KEY is a field of the listing (status, experiment, date,
backend, engine, usage_s, ...) or a key of the run's config by its dotted path. OP is one of
== != < <= > >= ~ (contains) in, 'not in'. Conditions joined by & or given in several --where
all have to hold. What has been read once comes from an index in the user's cache folder.
All fields and rules: docs/archive-commands.md.

examples:
  python -m qexp ls
  python -m qexp ls --where 'circuits.depth>=4 & status!=complete' --sort usage_s
  python -m qexp ls /data/runs --where 'backend in fake_manila,fake_lima' --json
"""
_CLEAR_LINE = "\r\x1b[K"
_STYLES: Final = {
    "complete": "green",
    "partial": "yellow",
    "failed": "red",
    "damaged": "bold red",
    "unreadable": "bold red",
}
_UNFIT: Final = ("damaged", "unreadable")
_SHOWN: Final = ("status", "backend", "results", "usage_s", "path", "run_id", "date", "problem")
_RIGHT: Final = {"results", "usage"}
_MAX_PROBLEMS: Final = 20
_WIDEST: Final = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default="outputs", help="folder with runs (outputs)"
    )
    parser.add_argument(
        "--where",
        metavar="EXPR",
        action="append",
        default=[],
        help="list only runs that fulfil this; may be repeated",
    )
    parser.add_argument(
        "--sort", metavar="KEY", help="sort by a field or a key of the config (newest first)"
    )
    parser.add_argument("--reverse", action="store_true", help="sort the other way round")
    parser.add_argument("--limit", metavar="N", type=whole_number, help="list the first N only")
    add_json(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="read all runs again, whatever the index holds"
    )


def run(given: argparse.Namespace) -> int:
    """List the runs."""
    from qexp.listing.runs import list_runs

    is_watched = sys.stderr.isatty()
    try:
        runs = list_runs(
            given.path,
            *given.where,
            sort=given.sort,
            reverse=given.reverse,
            limit=given.limit,
            fresh=given.fresh,
            progress=_show_progress if is_watched else None,
        )
    finally:
        if is_watched:
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()
    if given.json:
        print_json([entry.to_json() for entry in runs])
    else:
        from qexp.redact import redact

        sys.stdout.write(redact("\n".join(_lines(runs))) + "\n")
    return 0


def _show_progress(done: int, count: int) -> None:
    if done % 20 == 0:
        sys.stderr.write(f"{_CLEAR_LINE}reading {done} of {count} runs")
        sys.stderr.flush()


def _lines(runs: RunTable) -> Iterator[str]:
    """Yield the table, a count by status, and the problems of runs that cannot be read."""
    if len(runs):
        yield from _table(runs)
        yield ""
    yield printable(str(runs))
    unfit = [run for run in runs if run.status in _UNFIT]
    for run in unfit[:_MAX_PROBLEMS]:
        yield printable(f"{run.status}: {run.problem}")
    if len(unfit) > _MAX_PROBLEMS:
        more = len(unfit) - _MAX_PROBLEMS
        yield f"... and {more} more: --where 'status in {','.join(_UNFIT)}' --json"


def _table(runs: RunTable) -> Iterator[str]:
    """Lay out the columns: status first, run last, keys of `--where` and `--sort` between them.

    Rich's own table takes a second for 2,000 runs.
    """
    from rich.cells import cell_len

    def line(cells: Sequence[str]) -> str:
        padded = []
        for cell, width, is_right in zip(cells, widths, right, strict=True):
            fill = " " * (width - cell_len(cell))
            padded.append(fill + cell if is_right else cell + fill)
        return "  ".join(padded).rstrip()

    keys = [key for key in runs.keys if key not in _SHOWN]
    names = ["status", "backend", "results", "usage", *map(printable, keys), "run"]
    rows = [[printable(cell) for cell in _cells(run, runs.root, keys)] for run in runs]
    columns = list(zip(names, *rows, strict=True))
    widths = [min(_WIDEST, max(map(cell_len, column))) for column in columns]
    widths[-1] = 0
    right = [
        name in _RIGHT or all(not cell or cell.lstrip("-")[:1].isdigit() for cell in cells[:50])
        for name, *cells in columns
    ]
    styles = _styles() if sys.stdout.isatty() else {}
    header = line(names)
    yield header
    yield "─" * cell_len(header)
    for run, row in zip(runs, rows, strict=True):
        text, (start, end) = line(row), styles.get(run.status, ("", ""))
        yield f"{start}{text[: len(run.status)]}{end}{text[len(run.status) :]}"


def _styles() -> dict[str, tuple[str, str]]:
    """Return the codes that begin and end the colour of each status on this terminal."""
    from rich.console import Console
    from rich.style import Style

    console = Console()
    if not console.color_system or console.no_color:
        return {}
    marked = {
        status: Style.parse(style).render("|").partition("|") for status, style in _STYLES.items()
    }
    return {status: (start, end) for status, (start, _, end) in marked.items()}


def _cells(run: RunEntry, root: Path, keys: Sequence[str]) -> list[str]:
    from qexp.core.jsonable import as_text
    from qexp.listing.filters import values_of

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
