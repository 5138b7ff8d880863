"""Open an archive for a page, if it is what was sealed."""

from __future__ import annotations

from pathlib import Path

from qexp.archive.file import locate
from qexp.archive.read import Archive, open_archive
from qexp.archive.verify import is_as_sealed
from qexp.errors import ArchiveError


def open_sealed(given: Path) -> Archive:
    """Open an archive of which no bit has changed: HDF5 may hang on others, or show what is wrong.

    Args:
        given: The file, or the run's folder.

    Raises:
        ArchiveError: There is no archive, or it is not what was sealed.
    """
    path = locate(given)
    if is_as_sealed(path) is False:
        msg = (
            f"{path} is not what was sealed: restore it from a copy; 'python -m qexp.archive "
            "verify' names what is damaged."
        )
        raise ArchiveError(msg)
    return open_archive(path)
