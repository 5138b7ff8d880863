"""What a run that came to nothing leaves in its folder, and what of it is removed."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from qexp.errors import ArchiveError, RunLockedError, UnfinishedError


def is_worth_keeping(run_dir: Path, error: BaseException) -> bool:
    """Whether something may have been measured, can be resumed, or is another process's."""
    if isinstance(error, RunLockedError | UnfinishedError) or (run_dir / "run.h5").exists():
        return True
    if not run_dir.is_dir() or not any(run_dir.iterdir()):
        return False
    from qexp.journal.file import JOURNAL_NAME, read_ledger

    if not (run_dir / JOURNAL_NAME).exists():
        return False
    try:
        return bool(read_ledger(run_dir).batches)
    except ArchiveError:
        return True


def remove(run_dir: Path, *, keep_log: bool = False) -> None:
    """Remove what a run left that never came to a batch, and the folders made for it."""
    if not _removed_empty(run_dir):
        if not _emptied(run_dir, keep_log=keep_log) or keep_log:
            return
        logging.shutdown()
        shutil.rmtree(run_dir, ignore_errors=True)
    for parent in run_dir.parents[:2]:
        # outputs/<experiment>[/<sweep>], unless another run is in it; no folder of the user's own
        if "outputs" not in {above.name for above in parent.parents}:
            break
        if not _removed_empty(parent):
            break


def _emptied(run_dir: Path, *, keep_log: bool) -> bool:
    """Remove what is in the folder; False where it may be another process's."""
    from qexp.journal.lock import lock_folder

    try:
        with lock_folder(run_dir):
            for path in run_dir.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif not (keep_log and path.name == "run.log"):
                    path.unlink(missing_ok=True)
    except (ArchiveError, OSError, RunLockedError):
        # Another process may have begun in the same folder.
        return False
    return True


def _removed_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
