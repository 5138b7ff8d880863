"""Check that runs are what was written: their archives, and the parts from which they go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from qexp.archive.apart import Apart
from qexp.archive.commit import check_part_file
from qexp.archive.file import locate
from qexp.archive.parts import StoredParts
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
from qexp.archive.verify import verify
from qexp.batch.journal import read_ledger
from qexp.errors import ArchiveError
from qexp.listing.find import find_runs


def paths_to_check(path: Path) -> list[Path]:
    """Return the archives, and the folders of unfinished runs, that a path names.

    Args:
        path: An archive, the folder of a run, or a folder with runs in it.

    Raises:
        ArchiveError: There is none.
    """
    if not path.is_dir():
        return [locate(path)]
    paths = sorted(run.path for run in find_runs(path))
    if not paths:
        raise ArchiveError(f"there is no run in {path}; name a run's folder or its {ARCHIVE_NAME}")
    return paths


def check_run(path: Path, apart: Apart) -> list[str]:
    """Return every problem of a run, one line each; empty if it is what was written.

    Args:
        path: The archive, or the folder of a run that has none yet.
        apart: `Apart(PROBLEMS)` of `qexp.archive.verify`.
    """
    if path.is_dir():
        return list(_problems_of_parts(path, has_journal=True))
    problems = verify(path, apart)
    folder = path.parent
    if path.name == ARCHIVE_NAME and StoredParts(folder).has_parts:
        problems += _problems_of_parts(folder, has_journal=(folder / JOURNAL_NAME).exists())
    return problems


def _problems_of_parts(folder: Path, *, has_journal: bool) -> Iterator[str]:
    checks: list[Callable[[], object]] = [partial(read_ledger, folder)] if has_journal else []
    checks += (partial(check_part_file, path) for path in StoredParts(folder).paths())
    for check in checks:
        try:
            check()
        except ArchiveError as error:
            yield str(error)
