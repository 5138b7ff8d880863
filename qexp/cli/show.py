"""`show`: what one run was, for people or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from qexp.errors import ArchiveError

_EPILOG = """
RUN is the folder of a run or its run.h5. A run that is not sealed yet is shown as far as it is
known. Of a damaged file is shown what can still be read, with exit code 5; 'verify' names what is
damaged.

examples:
  python -m qexp show outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp show run.h5 --json
"""

_PATIENCE_S: Final = 30.0
#: So slow a disk is still waited for.
_BYTES_PER_S: Final = 5e6


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument("run", metavar="RUN", help="folder of a run, or its run.h5")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(given: argparse.Namespace) -> int:
    """Show the run."""
    known = _known(Path(given.run).expanduser())
    if given.json:
        from qexp.redact import redact

        sys.stdout.write(redact(json.dumps(known, indent=1)) + "\n")
    else:
        from qexp.cli.show_page import print_page

        print_page(known)
    return ArchiveError.exit_code if known.get("is_intact") is False else 0


def _known(path: Path) -> dict[str, Any]:
    from qexp.archive.archive_file import locate
    from qexp.archive.isolated import read_isolated
    from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME

    if path.is_dir() and not (path / ARCHIVE_NAME).exists() and (path / JOURNAL_NAME).is_file():
        function, found, size_bytes = "qexp.listing.unfinished:summarise_unfinished", path, 0
    else:
        function, found = "qexp.listing.summary:summarise", locate(path)
        size_bytes = found.stat().st_size
    known: dict[str, Any] = read_isolated(
        function, str(found), _PATIENCE_S + size_bytes / _BYTES_PER_S
    )
    return known
