"""`verify`: whether archives are what was sealed; names what is damaged."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
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
    from qexp.archive.isolated import IsolatedReader
    from qexp.archive.verify import PROBLEMS
    from qexp.listing.check import check, named

    paths = [path for name in given.runs for path in named(Path(name).expanduser())]
    say = _silent if given.json else _say
    found: dict[str, list[str]] = {}
    with IsolatedReader(PROBLEMS) as reader:
        for path in paths:
            found[str(path)] = problems = check(path, reader)
            say(str(path), problems)
    num_damaged = sum(map(bool, found.values()))
    if given.json:
        _print_json(found)
    elif len(found) > 1:
        counts = f"{len(found) - num_damaged} intact, {num_damaged} damaged"
        sys.stdout.write(f"{len(found)} runs: {counts}\n")
    return ArchiveError.exit_code if num_damaged else 0


def _say(path: str, problems: Sequence[str]) -> None:
    from qexp.redact import redact
    from qexp.text import printable

    state = "damaged" if problems else "intact"
    lines = [f"{state:<9}{path}", *(f"{'':<9}{problem}" for problem in problems)]
    sys.stdout.write(redact("\n".join(map(printable, lines))) + "\n")
    sys.stdout.flush()


def _silent(path: str, problems: Sequence[str]) -> None:
    pass


def _print_json(found: Mapping[str, Sequence[str]]) -> None:
    from qexp.redact import redact

    listed = [
        {"path": path, "is_intact": not problems, "problems": problems}
        for path, problems in found.items()
    ]
    sys.stdout.write(redact(json.dumps(listed, indent=1)) + "\n")
