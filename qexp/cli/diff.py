"""`python -m qexp diff A B`: compare two runs, and test whether their data differ."""

from __future__ import annotations

import argparse
import sys

from qexp.cli.output import print_json
from qexp.cli.verbs import add_alpha, add_json

_EPILOG = """
PUBs are the same if circuit (as generated), parameter values and observables are; only their data
are compared. "distance" is the total variation distance of two distributions (0: equal, 1: nothing
in common), or the largest difference of expectation values; "by chance" is about what the distance
would be for two samples of one distribution. "adjusted p" is corrected for the number of PUBs.

examples:
  python -m qexp diff outputs/ghz/20261122T094439Z-d16302 elsewhere/run.h5
  python -m qexp diff A B --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from qexp.compare.model import TOP

    parser.epilog = _EPILOG
    parser.add_argument("a", metavar="A", help="folder of a run, or its run.h5")
    parser.add_argument("b", metavar="B", help="the run to compare it with")
    add_alpha(parser)
    parser.add_argument(
        "--top",
        type=_rows,
        default=TOP,
        metavar="N",
        help="most rows of the tables of calibrations and PUBs (default: %(default)s)",
    )
    add_json(parser)
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 1 if anything but ids, times and noise differs",
    )


def run(given: argparse.Namespace) -> int:
    """Compare the runs, print the result; return the exit code."""
    from qexp.compare.printer import Printer
    from qexp.compare.runs import compare_runs

    result = compare_runs(given.a, given.b, alpha=given.alpha)
    if given.json:
        print_json(result.to_json())
    else:
        Printer(sys.stdout, given.top).comparison(result)
    return int(given.exit_code and result.differs)


def _rows(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text}; it must be a whole number, 0 or more")
    return int(text)
