"""`remitigate RUN [key=value ...]`: evaluate the shots of client-side Estimators again."""

from __future__ import annotations

import argparse

from qexp.cli import analyse
from qexp.cli.verbs import add_json, add_run

_EPILOG = """
The settings are those of the analysis `remitigated`: extrapolator, noise_factors, trex, resamples,
workload. Results are in RUN/analysis/remitigated.nc; the archive is not changed.

example:
  python -m qexp remitigate outputs/ising/RUN extrapolator=linear noise_factors=[1,3] trex=false
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    add_run(parser)
    parser.add_argument("settings", metavar="key=value", nargs="*", help="a setting")
    add_json(parser)
    parser.set_defaults(name="remitigated", trust=[])


def run(given: argparse.Namespace) -> int:
    """Evaluate, and return the exit code."""
    return analyse.run(given)
