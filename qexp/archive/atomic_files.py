"""Files that appear completely or not at all, and survive a power cut once they have appeared.

A file with a digest ends with the SHA-256 of what precedes it, so that damage is noticed before
anything in it is used. HDF5 ignores bytes after its own. A line of the journal has a CRC-32.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from qexp.errors import ArchiveError
from qexp.text import one_line

BLOCK_BYTES: Final = 2**20
NUM_DIGITS: Final = 64
"""Hexadecimal digits of a SHA-256."""
_MARGIN_BYTES: Final = 2**20
_CRC32: Final = b',"crc32":"'


class DamagedFileError(ArchiveError):
    """A file does not hold what was written to it."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `path`, durably and atomically.

    On an exception nothing is left behind and an existing `path` is as it was.

    Raises:
        ArchiveError: The file cannot be written (disk full, no permission).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        # A process that was killed may have left one.
        temporary.unlink(missing_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except (OSError, RuntimeError) as error:
        code = getattr(error, "errno", None)
        reason = os.strerror(code) if code else one_line(error)
        # HDF5 reports a checksum that does not match without an errno.
        advice = "check free space and permissions" if code else "a part is damaged"
        raise ArchiveError(
            f"cannot write {path}: {reason}; {advice}; what was written before is kept"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def require_space(path: Path, num_bytes: int) -> None:
    """Refuse to write a file of up to `num_bytes` if the disk has no room for it.

    HDF5 must not find out: a failed write corrupts the memory of the process, which aborts later.
    Small files are therefore built in memory and written without HDF5.

    Raises:
        ArchiveError: There is not enough free space.
    """
    # In measurements an archive was always smaller than its parts; a quarter more is a margin.
    needed = num_bytes + num_bytes // 4 + _MARGIN_BYTES
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise ArchiveError(
            f"cannot write {path}: it takes up to {needed / 1e6:.1f} MB and {free / 1e6:.1f} MB "
            "are free; make room, what was written before is kept"
        )


def write_with_digest(path: Path, data: bytes) -> str:
    """Write a file that ends with its digest, atomically and durably, creating its folder.

    Return the SHA-256 of all bytes of the file, in hexadecimal.

    Raises:
        ArchiveError: The file cannot be written.
    """
    folder = path.parent
    if not folder.is_dir():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sync(folder.parent)
            sync(folder.parent.parent)
        except OSError as error:
            raise ArchiveError(
                f"cannot create {folder} ({error.strerror}): choose a writable run folder"
            ) from error
    sha = hashlib.sha256(data)
    digits = sha.hexdigest().encode("ascii")
    with replacing(path) as temporary:
        temporary.write_bytes(data + digits)
    sha.update(digits)
    return sha.hexdigest()


def read_with_digest(path: Path) -> bytes:
    """Return what was written to a file, without its digest; raise as `check_digest`."""
    check_digest(path)
    with _open(path) as stream:
        return stream.read()[:-NUM_DIGITS]


def check_digest(path: Path) -> str:
    """Return the SHA-256 of all bytes of a file, as `write_with_digest` returned it.

    Raises:
        DamagedFileError: Its bytes are not those that were written.
        ArchiveError: There is no such file, or it cannot be read.
    """
    sha, last = hashlib.sha256(), b""
    with _open(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            pending = memoryview(last + block)
            sha.update(pending[:-NUM_DIGITS])
            last = bytes(pending[-NUM_DIGITS:])
    if sha.hexdigest().encode("ascii") != last:
        raise DamagedFileError(f"{path} is damaged, it is not what was written: restore a copy")
    sha.update(last)
    return sha.hexdigest()


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        raise ArchiveError(f"{path} is missing: restore the run's folder from a copy") from error
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be read ({error.strerror}): check disk and permissions"
        ) from error


def sync(path: Path) -> None:
    """Make the content of a file, or the entries of a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def add_crc32(line: bytes) -> bytes:
    """Return a JSON object with one more key, `crc32`: the CRC-32 of the line up to it."""
    body = line.removesuffix(b"}")
    return body + _CRC32 + _crc32_tail(body)


def matches_crc32(line: bytes) -> bool | None:
    """Return True if a line has the CRC-32 that it states, None if it states none."""
    body, separator, tail = line.rpartition(_CRC32)
    return tail == _crc32_tail(body) if separator else None


def _crc32_tail(body: bytes) -> bytes:
    return f'{zlib.crc32(body):08x}"}}'.encode("ascii")
