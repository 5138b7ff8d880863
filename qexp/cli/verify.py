"""`verify`: check that archives are what was sealed; name what is damaged."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from qexp.errors import ArchiveError

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
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(given: argparse.Namespace) -> int:
    """Verify the runs."""
    from qexp.archive.apart import Apart
    from qexp.archive.verify import PROBLEMS
    from qexp.listing.check import check_run, paths_to_check

    paths = [path for name in given.runs for path in paths_to_check(Path(name).expanduser())]
    found: dict[str, list[str]] = {}
    with Apart(PROBLEMS) as apart:
        for path in paths:
            found[str(path)] = problems = check_run(path, apart)
            if not given.json:
                state = "damaged" if problems else "intact"
                _print([f"{state:<9}{path}", *(f"{'':<9}{problem}" for problem in problems)])
    num_damaged = sum(map(bool, found.values()))
    if given.json:
        listed = [
            {"path": path, "is_intact": not problems, "problems": problems}
            for path, problems in found.items()
        ]
        _print(json.dumps(listed, indent=1).split("\n"))
    elif len(found) > 1:
        counts = f"{len(found) - num_damaged} intact, {num_damaged} damaged"
        _print([f"{len(found)} runs: {counts}"])
    return ArchiveError.exit_code if num_damaged else 0


def _print(lines: list[str]) -> None:
    from qexp.redact import redact
    from qexp.text import printable

    sys.stdout.write(redact("\n".join(map(printable, lines))) + "\n")
    sys.stdout.flush()
