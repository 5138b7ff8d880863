"""Find the runs below a folder, without reading anything in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qexp.archive.parts import HEADER
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME
from qexp.archive.sweep_file import SWEEP_NAME


@dataclass(frozen=True)
class RunPath:
    """Place of a run."""

    path: Path  # `run.h5`, or the folder of a run that has none yet
    signature: str  # sizes and times of its files: the run is the same as long as they are
    size_bytes: int | None = None  # of the archive

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.path.parent if self.path.name == ARCHIVE_NAME else self.path


def find_runs(root: Path, *, whole_sweeps: bool = False) -> Iterator[RunPath]:
    """Go through the runs below a folder; the folder itself may be one, or an archive.

    A folder is a run's if it holds `run.h5`, a journal or parts. Nothing below it is another run's.
    That of a sweep, with `sweep.json`, is none: the folders of its points are, once they hold any.
    Links to folders are not followed. A folder that cannot be listed is yielded, as it may be one.
    With `whole_sweeps`, the folder of a sweep is yielded instead of its points.
    """
    if root.is_file():
        yield _run_path(root, root)
        return
    errors: list[OSError] = []
    for name, folders, files in os.walk(root, onerror=errors.append):
        folder = Path(name)
        if SWEEP_NAME in files and whole_sweeps:
            folders.clear()
            yield _run_path(folder, folder / JOURNAL_NAME)
            continue
        if SWEEP_NAME in files:
            # The journal and these parts are those of all points.
            folders[:] = sorted(set(folders) - {PARTS_NAME})
            continue
        if ARCHIVE_NAME in files:
            run = _run_path(folder / ARCHIVE_NAME, folder / ARCHIVE_NAME)
        elif JOURNAL_NAME in files or PARTS_NAME in folders:
            # Every job that is collected adds a line to the journal, and a part of each point.
            parts = folder / PARTS_NAME
            run = _run_path(folder, folder / JOURNAL_NAME, parts / HEADER, parts)
        else:
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            continue
        folders.clear()
        yield run
    yield from (RunPath(Path(error.filename), "-") for error in errors)


def _run_path(path: Path, *deciding: Path) -> RunPath:
    stats: list[os.stat_result | None] = []
    for file in deciding:
        try:
            stats.append(file.stat())
        except OSError:
            stats.append(None)
    # The inode's time changes even where the time of the content was set back.
    signatures = [f"{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}" if s else "-" for s in stats]
    size_bytes = stats[0].st_size if stats[0] and deciding == (path,) else None
    return RunPath(path, " ".join(signatures), size_bytes)
