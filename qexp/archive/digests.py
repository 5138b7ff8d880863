"""Digests of an archive, defined so that anyone can recompute them; see `docs/archive-format.md`.

Digests of results depend on the data alone: not on times, ids, metadata, the order in which jobs
finished, or QPY bytes. The digest of the file is stated in the file, so that any changed bit is
noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile, open_hdf5
from qexp.archive.atomic_files import BLOCK_BYTES, NUM_DIGITS, DamagedFileError
from qexp.archive.schema import FILE_SHA256, ROOT
from qexp.core.jsonable import dumps
from qexp.text import error_reason

if TYPE_CHECKING:
    import h5py

    from qexp.archive.netcdf import NetcdfGroup

COMPARED_BYTES: Final = 16 * 2**20
"""Size of a file up to which all of it is compared with its digest whenever it is opened."""
_NOT_SEALED: Final = "{} is not what was sealed: restore it from a copy"


def pub_digest(fields: Mapping[str, Any]) -> str:
    """Return the digest of one PUB's result data, 64 hexadecimal digits.

    SHA-256 over the fields, as `dict(data_bin.items())` returns them, in ascending order of their
    names: of each a line of compact JSON, then its bytes in C order, little-endian.
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

    It is of (workload, index of the PUB, PUB digest) of every PUB with a result, in any order.
    """
    sha = hashlib.sha256()
    for workload, index, digest in sorted(pubs):
        sha.update(_line([workload, int(index), digest]))
    return sha.hexdigest()


def is_array(value: Any) -> bool:
    """Return True for a value that is stored as an array: booleans, integers, real, complex."""
    return (
        isinstance(value, np.ndarray | np.generic)
        and value.dtype.kind in "biufc"
        and (value.dtype.itemsize // (2 if value.dtype.kind == "c" else 1) <= 8)
    )


def _line(header: list[Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n"


def reserve_file_digest(root: NetcdfGroup) -> None:
    """Reserve the place of its digest in a file that is being written."""
    # Datasets of this size are contiguous: the digits are in one place of the file.
    zeros = np.full(NUM_DIGITS, b"0", dtype="S1")
    root.put(FILE_SHA256, [ROOT.columns[FILE_SHA256].dim], zeros, {"_Encoding": "ascii"})


def write_file_digest(path: Path) -> None:
    """Write the digest of a finished file into it; nothing may change the file afterwards."""
    import h5py

    with h5py.File(path, "r") as file:
        start = file[FILE_SHA256].id.get_offset()
    with path.open("r+b") as stream:
        digest = file_digest(_blocks(stream), start)
        stream.seek(start)
        stream.write(digest)


def is_as_sealed(path: Path) -> bool | None:
    """Return True if a file has the digest that it states, None if it states none.

    Raises:
        DamagedFileError: It is no HDF5 file, or too damaged to be opened.
    """
    file = open_hdf5(path)
    try:
        return _is_as_sealed(file, path)
    finally:
        file.close()


def open_sealed(path: Path) -> tuple[ArchiveFile, bool]:
    """Open an archive; return it, and True if its digest was compared, as it has at most 16 MiB.

    Raises:
        DamagedFileError: It is not what was sealed, or too damaged to be opened.
    """
    file, matches_digest = open_hdf5(path), None
    try:
        if path.stat().st_size <= COMPARED_BYTES:
            matches_digest = _is_as_sealed(file, path)
        if matches_digest is False:
            raise DamagedFileError(_NOT_SEALED.format(path))
        archive = ArchiveFile(path, file)
        if matches_digest is None and lacks_digest(archive):
            raise DamagedFileError(_NOT_SEALED.format(path))
    except BaseException:
        file.close()
        raise
    return archive, matches_digest is True


def _is_as_sealed(file: h5py.File, path: Path) -> bool | None:
    import h5py

    # No attribute or text is read: only these are not protected by a checksum of HDF5's own, and
    # HDF5 hangs on some that are damaged.
    try:
        if not file.id.links.exists(FILE_SHA256.encode()):
            return None
        start = h5py.h5d.open(file.id, FILE_SHA256.encode()).get_offset()
        if start is None:
            return False
        with path.open("rb") as stream:
            digest = file_digest(_blocks(stream), start)
            stream.seek(start)
            return stream.read(NUM_DIGITS) == digest
    except Exception as error:
        reason = error_reason(error)
        raise DamagedFileError(
            f"{path} cannot be opened ({reason}): restore it from a copy"
        ) from error


def is_intact(path: Path) -> bool | None:
    """Return True if a file is what was sealed.

    None only for schema 1.0, whose results have digests, which are compared as they are read.

    Raises:
        ArchiveError: It is no archive, or too damaged to be opened.
    """
    matches_digest = is_as_sealed(path)
    if matches_digest is not None:
        return matches_digest
    with ArchiveFile(path) as file:
        return False if lacks_digest(file) else None


def lacks_digest(file: ArchiveFile) -> bool:
    """Return True for a file without its own SHA-256 whose schema requires one."""
    return FILE_SHA256 not in file.group("/") and file.minor >= ROOT.columns[FILE_SHA256].since


def file_digest(blocks: Iterable[bytes], start: int) -> bytes:
    """Return the SHA-256 of a file in which the 64 digits at `start` count as `0`.

    The bytes of the file come in order, cut anywhere; the digest is returned as digits.
    """
    sha, position = hashlib.sha256(), 0
    for block in blocks:
        first = min(max(start - position, 0), len(block))
        stop = min(max(start + NUM_DIGITS - position, 0), len(block))
        sha.update(block[:first])
        sha.update(b"0" * (stop - first))
        sha.update(block[stop:])
        position += len(block)
    return sha.hexdigest().encode("ascii")


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block
