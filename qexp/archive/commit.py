"""Files appear completely or not at all, and survive a power cut once they have appeared.

A part ends with the SHA-256 of what precedes it, so that a damaged one is known before anything
in it is believed. HDF5 takes no notice of bytes after its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from qexp.core.digest import NUM_DIGITS
from qexp.errors import ArchiveError

BLOCK_BYTES: Final = 2**20
_MARGIN_BYTES: Final = 2**20


class DamagedPartError(ArchiveError):
    """A part does not hold what was written to it."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the yielded temporary path; on success it becomes `path`, durably and atomically.

    On an exception nothing is left behind and an existing `path` is as it was.

    Raises:
        ArchiveError: The file cannot be written (disk full, no permission).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        # A process that was killed may have left one.
        temporary.unlink(missing_ok=True)
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


def write_part_file(path: Path, data: bytes) -> str:
    """Write a part atomically and durably, creating its folder.

    Returns:
        SHA-256 of the file's bytes, in hexadecimal.

    Raises:
        ArchiveError: It cannot be written.
    """
    _make_folder(path.parent)
    sha = hashlib.sha256(data)
    digits = sha.hexdigest().encode("ascii")
    with replacing(path) as temporary:
        temporary.write_bytes(data + digits)
    sha.update(digits)
    return sha.hexdigest()


def read_part_file(path: Path) -> bytes:
    """What was written to a part.

    Raises:
        ArchiveError: As `check_part_file`.
    """
    check_part_file(path)
    with _reading(path) as stream:
        return stream.read()[:-NUM_DIGITS]


def check_part_file(path: Path) -> str:
    """SHA-256 of a part's bytes, in hexadecimal, as `write_part_file` returned it.

    Raises:
        DamagedPartError: Its bytes are not those that were written.
        ArchiveError: There is no such part, or it cannot be read.
    """
    sha, last = hashlib.sha256(), b""
    with _reading(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            known = memoryview(last + block)
            sha.update(known[:-NUM_DIGITS])
            last = bytes(known[-NUM_DIGITS:])
    if sha.hexdigest().encode("ascii") != last:
        msg = f"Part {path} is damaged: it is not what was written. Restore it from a copy."
        raise DamagedPartError(msg)
    sha.update(last)
    return sha.hexdigest()


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        msg = f"Part {path} is missing: restore the run's folder from a copy."
        raise ArchiveError(msg) from error
    except OSError as error:
        msg = f"Part {path} cannot be read: {error.strerror}. Check the disk and permissions."
        raise ArchiveError(msg) from error


def _make_folder(folder: Path) -> None:
    """Create a folder durably, with its parent; nothing where it exists."""
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sync(folder.parent)
        _sync(folder.parent.parent)
    except OSError as error:
        msg = f"Cannot create {folder}: {error.strerror}. Choose a writable run folder."
        raise ArchiveError(msg) from error


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
