"""Check an archive of qexp (`run.h5`) with nothing but Python, h5py and NumPy.

    python verify_run.py run.h5

Recomputes the SHA-256 of the file, of each PUB's result and of all results, and compares them with
those that the file states. Exit code 0: all agree. 1: some do not, one line each.

Agreement shows that the file has not changed since it was sealed, by accident or by someone who did
not recompute the digests. It does not show who sealed it: keep a digest elsewhere for that.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

DIGITS = 64
BLOCK_BYTES = 1 << 20


def compact(value: Any, **options: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"), **options)


def file_digest(path: str, start: int) -> str:
    """Return the SHA-256 of a file in which the digits that state it, from `start`, count as 0."""
    sha = hashlib.sha256()
    with Path(path).open("rb") as stream:
        sha.update(stream.read(start))
        stream.read(DIGITS)
        sha.update(b"0" * DIGITS)
        while block := stream.read(BLOCK_BYTES):
            sha.update(block)
    return sha.hexdigest()


def add_field(sha: Any, field: dict[str, Any], stored: Any) -> None:
    """Add one field of a PUB's result, as it is stored, to its digest."""
    name, kind = field["name"], field["kind"]
    if kind == "json":
        plain = json.loads(stored)
        text = compact(plain, ensure_ascii=False, sort_keys=True)
        encoded = text.encode("utf-8", "backslashreplace")
        sha.update(compact([name, "json", len(encoded)]).encode() + b"\n" + encoded)
        return
    dtype = np.dtype(field["dtype"]).newbyteorder("<")
    if stored is None:
        array = np.empty(field["shape"], dtype)
    elif dtype.kind == "c":
        array = np.ascontiguousarray(stored).view(dtype)
    else:
        array = np.asarray(stored).astype(dtype)
    header = [name, dtype.str, field["shape"]]
    if kind == "bits":
        header.append(field["num_bits"])
    sha.update(compact(header).encode() + b"\n" + array.tobytes())


def pub_digest(group: Any, row: int) -> str:
    """Return the digest of the PUB in one row of a group of results."""
    sha = hashlib.sha256()
    fields = json.loads(group.attrs["signature_json"])["fields"]
    for field in sorted(fields, key=lambda field: field["name"]):
        dataset = group.get(field["variable"])
        stored = None if dataset is None else dataset[row]
        add_field(sha, field, stored)
    return sha.hexdigest()


def problems(path: str) -> Iterator[str]:
    """Yield what is not as it was sealed, one line each."""
    with h5py.File(path, "r") as file:
        if "file_sha256" in file:
            start = file["file_sha256"].id.get_offset()
            stated = file["file_sha256"][()].tobytes().decode("ascii")
            if file_digest(path, start) != stated:
                yield "the file does not have the SHA-256 that it states"
        else:
            yield "the file states no SHA-256 of its own (schema 1.0); its results were checked"
        total = hashlib.sha256()
        for workload in sorted(file["pubs"]):
            pubs = file["pubs"][workload]
            for k, row in enumerate(pubs["result_row"][()].tolist()):
                if row < 0:
                    continue
                stated = pubs["result_sha256"].asstr()[k]
                group = file["results"][workload][pubs["result_group"].asstr()[k]]
                if pub_digest(group, row) != stated:
                    yield f"PUB {k} of workload {workload!r} does not have its digest"
                total.update(compact([workload, k, stated]).encode() + b"\n")
        if total.hexdigest() != file.attrs["data_sha256"]:
            yield "the results together do not have the digest data_sha256"


def main() -> None:
    """Check the files that the command line names."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python verify_run.py run.h5 ...")
    found = 0
    for path in sys.argv[1:]:
        lines = list(problems(path))
        found += len(lines)
        sys.stdout.writelines(f"{path}: {line}\n" for line in lines or ["intact"])
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
