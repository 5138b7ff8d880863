"""Folders of new runs, which are removed if a run fails before anything is submitted."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qexp.errors import (
    ArchiveError,
    ConfigError,
    PointsFailedError,
    RunLockedError,
    UnfinishedError,
    is_explained_by_traceback,
)
from qexp.runlog import RunLog

_log = logging.getLogger("qexp")

LOG_NAME = "run.log"


def make_folder(folder: Path, key: str) -> bool:
    """Make the folder that a key of the config names; return True if there is nothing in it.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return not any(folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"{key}: {error.filename}: {error.strerror}; choose a folder that you can write to"
        ) from None


@contextmanager
def cleaning_up(folder: Path, *, is_new: bool, failure: str | None = None) -> Iterator[None]:
    """Clean up a folder that `is_new` if the run in it ends with an error, or an interrupt.

    The error is logged with the text `failure`, a mistake in the config excepted, unless that is
    None. The message of an interrupt says if nothing was submitted.

    Raises:
        KeyboardInterrupt: Interrupted; the message says so if nothing was submitted.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if is_new and clean_up(folder, error):
            raise KeyboardInterrupt("interrupted before anything was submitted") from None
        raise
    except BaseException as error:  # A panic in Qiskit's Rust code is no `Exception`.
        if failure is not None and not isinstance(error, ConfigError):
            _log.error(failure, exc_info=True)
        if is_new:
            clean_up(folder, error)
        raise


def clean_up(run_dir: Path, error: BaseException) -> bool:
    """Remove the folder of a run that an error ended, unless it may be of use.

    `run.log` stays, and so does the folder, if its traceback explains the error. Return True if
    nothing but the log is left; False if the folder may hold data, can be resumed, or is in use.
    """
    if _is_worth_keeping(run_dir, error):
        return False
    is_interrupted = isinstance(error, KeyboardInterrupt)
    _remove(run_dir, keep_log=not is_interrupted and is_explained_by_traceback(error))
    return True


def _is_worth_keeping(run_dir: Path, error: BaseException) -> bool:
    keeps = RunLockedError | UnfinishedError | PointsFailedError
    if isinstance(error, keeps) or (run_dir / "run.h5").exists():
        return True
    if not run_dir.is_dir() or not any(run_dir.iterdir()):
        return False
    from qexp.archive.schema import JOURNAL_NAME
    from qexp.journal.file import read_ledger

    if not (run_dir / JOURNAL_NAME).exists():
        return False
    try:
        return bool(read_ledger(run_dir).batches)
    except ArchiveError:
        return True


def _remove(run_dir: Path, *, keep_log: bool) -> None:
    """Remove a run's folder, and the folders that were made for it."""
    if run_dir.is_dir() and any(run_dir.iterdir()):
        if not _empty(run_dir, keep_log=keep_log) or keep_log:
            return
        _close_logs(run_dir)
        shutil.rmtree(run_dir, ignore_errors=True)
    # outputs/<experiment>[/<sweep>] go as well unless they hold another run; no folder of the
    # user's own does.
    made = [run_dir, *(p for p in run_dir.parents[:2] if "outputs" in {q.name for q in p.parents})]
    with suppress(OSError):
        for folder in made:
            if folder.exists():
                folder.rmdir()


def _close_logs(run_dir: Path) -> None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RunLog) and Path(handler.baseFilename).parent == run_dir:
            handler.close()


def _empty(run_dir: Path, *, keep_log: bool) -> bool:
    """Remove the content of the folder; return False if it may be another process's."""
    from qexp.journal.lock import lock_folder

    try:
        with lock_folder(run_dir):
            for path in run_dir.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif not (keep_log and path.name == LOG_NAME):
                    path.unlink(missing_ok=True)
    except (ArchiveError, OSError, RunLockedError):
        # Another process may have begun in the same folder.
        return False
    return True
