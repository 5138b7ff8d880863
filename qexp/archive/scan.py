"""Where a damaged file is damaged, as far as it can be told.

HDF5 has checksums of its own for its structure and for whatever is compressed; texts and small
columns have none. Of these is told what is no text or JSON, and what contradicts its digest or
another column.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.schema import SNAPSHOTS
from qexp.archive.tables import COPY_BYTES
from qexp.core.jsonable import dumps

if TYPE_CHECKING:
    import h5py

#: Bytes of circuits, with the columns that say where each begins and how long it is.
_SLICED: Final = ("qpy", "qasm3")
#: Groups in groups: an archive has four. A damaged link may lead back.
_DEPTH: Final = 6


def damages(file: h5py.Group) -> Iterator[str]:
    """What cannot be read or does not belong together, one clause each; results apart.

    Args:
        file: The root of an archive.
    """
    is_told = False
    for clause in _below(file, "", 0):
        is_told = True
        yield clause
    for look in (_journal, _calibrations, _circuits, _jobs):
        try:
            yield from look(file)
        except Exception as error:
            # Mostly what has been told already.
            if not is_told:
                yield f"{look.__name__.strip('_')} cannot be compared ({one_line(error)})"


def _below(group: h5py.Group, path: str, depth: int) -> Iterator[str]:
    """Go through groups and datasets, whatever of them cannot be opened."""
    try:
        names = list(group)
    except Exception as error:
        yield f"group {path or '/'} cannot be listed ({one_line(error)})"
        return
    try:
        list(group.attrs.items())
    except Exception as error:
        yield f"attributes of {path or '/'} cannot be read ({one_line(error)})"
    for name in names if depth < _DEPTH else ():
        below = f"{path}/{name}".removeprefix("/")
        try:
            item = group[name]
        except Exception as error:
            yield f"{below} cannot be opened ({one_line(error)})"
            continue
        if hasattr(item, "keys"):
            yield from _below(item, below, depth + 1)
        elif not below.startswith("results/"):
            # Damage there is told by PUB.
            yield from _dataset(group, item, below)


def _dataset(table: h5py.Group, dataset: h5py.Dataset, path: str) -> Iterator[str]:
    try:
        _read(dataset, path)
    except Exception as error:
        yield f"{path} is damaged ({one_line(error)})"
        name = path.rpartition("/")[2]
        if name in _SLICED and f"{name}_start" in table:
            yield from _lost_circuits(table, dataset, name)


def _read(dataset: h5py.Dataset, path: str) -> None:
    """Read a dataset in bounded memory.

    Raises:
        Exception: Whatever HDF5, UTF-8 or JSON has to say against it.
    """
    if dataset.dtype.kind == "O":
        values = dataset.asstr()[()]
        if path.endswith("_json"):
            for text in [values] if isinstance(values, str) else values:
                # An absent value is an empty text.
                json.loads(text or "null")
        return
    if path.endswith("_json"):
        json.loads(dataset[:].tobytes().decode("utf-8"))
        return
    step = max(1, COPY_BYTES // max(1, dataset.dtype.itemsize))
    for start in range(0, dataset.shape[0] if dataset.ndim == 1 else 0, step):
        dataset[start : start + step]
    if dataset.ndim != 1:
        dataset[()]


def _lost_circuits(table: h5py.Group, dataset: h5py.Dataset, name: str) -> Iterator[str]:
    try:
        starts, sizes = table[f"{name}_start"][:], table[f"{name}_size"][:]
    except Exception:
        return
    pairs = list(zip(starts.tolist(), sizes.tolist(), strict=False))
    lost = [k for k, (start, size) in enumerate(pairs) if not _is_readable(dataset, start, size)]
    if lost:
        yield f"circuits {_ranges(lost)} of {table.name.removeprefix('/')} cannot be read"


def _is_readable(dataset: Any, start: int, size: int) -> bool:
    try:
        dataset[start : start + size]
    except Exception:
        return False
    return True


def _ranges(indices: list[int]) -> str:
    """`0-4, 7` for ascending indices."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


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
    """Circuits that do not have their digest, where their bytes have no checksum of HDF5's."""
    ours = f"qiskit=={version('qiskit')}"
    if ours not in file["environment/distributions"].asstr()[:]:
        # Another version may read a circuit as another one.
        return
    for workload in file["circuits"]:
        for kind in ("logical", "isa"):
            table = file.get(f"circuits/{workload}/{kind}")
            if table is None or "qpy" not in table or table["qpy"].chunks is not None:
                continue
            raw, stated = table["qpy"][:].tobytes(), table["sha256"].asstr()[:]
            slices = zip(table["qpy_start"][:].tolist(), table["qpy_size"][:].tolist(), strict=True)
            for k, (start, size) in enumerate(slices):
                if not _is_circuit(raw[start : start + size], stated[k]):
                    path = table.name.removeprefix("/")
                    yield f"circuit {k} of {path} does not have its digest"


def _is_circuit(raw: bytes, sha256: str) -> bool:
    from qexp.archive.circuits import load_circuit
    from qexp.archive.identity import circuit_sha256

    try:
        return circuit_sha256(load_circuit(raw, "a circuit")) == sha256
    except Exception:
        return False


def _jobs(file: h5py.Group) -> Iterator[str]:
    """Rows of `/jobs` that are not those of their partition."""
    if "jobs" not in file:
        return
    names = ("first", "stop", "predicted_executions", "payload_bytes", "predicted_qpu_s")
    of = file["jobs/partition"][:]
    for name in names:
        planned, ran = file[f"partitions/{name}"][:], file[f"jobs/{name}"][:]
        for row in np.flatnonzero(planned[of] != ran).tolist():
            yield f"row {row} of jobs/{name} is not that of partitions/{name}"


def one_line(error: Exception) -> str:
    """What an exception says, or its type where it says nothing, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
