"""The SHA-256 of an archive, stated in the file itself, so that any changed bit is noticed.

It is that of all bytes of the file, in which the 64 digits that state it count as `0`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from qexp.archive.atomic_files import BLOCK_BYTES, NUM_DIGITS
from qexp.archive.schema import ROOT
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py

    from qexp.archive.netcdf import NetcdfGroup

(FILE_SHA256,) = ROOT.columns
_ZEROS: Final = np.full(NUM_DIGITS, b"0", dtype="S1")


def reserve_digest(root: NetcdfGroup) -> None:
    """Give the digest its place in a file that is being written."""
    # So small that it is contiguous: the digits have one place in the file.
    root.put(FILE_SHA256, [ROOT.columns[FILE_SHA256].dim], _ZEROS, {"_Encoding": "ascii"})


def write_digest(path: Path) -> None:
    """Write the digest of a finished file into it; nothing may change the file afterwards.

    Raises:
        ArchiveError: There is no room for it.
    """
    import h5py

    with h5py.File(path, "r") as file:
        start = _start(file)
    with path.open("r+b") as stream:
        digest = file_digest(_blocks(stream), start)
        stream.seek(start)
        stream.write(digest.encode("ascii"))


def has_its_digest(path: Path, root: h5py.Group) -> bool:
    """Return True where the bytes of a file have the digest that it states.

    Raises:
        ArchiveError: It states none.
    """
    start = _start(root)
    with path.open("rb") as stream:
        digest = file_digest(_blocks(stream), start)
        stream.seek(start)
        return stream.read(NUM_DIGITS) == digest.encode("ascii")


def file_digest(blocks: Iterable[bytes], start: int) -> str:
    """Return the digest of a file that states its own digest.

    Args:
        blocks: The bytes of the file, in order, cut anywhere.
        start: Offset of the first of the digits that state it.

    Returns:
        64 hexadecimal digits.
    """
    sha, position = hashlib.sha256(), 0
    for block in blocks:
        first = min(max(start - position, 0), len(block))
        stop = min(max(start + NUM_DIGITS - position, 0), len(block))
        sha.update(block[:first])
        sha.update(b"0" * (stop - first))
        sha.update(block[stop:])
        position += len(block)
    return sha.hexdigest()


def _start(root: h5py.Group) -> int:
    dataset = root.get(FILE_SHA256)
    start = None if dataset is None else dataset.id.get_offset()
    if start is None:
        raise ArchiveError(
            f"{root.file.filename} does not state its SHA-256 ({FILE_SHA256}): restore a copy"
        )
    return int(start)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block
