"""The file's own SHA-256 inside it, so that any changed bit is noticed: `/file_sha256`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from qexp.archive.commit import BLOCK_BYTES
from qexp.archive.layout import Variable
from qexp.core.digest import NUM_DIGITS, file_digest
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py

STAMP: Final = "file_sha256"
_DIMENSION: Final = "hex_digit"


def stamp_variable() -> Variable:
    """The variable that is to hold the digest."""
    # So small that it is contiguous: the digits have one place in the file.
    return Variable((_DIMENSION,), (NUM_DIGITS,), np.dtype("S1"), {"_Encoding": "ascii"})


def make_room(file: h5py.File) -> None:
    """Give the digest its place in a file that is being written."""
    file[STAMP][...] = np.full(NUM_DIGITS, b"0", dtype="S1")


def stamp(path: Path) -> None:
    """Write the digest of a finished file into it, in place; nothing may change it afterwards.

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


def stated_and_found(path: Path, root: h5py.Group) -> tuple[str, str]:
    """The digest that a file states, and that which its bytes have.

    Raises:
        ArchiveError: It states none.
    """
    start = _start(root)
    with path.open("rb") as stream:
        found = file_digest(_blocks(stream), start)
        stream.seek(start)
        return stream.read(NUM_DIGITS).decode("ascii", "replace"), found


def _start(root: h5py.Group) -> int:
    dataset = root.get(STAMP)
    start = None if dataset is None else dataset.id.get_offset()
    if start is None:
        msg = f"{root.file.filename} does not state its SHA-256 ({STAMP}): restore it from a copy."
        raise ArchiveError(msg)
    return int(start)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block
