"""`python -m qexp report RUN|SWEEP`: one self-contained HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qexp.cli.verbs import add_run

_EPILOG = """\
The page needs no network and no other file; it opens from disk and prints well. That of a run has
measured against ideal distributions, expectation values with error bars, jobs in time, the device,
some circuits and the provenance; that of a sweep compares its points, with links to their pages.

examples:
  python -m qexp report outputs/random_sampling/RUN_ID
  python -m qexp report outputs/random_sampling/SWEEP_ID --output sweep.html
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser, "a run's folder or run.h5, or a folder of runs")
    parser.add_argument(
        "--output", type=Path, metavar="PAGE", help="where to write it (default: report.html there)"
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="of a sweep: also write its figures as figures/*.svg beside the page",
    )
    parser.epilog = _EPILOG


def run(given: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    from qexp.report.write import FIGURES, write_report

    path = write_report(given.run, given.output, figures=given.figures)
    sys.stdout.write(f"{path} ({path.stat().st_size / 1e3:,.0f} kB)\n")
    if given.figures and (path.parent / FIGURES).is_dir():
        sys.stdout.write(f"{path.parent / FIGURES}\n")
    return 0
