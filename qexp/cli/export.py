"""`python -m qexp export RUN --to FORMAT`: write an archive in a form that other tools read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qexp.export.formats import FORMATS, export
from qexp.redact import redact
from qexp.text import printable


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", metavar="RUN", help="a run's folder, or its archive")
    parser.add_argument("--to", required=True, metavar="FORMAT", help=f"{', '.join(FORMATS)}")
    parser.add_argument(
        "--output",
        metavar="PATH",
        type=Path,
        help="file or folder to write; default: beside the archive, named after it",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    parser.add_argument(
        "--metadata",
        metavar="FILE",
        type=Path,
        help="rocrate: a YAML file with keys of the config's metadata, in place of the archive's",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="rocrate: one such key, such as license=CC-BY-4.0; may be given several times",
    )
    lines = [f"  {name:<9}{form.content}" for name, form in FORMATS.items()]
    parser.epilog = "\n".join(["formats:", *lines])


def run(given: argparse.Namespace) -> int:
    """Export the run, and print what was written."""
    from qexp.export.metadata import read_metadata

    exported = export(
        given.run,
        given.to,
        given.output,
        metadata=read_metadata(given.metadata, given.set),
        force=given.force,
    )
    # Names of workloads and the status may come from a stranger.
    lines = (redact(printable(str(line))) for line in (exported.path, *exported.notes))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0
