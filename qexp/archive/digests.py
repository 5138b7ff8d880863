"""Digests of an archive, defined so that anyone can recompute them; see `docs/archive-format.md`.

Those of results depend on nothing but the data: not on times, ids, metadata, the order in which
jobs finished, or QPY bytes. That of the file is stated in the file, so that any changed bit is
noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from qexp.archive.atomic_files import BLOCK_BYTES, NUM_DIGITS
from qexp.archive.schema import ROOT
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py

    from qexp.archive.netcdf import NetcdfGroup

(FILE_SHA256,) = ROOT.columns
"""Name of the dataset that states the digest of the file."""


def pub_digest(fields: Mapping[str, Any]) -> str:
    """Return the digest of one PUB's result data, 64 hexadecimal digits.

    SHA-256 over the fields in ascending order of their names: of each a line of compact JSON, then
    its bytes in C order, little-endian.

    Args:
        fields: Field name -> Qiskit `BitArray`, NumPy array or scalar, or any other value: what
            `dict(data_bin.items())` returns.
    """
    sha = hashlib.sha256()
    for name in sorted(fields):
        value = fields[name]
        if hasattr(value, "num_bits") and hasattr(value, "array"):
            bits = np.ascontiguousarray(value.array, dtype=np.uint8)
            sha.update(_line([name, "|u1", list(value.array.shape), int(value.num_bits)]))
            sha.update(bits.tobytes())
        elif is_array(value):
            array = np.asarray(value)
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            sha.update(_line([name, little.dtype.str, list(array.shape)]))
            sha.update(little.tobytes(order="C"))
        else:
            text = dumps(value, sort_keys=True).encode("utf-8", "backslashreplace")
            sha.update(_line([name, "json", len(text)]))
            sha.update(text)
    return sha.hexdigest()


def data_digest(pubs: Iterable[tuple[str, int, str]]) -> str:
    """Return the digest of all result data of a run, 64 hexadecimal digits.

    Args:
        pubs: (workload, index of the PUB, PUB digest) of every PUB that has a result, in any order.
    """
    sha = hashlib.sha256()
    for workload, index, digest in sorted(pubs):
        sha.update(_line([workload, int(index), digest]))
    return sha.hexdigest()


def is_array(value: Any) -> bool:
    """Return True for a value that is kept as an array: booleans, integers, real and complex."""
    return (
        isinstance(value, np.ndarray | np.generic)
        and value.dtype.kind in "biufc"
        and (value.dtype.itemsize // (2 if value.dtype.kind == "c" else 1) <= 8)
    )


def _line(header: list[Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n"


def reserve_file_digest(root: NetcdfGroup) -> None:
    """Give the digest of the file its place in a file that is being written."""
    # So small that it is contiguous: the digits have one place in the file.
    zeros = np.full(NUM_DIGITS, b"0", dtype="S1")
    root.put(FILE_SHA256, [ROOT.columns[FILE_SHA256].dim], zeros, {"_Encoding": "ascii"})


def write_file_digest(path: Path) -> None:
    """Write the digest of a finished file into it; nothing may change the file afterwards."""
    import h5py

    with h5py.File(path, "r") as file:
        start = _start(file)
    with path.open("r+b") as stream:
        digest = file_digest(_blocks(stream), start)
        stream.seek(start)
        stream.write(digest.encode("ascii"))


def has_file_digest(path: Path, root: h5py.Group) -> bool:
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
    """Return the SHA-256 of a file in which the digits that state it count as `0`.

    Args:
        blocks: The bytes of the file, in order, cut anywhere.
        start: Offset of the first of these digits.
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
