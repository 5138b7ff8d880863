"""One process at a time works on a run."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from qexp.errors import ArchiveError, RunLockedError

_LOCK_NAME = ".lock"
_HOLDER_NAME = ".holder.json"


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Hold the run's lock; the operating system releases it when the process ends, however.

    Raises:
        RunLockedError: Another process holds it; the message says which.
        ArchiveError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(run_dir / _LOCK_NAME, timeout=0)
    holder = run_dir / _HOLDER_NAME
    try:
        lock.acquire()
    except Timeout:
        raise RunLockedError(
            f"{run_dir} is being worked on by {_told(holder)}; wait for it, or stop it first"
        ) from None
    except OSError as error:
        raise ArchiveError(
            f"Cannot lock {run_dir}: {error.strerror}. Check permissions and free space."
        ) from error
    try:
        _tell(holder)
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _tell(holder: Path) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    told = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    try:
        holder.write_text(json.dumps(told), encoding="utf-8")
    except OSError as error:
        raise ArchiveError(
            f"Cannot write {holder}: {error.strerror}. Check permissions and free space."
        ) from error


def _told(holder: Path) -> str:
    try:
        known = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {known['pid']} on {known['host']} since {known['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
