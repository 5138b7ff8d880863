"""`usage`: the QPU time predicted and charged, by month, account, instance and backend."""

from __future__ import annotations

import argparse
import sys

from qexp.cli.output import print_json, print_line
from qexp.cli.verbs import add_json

_EPILOG = """
Reads the archives below a folder, as ls does, and asks no service. A + after the charged time: some
charges were not final yet. The ratio is that of charged to predicted time, with its standard error.

examples:
  python -m qexp usage
  python -m qexp usage /data/runs --where 'date>=2026-11' --json
"""
_WIDTH = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", nargs="?", default="outputs", help="as of ls")
    parser.add_argument("--where", metavar="EXPR", action="append", default=[], help="as of ls")
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Print the totals."""
    from qexp.listing.runs import list_runs
    from qexp.listing.usage import usage_rows

    runs = list_runs(given.path, *given.where)
    rows = usage_rows(runs)
    if given.json:
        print_json(rows)
        return 0
    from qexp.cli.show_page import Columns, Page, duration

    names = ("month", "account", "instance", "backend", "runs")
    columns: Columns = {
        **{name: lambda row, name=name: str(row[name]) for name in names},  # type: ignore[misc]
        "predicted": lambda row: duration(row["predicted_s"]),
        "charged": lambda row: duration(row["charged_s"]) + "+" * bool(row["pending"]),
        "ratio": lambda row: " +- ".join(
            f"{row[name]:.3f}" for name in ("ratio", "ratio_error") if row[name] is not None
        ),
    }
    page = Page(_WIDTH)
    page.print_table("", columns, rows, len(rows), left=4)
    sys.stdout.write(page.text)
    print_line(f"{rows[-1]['runs']} of {len(runs)} runs were charged for QPU time")
    return 0
