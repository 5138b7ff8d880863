"""`ls`: the runs in a folder, as a table for people or as JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qexp.listing.entry import Entry

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
    parser.add_argument("--limit", metavar="N", type=_count, help="list the first N only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--fresh", action="store_true", help="read all runs again, whatever the index holds"
    )


def run(given: argparse.Namespace) -> int:
    """List the runs."""
    from qexp.listing.index import Index, index_path
    from qexp.listing.listing import list_runs
    from qexp.listing.where import matching, parse

    conditions = [condition for text in given.where for condition in parse(text)]
    root = Path(given.path).expanduser()
    with _Progress() as progress:
        entries = list_runs(root, Index(index_path()), is_fresh=given.fresh, progress=progress.told)
    found = _sorted(matching(entries, conditions), given.sort, is_reversed=given.reverse)
    shown = found if given.limit is None else found[: given.limit]
    if given.json:
        _print_json(shown)
    else:
        from qexp.cli.ls_table import print_table

        keys = [condition.key for condition in conditions] + ([given.sort] if given.sort else [])
        print_table(shown, found, root, keys, num_all=len(entries))
    return 0


def _sorted(entries: list[Entry], key: str | None, *, is_reversed: bool) -> list[Entry]:
    from qexp.listing.where import ordered

    if key is None:
        return ordered(entries, "date", is_reversed=not is_reversed)
    return ordered(entries, key, is_reversed=is_reversed)


def _print_json(entries: list[Entry]) -> None:
    from qexp.listing.entry import as_fields
    from qexp.redact import redact

    text = json.dumps([as_fields(entry) for entry in entries], indent=1)
    sys.stdout.write(redact(text) + "\n")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs")
    return int(text)


class _Progress:
    """A counter on the terminal while archives are read; nothing where there is none."""

    _LINE = "\r\x1b[K"

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write(self._LINE)
            sys.stderr.flush()

    def told(self, done: int, count: int) -> None:
        """Show how many archives have been read."""
        if self._is_shown and done % 20 == 0:
            sys.stderr.write(f"{self._LINE}reading {done} of {count} runs")
            sys.stderr.flush()
