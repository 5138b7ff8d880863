"""Digests of result data, defined so that anyone can recompute them from an archive.

*PUB digest*: SHA-256, in hexadecimal, over the fields of the PUB's result in ascending order of
their names (by code point). Each field contributes one header line and its bytes:

- packed bits: `[name,"|u1",shape,num_bits]` + newline + the bytes in C order, where `shape` is
  `[sweep..., shots, bytes per shot]`;
- an array or number: `[name,dtype,shape]` + newline + the bytes in C order, where `dtype` is
  NumPy's little-endian `dtype.str` (`"<f8"`, `"<c16"`, `"|b1"`);
- anything else: `[name,"json",length]` + newline + `length` bytes of UTF-8 JSON with sorted keys.

Headers are compact ASCII JSON (no spaces).

*Data digest* (`data_sha256`): SHA-256 over one line `[workload,index,"PUB digest"]` + newline per
PUB that has a result, compact ASCII JSON, ordered by workload name, then by index.

Neither depends on times, ids, metadata, the order in which jobs finished, or QPY bytes.

*File digest* (`file_sha256`): SHA-256 of all bytes of the archive's file, in which the 64 bytes
that state this digest count as the digit `0`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from qexp.core.jsonable import dumps

#: Hexadecimal digits of a SHA-256.
NUM_DIGITS: Final = 64


def pub_digest(fields: Mapping[str, Any]) -> str:
    """Digest of one PUB's result data.

    Args:
        fields: Field name -> Qiskit `BitArray`, NumPy array or scalar, or any other value: what
            `dict(data_bin.items())` returns.

    Returns:
        64 hexadecimal digits.
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
    """Digest of all result data of a run.

    Args:
        pubs: (workload, index of the PUB, PUB digest) of every PUB that has a result, in any order.

    Returns:
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for workload, index, digest in sorted(pubs):
        sha.update(_line([workload, int(index), digest]))
    return sha.hexdigest()


def file_digest(blocks: Iterable[bytes], start: int) -> str:
    """Digest of a file that states its own digest.

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


def is_array(value: Any) -> bool:
    """Whether a result field is kept as a NumPy array: booleans, integers, real and complex."""
    return (
        isinstance(value, np.ndarray | np.generic)
        and value.dtype.kind in "biufc"
        and (value.dtype.itemsize // (2 if value.dtype.kind == "c" else 1) <= 8)
    )


def _line(header: list[Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n"
