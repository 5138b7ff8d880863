"""`python -m qexp diff A B`: what differs between two runs, and whether their data do."""

from __future__ import annotations

import argparse
import sys

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
    from qexp.compare import ALPHA
    from qexp.compare.text import TOP

    parser.epilog = _EPILOG
    parser.add_argument("a", metavar="A", help="folder of a run, or its run.h5")
    parser.add_argument("b", metavar="B", help="the run to compare it with")
    parser.add_argument(
        "--alpha",
        type=level,
        default=ALPHA,
        help="largest probability of calling equal data different (default: %(default)s)",
    )
    parser.add_argument(
        "--top",
        type=_rows,
        default=TOP,
        metavar="N",
        help="most rows of the tables of calibrations and PUBs (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 1 if anything but ids, times and noise differs",
    )


def run(given: argparse.Namespace) -> int:
    """Compare, and print."""
    from qexp.compare import compare_runs
    from qexp.compare.text import Printer, as_json

    found = compare_runs(given.a, given.b, alpha=given.alpha)
    if given.json:
        sys.stdout.write(f"{as_json(found)}\n")
    else:
        Printer(sys.stdout, given.top).comparison(found)
    return int(given.exit_code and found.differs)


def level(text: str) -> float:
    """A level of significance, for `argparse`."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"got {text}; it must be between 0 and 1, as 0.01 is")
    return value


def _rows(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text}; it must be a whole number, 0 or more")
    return int(text)
