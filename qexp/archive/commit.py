"""Files appear completely or not at all, and survive a power cut once they have appeared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qexp.errors import ArchiveError

_MARGIN_BYTES = 2**20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the yielded temporary path; on success it becomes `path`, durably and atomically.

    On an exception nothing is left behind and an existing `path` is as it was.

    Raises:
        ArchiveError: The file cannot be written (disk full, no permission).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:
        code = getattr(error, "errno", None)
        reason = os.strerror(code) if code else " ".join(str(error).split())
        # HDF5 reports a checksum that does not match without an errno.
        advice = "Check free space and permissions" if code else "A part is damaged"
        msg = f"Cannot write {path}: {reason}. {advice}; what was written before is kept."
        raise ArchiveError(msg) from error
    finally:
        temporary.unlink(missing_ok=True)


def require_space(path: Path, num_bytes: int) -> None:
    """Refuse to write a file of up to `num_bytes` where the disk has no room for it.

    HDF5 cannot be left to find out: it corrupts the process's memory where a write fails.

    Raises:
        ArchiveError: There is not enough free space.
    """
    # Measured: an archive is smaller than its parts; a quarter more is for what was not measured.
    needed = num_bytes + num_bytes // 4 + _MARGIN_BYTES
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        msg = (
            f"Cannot write {path}: it takes up to {needed / 1e6:.1f} MB and {free / 1e6:.1f} MB "
            "are free. Make room; what was written before is kept."
        )
        raise ArchiveError(msg)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically and durably."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
