"""`python -m qexp reproduce RUN`: run an archived run again from its file alone, and compare.

Of a sweep, each point that has an archive is run again, alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qexp.cli.named_runs import each_point
from qexp.cli.output import print_line
from qexp.cli.verbs import add_alpha, add_run, add_trust
from qexp.errors import ArchiveError, ConfigError

_EPILOG = """
The new run is an ordinary one, in outputs/ of the current folder; the archive is only read. The
exit code is 0 if the data are bit-identical or statistically compatible, 1 if they are not. Of a
sweep, each point with results is run again alone; with --into, in a folder of its
name in that folder.

examples:
  python -m qexp reproduce outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp reproduce run.h5 --requirements then.txt
  python -m qexp reproduce run.h5 --trust experiments.chsh
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    add_run(parser)
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
    """Reproduce the run, or each point of a sweep; return the highest exit code."""
    from qexp.archive.sweep_file import is_sweep

    path, into = given.run, given.into
    if not is_sweep(path):
        return _reproduce(path, into, given)
    if given.requirements is not None:
        raise ConfigError("--requirements: name one point of the sweep, all were run alike")
    codes, _ = each_point(
        path, lambda folder: _reproduce(folder, into and str(Path(into) / folder.name), given)
    )
    if not codes:
        raise ArchiveError(f"{path} has no point with results, so that nothing can be reproduced")
    print_line(f"{codes.count(0)} of {len(codes)} points reproduced")
    return max(codes)


def _reproduce(path: Path, into: str | None, given: argparse.Namespace) -> int:
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

    archive = require_intact(path).resolve()
    if given.requirements is not None:
        file = Path(given.requirements)
        write_requirements(archive, file)
        sys.stdout.write(f"{file}: install it in a fresh environment: pip install -r {file}\n")
        return 0
    spec, notes = reproduction_spec(
        archive, given.trust, given.circuits, device=given.device, submit=given.submit
    )
    folder = new_folder(spec, into)
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
