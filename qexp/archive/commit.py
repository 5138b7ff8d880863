"""Files appear completely or not at all, and survive a power cut once they have appeared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qexp.errors import ArchiveError


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
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        # HDF5 reports a checksum that does not match without an errno.
        advice = "A part is damaged" if error.errno is None else "Check free space and permissions"
        msg = f"Cannot write {path}: {reason}. {advice}; what was written before is kept."
        raise ArchiveError(msg) from error
    finally:
        temporary.unlink(missing_ok=True)


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
