"""`verify`: check that archives are what was sealed; name what is damaged."""

from __future__ import annotations

import argparse

from qexp.cli.output import print_json, print_line
from qexp.cli.verbs import add_json
from qexp.errors import ArchiveError
from qexp.text import typed_path

_EPILOG = """
RUN is the folder of a run, its run.h5, or a folder with runs in it. Checked are the SHA-256 of
the file, the digest of every PUB's result and of all data, and what the schema requires; of a run
that is not complete also its parts and its journal. The exit code is 0 only if everything is
intact, and 5 otherwise.

examples:
  python -m qexp verify outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp verify outputs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="folder of a run, its run.h5, or a folder of runs"
    )
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Verify the runs."""
    from qexp.archive.isolated import IsolatedReader
    from qexp.archive.verify import PROBLEMS
    from qexp.listing.check import check_run, paths_to_check

    paths = [path for name in given.runs for path in paths_to_check(typed_path(name))]
    checked = []
    with IsolatedReader(PROBLEMS) as reader:
        for path in paths:
            problems = check_run(path, reader)
            checked.append({"path": str(path), "is_intact": not problems, "problems": problems})
            if not given.json:
                print_line(f"{'damaged' if problems else 'intact':<9}{path}")
                for problem in problems:
                    print_line(f"{'':<9}{problem}")
    num_damaged = sum(not one["is_intact"] for one in checked)
    if given.json:
        print_json(checked)
    elif len(checked) > 1:
        num_intact = len(checked) - num_damaged
        print_line(f"{len(checked)} runs: {num_intact} intact, {num_damaged} damaged")
    return ArchiveError.exit_code if num_damaged else 0
