"""Whether a run is what was written: its archive, and the parts from which it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qexp.archive.archive_file import locate
from qexp.archive.atomic_files import check_digest
from qexp.archive.isolated import IsolatedReader
from qexp.archive.parts import StoredParts
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
from qexp.archive.verify import verify
from qexp.errors import ArchiveError
from qexp.journal.file import read_ledger
from qexp.listing.find import runs_below


def named(path: Path) -> list[Path]:
    """The archives, and the folders of unfinished runs, that a path names.

    Args:
        path: An archive, the folder of a run, or a folder with runs in it.

    Raises:
        ArchiveError: There is none.
    """
    if not path.is_dir():
        return [locate(path)]
    found = sorted(run.path for run in runs_below(path))
    if not found:
        raise ArchiveError(f"There is no run in {path}: name a run's folder or its {ARCHIVE_NAME}.")
    return found


def check(path: Path, reader: IsolatedReader) -> list[str]:
    """Every problem of a run, one line each; empty if it is what was written.

    Args:
        path: The archive, or the folder of a run that has none yet.
        reader: `IsolatedReader(PROBLEMS)` of `qexp.archive.verify`.
    """
    if path.is_dir():
        return list(_working_files(path, has_journal=True))
    found = verify(path, reader)
    if path.name == ARCHIVE_NAME and StoredParts(path.parent).has_parts:
        has_journal = (path.parent / JOURNAL_NAME).exists()
        found += _working_files(path.parent, has_journal=has_journal)
    return found


def _working_files(folder: Path, *, has_journal: bool) -> Iterator[str]:
    if has_journal:
        try:
            read_ledger(folder)
        except ArchiveError as error:
            yield str(error)
    for path in StoredParts(folder).paths():
        try:
            check_digest(path)
        except ArchiveError as error:
            yield str(error)
