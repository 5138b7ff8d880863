"""`ls`: the runs in a folder, as a table for people or as JSON for programs."""

from __future__ import annotations

import argparse
import sys

from qexp.cli.output import print_json
from qexp.cli.verbs import add_json

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
        from qexp.cli.ls_table import format_table
        from qexp.redact import redact

        sys.stdout.write(redact(format_table(runs)) + "\n")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs")
    return int(text)


def _show_progress(done: int, count: int) -> None:
    if done % 20 == 0:
        sys.stderr.write(f"{_CLEAR_LINE}reading {done} of {count} runs")
        sys.stderr.flush()
