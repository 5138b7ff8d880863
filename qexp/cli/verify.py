"""`verify`: check that archives are what was sealed; name what is damaged."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.cli.output import print_json, print_line
from qexp.cli.verbs import add_json
from qexp.errors import ArchiveError
from qexp.text import typed_path

if TYPE_CHECKING:
    from qexp.archive.isolated import IsolatedReader

_EPILOG = """
RUN is the folder of a run, its run.h5, or a folder with runs in it, such as a sweep. Checked are
the SHA-256 of the file, the digest of every PUB's result and of all data, and what the schema
requires; of a run that is not complete also its parts and its journal. Points of a sweep without an
archive are named as absent. The exit code is 0 only if everything is intact, and 5 otherwise.

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
    from qexp.archive.sweep_file import is_sweep
    from qexp.archive.verify import PROBLEMS

    named = [typed_path(name) for name in given.runs]
    paths = [path for each in named for path in _paths(each)]
    checked = []
    with IsolatedReader(PROBLEMS) as reader:
        for path in paths:
            problems = list(_problems(path, reader))
            checked.append({"path": str(path), "is_intact": not problems, "problems": problems})
            if not given.json:
                print_line(f"{'damaged' if problems else 'intact':<9}{path}")
                for problem in problems:
                    print_line(f"{'':<9}{problem}")
    num_damaged = sum(not one["is_intact"] for one in checked)
    # It is no damage that a point is not sealed.
    absent = [point for each in named for point in _absent(each)]
    if given.json:
        reason = ["there is no archive of this point"]
        print_json(
            [*checked, *({"path": str(p), "is_intact": None, "problems": reason} for p in absent)]
        )
    else:
        for point in absent:
            print_line(f"{'absent':<9}{point}")
        if len(checked) > 1:
            what = "runs and sweeps" if any(map(is_sweep, paths)) else "runs"
            counts = f"{len(checked) - num_damaged} intact, {num_damaged} damaged"
            more = f", {len(absent)} absent" if absent else ""
            print_line(f"{len(checked)} {what}: {counts}{more}")
    return ArchiveError.exit_code if num_damaged else 0


def _absent(path: Path) -> list[Path]:
    """Return the folders of those points of a sweep that have no archive, in order."""
    from qexp.archive.schema import ARCHIVE_NAME
    from qexp.archive.sweep_file import is_sweep, read_sweep

    try:
        points = read_sweep(path).points if is_sweep(path) else ()
    except ArchiveError:
        # Its declaration is damaged, and named so.
        return []
    folders = (path / point.folder for point in points)
    return [folder for folder in folders if not (folder / ARCHIVE_NAME).is_file()]


def _paths(path: Path) -> list[Path]:
    """Return the archives, and the folders of unfinished runs, that an argument names."""
    from qexp.archive.archive_file import locate
    from qexp.archive.schema import ARCHIVE_NAME
    from qexp.archive.sweep_file import is_sweep
    from qexp.listing.find import find_runs

    if not path.is_dir():
        return [locate(path)]
    paths = sorted(run.path for run in find_runs(path))
    if is_sweep(path):
        paths.insert(0, path)
    if not paths:
        raise ArchiveError(f"there is no run in {path}; name a run's folder or its {ARCHIVE_NAME}")
    return paths


def _problems(path: Path, reader: IsolatedReader) -> Iterator[str]:
    """Yield every problem of an archive, an unfinished run or what a sweep's points share."""
    from qexp.archive.atomic_files import check_digest
    from qexp.archive.parts import StoredParts
    from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
    from qexp.archive.sweep_file import is_sweep, read_sweep
    from qexp.archive.verify import verify
    from qexp.journal.file import read_ledger

    folder = path
    if not path.is_dir():
        yield from verify(path, reader)
        folder = path.parent
        if path.name != ARCHIVE_NAME or not StoredParts(folder).has_header:
            return
    checks: list[Callable[[], object]] = []
    if is_sweep(path):
        checks.append(partial(read_sweep, path))
    # Points of a sweep, and one without jobs, have none of their own.
    is_alone = path.is_dir() and not is_sweep(path) and not is_sweep(path.parent)
    if is_alone or (folder / JOURNAL_NAME).exists():
        checks.append(partial(read_ledger, folder))
    checks += (partial(check_digest, part) for part in StoredParts(folder).paths())
    for check in checks:
        try:
            check()
        except ArchiveError as error:
            yield str(error)
