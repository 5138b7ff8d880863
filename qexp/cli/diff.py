"""`python -m qexp diff A B`: compare two runs, two sweeps, or the pairs of a sweep."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from qexp.cli.output import print_json
from qexp.cli.verbs import add_alpha, add_json, whole_number
from qexp.errors import ConfigError
from qexp.text import typed_path

_EPILOG = """
PUBs are the same if circuit (as generated), parameter values and observables are; only their data
are compared. "distance" is the total variation distance of two distributions (0: equal, 1: nothing
in common), or the largest difference of expectation values; "by chance" is about what the distance
would be for two samples of one distribution. "adjusted p" is corrected for the number of PUBs.

Of one sweep, the points with the same circuits are compared: the data of each pair, and over all
pairs that differ in the same way the numbers of analyses and the expectation values, by a paired
test. Of two sweeps, the points with equal swept values are.

examples:
  python -m qexp diff outputs/ghz/20261122T094439Z-d16302 elsewhere/run.h5
  python -m qexp diff A B --json
  python -m qexp diff outputs/ising/sweep-20261129T194723Z-3f9a2c
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from qexp.compare.model import TOP

    parser.epilog = _EPILOG
    parser.add_argument("a", metavar="A", help="folder of a run, its run.h5, or folder of a sweep")
    parser.add_argument("b", metavar="B", nargs="?", help="the run or sweep to compare it with")
    add_alpha(parser)
    parser.add_argument(
        "--top",
        type=whole_number,
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
    from qexp.archive.sweep_file import is_sweep
    from qexp.compare.printer import Printer
    from qexp.compare.runs import compare_runs

    a, b = typed_path(given.a), None if given.b is None else typed_path(given.b)
    if is_sweep(a) and (b is None or is_sweep(b)):
        return _diff_sweeps(given, a, b)
    if b is None:
        raise ConfigError(f"{a} is no sweep, whose pairs could be compared; name a second run: B")
    if is_sweep(a) or is_sweep(b):
        raise ConfigError(
            f"one of {a} and {b} is a sweep, the other a run: name two runs or two sweeps"
        )
    result = compare_runs(given.a, given.b, alpha=given.alpha)
    if given.json:
        print_json(result.to_json())
    else:
        Printer(sys.stdout, given.top).comparison(result)
    return int(given.exit_code and result.differs)


def _diff_sweeps(given: argparse.Namespace, a: Path, b: Path | None) -> int:
    """Compare the pairs of a sweep, or the equal points of two; return the exit code."""
    from qexp.cli.sweep_page import format_differences
    from qexp.compare.printer import WIDTH
    from qexp.core.jsonable import to_jsonable
    from qexp.sweeps.opened import open_sweep
    from qexp.sweeps.pairs import compare_data_of

    sweep, other = open_sweep(a), open_sweep(a if b is None else b)
    pairs = sweep.pairs() if b is None else sweep.pairs_with(other)
    if not pairs:
        what = "points with equal circuits" if b is None else "points with equal swept values"
        raise ConfigError(f"there is nothing to compare: no two {what} have an archive")
    in_a, in_b = ([point.folder for point in each.points] for each in (sweep, other))
    compared = compare_data_of(pairs, in_a, in_b, given.alpha)
    differences = sweep.differences(None if b is None else other)
    if given.json:
        plain = [
            to_jsonable(one) | {"mean": to_jsonable(one.mean), "error": to_jsonable(one.error)}
            for one in differences
        ]
        print_json({"pairs": to_jsonable(compared), "differences": plain})
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH + 20
        sys.stdout.write(format_differences(compared, differences, width, given.top))
    adjusted = [*(one.p_adjusted for one in compared), *(one.p_adjusted for one in differences)]
    return int(given.exit_code and any(p is not None and p <= given.alpha for p in adjusted))
