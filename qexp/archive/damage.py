"""Find where a damaged file is damaged, as far as it can be told.

HDF5 has checksums of its own for its structure and for whatever is compressed; texts and small
columns have none. Of these, the ones are reported that are no valid text or JSON, or contradict
their digest or another column.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.circuit_digest import circuit_sha256
from qexp.archive.circuits import load_circuit
from qexp.archive.parts import COPY_BYTES
from qexp.archive.schema import ISA_CIRCUITS, JOBS, LOGICAL_CIRCUITS, PARTITIONS, SNAPSHOTS
from qexp.core.jsonable import dumps
from qexp.text import error_reason, format_ranges

if TYPE_CHECKING:
    import h5py

_BYTES: Final = ("qpy", "qasm3")
"""Bytes of circuits, with columns `_start` and `_size` of each."""
_DEPTH: Final = 6
"""Groups in groups: an archive has four. A damaged link may lead back."""
_ALL: Final = 2**31


def damages(file: h5py.Group) -> Iterator[str]:
    """Yield what cannot be read or does not fit together, one clause each, results aside.

    Args:
        file: The root of an archive.
    """
    has_damage = False
    for clause in _group_damages(file, "", 0):
        has_damage = True
        yield clause
    for look in (_journal, _calibrations, _circuits, _jobs):
        try:
            yield from look(file)
        except Exception as error:
            # Usually already reported.
            if not has_damage:
                yield f"{look.__name__.strip('_')} cannot be compared ({error_reason(error)})"


def _group_damages(group: h5py.Group, path: str, depth: int) -> Iterator[str]:
    """Visit every group and dataset, skipping those that cannot be opened."""
    try:
        names = list(group)
    except Exception as error:
        yield f"group {path or '/'} cannot be listed ({error_reason(error)})"
        return
    try:
        list(group.attrs.items())
    except Exception as error:
        yield f"attributes of {path or '/'} cannot be read ({error_reason(error)})"
    for name in names if depth < _DEPTH else ():
        below = f"{path}/{name}".removeprefix("/")
        try:
            item = group[name]
        except Exception as error:
            yield f"{below} cannot be opened ({error_reason(error)})"
            continue
        if hasattr(item, "keys"):
            yield from _group_damages(item, below, depth + 1)
        elif not below.startswith("results/"):
            # Results are compared with their digests.
            yield from _dataset_damages(group, item, below)


def _dataset_damages(table: h5py.Group, dataset: h5py.Dataset, path: str) -> Iterator[str]:
    try:
        _read(dataset, path)
    except Exception as error:
        yield f"{path} is damaged ({error_reason(error)})"
        name = path.rpartition("/")[2]
        if name in _BYTES and f"{name}_start" in table:
            yield from _lost_circuits(table, dataset, name)


def _read(dataset: h5py.Dataset, path: str) -> None:
    """Read a dataset in bounded memory.

    Raises:
        Exception: Whatever HDF5, UTF-8 or JSON has to say against it.
    """
    is_json = path.endswith("_json")
    if dataset.dtype.kind == "O":
        values = dataset.asstr()[()]
        for text in [values] if isinstance(values, str) else values:
            if is_json and text:
                json.loads(text)
    elif is_json:
        json.loads(dataset[:].tobytes().decode("utf-8"))
    elif dataset.ndim != 1:
        dataset[()]
    else:
        step = max(1, COPY_BYTES // max(1, dataset.dtype.itemsize))
        for start in range(0, dataset.shape[0], step):
            dataset[start : start + step]


def _lost_circuits(table: h5py.Group, dataset: h5py.Dataset, name: str) -> Iterator[str]:
    try:
        starts, sizes = table[f"{name}_start"][:], table[f"{name}_size"][:]
    except Exception:
        return
    pairs = enumerate(zip(starts.tolist(), sizes.tolist(), strict=False))
    lost = [k for k, (start, size) in pairs if not _is_readable(dataset, start, size)]
    if lost:
        ranges = format_ranges(lost, most=_ALL)
        yield f"circuits {ranges} of {table.name.removeprefix('/')} cannot be read"


def _is_readable(dataset: Any, start: int, size: int) -> bool:
    try:
        dataset[start : start + size]
    except Exception:
        return False
    return True


def _journal(file: h5py.Group) -> Iterator[str]:
    if "journal/text" not in file:
        return
    lines = file["journal/text"][:].tobytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        body, found, crc32 = line.rpartition(b',"crc32":"')
        if found and f"{zlib.crc32(body):08x}".encode() != crc32[:8]:
            yield f"line {number} of journal/text does not have its checksum"


def _calibrations(file: h5py.Group) -> Iterator[str]:
    for name, group in file.get(SNAPSHOTS, {}).items():
        properties = json.loads(group["properties_json"][:].tobytes().decode("utf-8"))
        text = dumps(properties, sort_keys=True).encode("utf-8", "replace")
        if hashlib.sha256(text).hexdigest() != group.attrs["sha256"]:
            yield f"calibration {SNAPSHOTS}/{name} does not have its digest"


def _circuits(file: h5py.Group) -> Iterator[str]:
    """Yield circuits without their digest, where HDF5 has no checksum of their bytes."""
    if f"qiskit=={version('qiskit')}" not in file["environment/distributions"].asstr()[:]:
        # Another version may read a circuit as another one.
        return
    for workload in file["circuits"]:
        for path in (LOGICAL_CIRCUITS.at(workload), ISA_CIRCUITS.at(workload)):
            table = file.get(path)
            if table is None or "qpy" not in table or table["qpy"].chunks is not None:
                continue
            raw, digests = table["qpy"][:].tobytes(), table["sha256"].asstr()[:]
            slices = zip(table["qpy_start"][:].tolist(), table["qpy_size"][:].tolist(), strict=True)
            for k, (start, size) in enumerate(slices):
                if not _has_digest(raw[start : start + size], digests[k]):
                    yield f"circuit {k} of {path} does not have its digest"


def _has_digest(raw: bytes, sha256: str) -> bool:
    try:
        return circuit_sha256(load_circuit(raw, "a circuit")) == sha256
    except Exception:
        return False


def _jobs(file: h5py.Group) -> Iterator[str]:
    """Yield rows of `/jobs` that contradict the partition that they ran."""
    if JOBS.path not in file:
        return
    jobs, partitions = file[JOBS.path], file[PARTITIONS.path]
    rows = jobs["partition"][:]
    for name in ("first", "stop", "predicted_executions", "payload_bytes", "predicted_qpu_s"):
        planned, ran = partitions[name][:], jobs[name][:]
        for row in np.flatnonzero(planned[rows] != ran).tolist():
            yield f"row {row} of jobs/{name} is not that of partitions/{name}"
