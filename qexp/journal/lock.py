"""The lock of an experiment's folder: one process at a time works on an experiment."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qexp.errors import ArchiveError, RunLockedError
from qexp.text import utc_now

_LOCK_NAME = ".lock"
_HOLDER_NAME = ".holder.json"
_ADVICE = "check permissions and free space"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the operating system releases it however the process ends.

    Raises:
        RunLockedError: Another process holds it; the message says which.
    """
    from filelock import FileLock, Timeout

    lock, holder = FileLock(folder / _LOCK_NAME, timeout=0), folder / _HOLDER_NAME
    try:
        lock.acquire()
    except Timeout:
        raise RunLockedError(
            f"{folder} is locked by {_read_holder(holder)}; wait for it, or stop it first"
        ) from None
    except OSError as error:
        raise ArchiveError(f"{folder} cannot be locked: {error.strerror}; {_ADVICE}") from error
    try:
        _write_holder(holder)
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _write_holder(path: Path) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": utc_now("seconds")}
    try:
        path.write_text(json.dumps(holder), encoding="utf-8")
    except OSError as error:
        raise ArchiveError(f"{path} cannot be written: {error.strerror}; {_ADVICE}") from error


def _read_holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
