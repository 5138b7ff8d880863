"""Find the runs below a folder, without reading anything in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qexp.archive.parts import HEADER
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME


@dataclass(frozen=True)
class Found:
    """A run's folder or an archive's file.

    Attributes:
        path: `run.h5`, or the folder of a run that has none yet.
        signature: Size and times of what decides what the run is: another one, another run.
        size_bytes: Size of the archive, or None.
    """

    path: Path
    signature: str
    size_bytes: int | None

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.path.parent if self.path.name == ARCHIVE_NAME else self.path


def runs_below(root: Path) -> Iterator[Found]:
    """Every run below a folder, by path; the folder itself may be one, or an archive.

    A folder is a run's if it holds `run.h5`, a journal or parts. Nothing below it is another run's.
    Links to folders are not followed. A folder that cannot be listed may be one, and is yielded.

    Args:
        root: The folder, or the file of an archive.
    """
    if root.is_file():
        yield _archive(root)
        return
    closed: list[Found] = []

    def note(error: OSError) -> None:
        closed.append(Found(Path(error.filename), "-", None))

    for folder, names, files in os.walk(root, onerror=note):
        if ARCHIVE_NAME in files:
            found = _archive(Path(folder, ARCHIVE_NAME))
        elif JOURNAL_NAME in files or PARTS_NAME in names:
            found = _unfinished(Path(folder))
        else:
            names[:] = sorted(name for name in names if not name.startswith("."))
            continue
        names.clear()
        yield found
    yield from closed


def _archive(path: Path) -> Found:
    status = _stat(path)
    return Found(path, _signature(status), status.st_size if status else None)


def _unfinished(folder: Path) -> Found:
    # Every job that is collected adds a line to the journal.
    decisive = (folder / JOURNAL_NAME, folder / PARTS_NAME / HEADER)
    return Found(folder, " ".join(_signature(_stat(path)) for path in decisive), None)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _signature(status: os.stat_result | None) -> str:
    """The time of the last change of the inode is noticed where that of the content was set."""
    if status is None:
        return "-"
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
