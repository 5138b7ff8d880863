"""`python -m qexp reproduce RUN`: run an archived run again from its file alone, and compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qexp.cli.verbs import add_alpha, add_trust

_EPILOG = """
The new run is an ordinary one, in outputs/ of the current folder; the archive is only read. The
exit code is 0 if the data are bit-identical or statistically compatible, 1 if they are not.

examples:
  python -m qexp reproduce outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp reproduce run.h5 --requirements then.txt
  python -m qexp reproduce run.h5 --trust experiments.chsh
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument("run", metavar="RUN", help="folder of a run, or its run.h5")
    parser.add_argument("--into", metavar="FOLDER", help="folder of the new run; a new one")
    parser.add_argument(
        "--requirements",
        metavar="FILE",
        help="write the packages of the run as a requirements file of pip, and run nothing",
    )
    add_trust(parser)
    parser.add_argument(
        "--circuits",
        choices=("generated", "archived"),
        default="generated",
        help="generate the circuits again, or take them from the archive (default: %(default)s)",
    )
    parser.add_argument(
        "--device",
        choices=("installed", "archived"),
        help="simulate the installed device of this name, or the one in the archive (default: the "
        "latter if the name is gone or its calibration has changed)",
    )
    parser.add_argument(
        "--submit",
        action="store_true",
        help="submit a run of IBM's service again, which costs time on a QPU",
    )
    add_alpha(parser)


def run(given: argparse.Namespace) -> int:
    """Compare the software, run the archived run again, compare the data."""
    from qexp.archive.verify import require_intact
    from qexp.compare.printer import Printer
    from qexp.compare.runs import compare_runs
    from qexp.reproduction import (
        installed_changes,
        new_folder,
        reproduction_spec,
        reproduction_verdict,
        run_again,
        write_requirements,
    )

    archive = require_intact(given.run).resolve()
    if given.requirements is not None:
        path = Path(given.requirements)
        write_requirements(archive, path)
        sys.stdout.write(f"{path}: install it in a fresh environment: pip install -r {path}\n")
        return 0
    spec, notes = reproduction_spec(
        archive, given.trust, given.circuits, device=given.device, submit=given.submit
    )
    folder = new_folder(spec, given.into)
    printer = Printer(sys.stdout)
    printer.installed(installed_changes(archive))
    for note in notes:
        printer.line(f"note: {note}")
    sys.stdout.flush()
    again = run_again(spec, folder, given.circuits)
    found = compare_runs(archive, again, alpha=given.alpha)
    printer.circuits(found)
    printer.data(found.data)
    sys.stdout.flush()
    printer.line(reproduction_verdict(found))
    return 0
