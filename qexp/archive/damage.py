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

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.circuit_digest import circuit_sha256
from qexp.archive.parts import COPY_BYTES
from qexp.archive.pubs import read_circuit
from qexp.archive.schema import ISA_CIRCUITS, LOGICAL_CIRCUITS, SNAPSHOTS
from qexp.core.jsonable import dumps
from qexp.text import error_reason, format_ranges

if TYPE_CHECKING:
    import h5py

_DEPTH: Final = 6
"""Groups in groups: an archive has four. A damaged link may lead back."""
_ALL: Final = 2**31


def damages(file: ArchiveFile) -> Iterator[str]:
    """Yield what cannot be read or does not fit together, one clause each, results aside."""
    has_damage = False
    for clause in _group_damages(file.group("/"), "", 0):
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
        _read(dataset, is_json=path.endswith("_json"))
    except Exception as error:
        yield f"{path} is damaged ({error_reason(error)})"
        starts, sizes = (f"{path.rpartition('/')[2]}_{name}" for name in ("start", "size"))
        if starts in table and sizes in table:
            slices = zip(table[starts][:].tolist(), table[sizes][:].tolist(), strict=False)
            lost = [k for k, piece in enumerate(slices) if not _is_readable(dataset, *piece)]
            if lost:
                where = table.name.removeprefix("/")
                yield f"circuits {format_ranges(lost, most=_ALL)} of {where} cannot be read"


def _read(dataset: h5py.Dataset, *, is_json: bool) -> None:
    """Read a dataset in bounded memory; raise whatever HDF5, UTF-8 or JSON has against it."""
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


def _is_readable(dataset: Any, start: int, size: int) -> bool:
    try:
        dataset[start : start + size]
    except Exception:
        return False
    return True


def _journal(file: ArchiveFile) -> Iterator[str]:
    lines = file.column("journal/text").tobytes().split(b"\n") if file.count("journal/text") else []
    for number, line in enumerate(lines, start=1):
        body, found, crc32 = line.rpartition(b',"crc32":"')
        if found and f"{zlib.crc32(body):08x}".encode() != crc32[:8]:
            yield f"line {number} of journal/text does not have its checksum"


def _calibrations(file: ArchiveFile) -> Iterator[str]:
    for name in file.groups(SNAPSHOTS):
        path = f"{SNAPSHOTS}/{name}"
        text = dumps(file.document(f"{path}/properties_json"), sort_keys=True)
        sha256 = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        if sha256 != file.attribute(path, "sha256"):
            yield f"calibration {path} does not have its digest"


def _circuits(file: ArchiveFile) -> Iterator[str]:
    """Yield circuits without their digest, where HDF5 has no checksum of their bytes."""
    if f"qiskit=={version('qiskit')}" not in file.texts("environment/distributions"):
        # Another version may read a circuit as another one.
        return
    for workload in file.groups("pubs"):
        for table in (LOGICAL_CIRCUITS, ISA_CIRCUITS):
            path = table.at(workload)
            if not file.count(f"{path}/qpy") or file.group(f"{path}/qpy").chunks is not None:
                continue
            for row, sha256 in enumerate(file.texts(f"{path}/sha256")):
                if not _has_digest(file, workload, table is ISA_CIRCUITS, row, sha256):
                    yield f"circuit {row} of {path} does not have its digest"


def _has_digest(file: ArchiveFile, workload: str, isa: bool, row: int, sha256: str) -> bool:
    try:
        return circuit_sha256(read_circuit(file, workload, isa, row)) == sha256
    except Exception:
        return False


def _jobs(file: ArchiveFile) -> Iterator[str]:
    """Yield rows of `/jobs` that contradict the partition that they ran."""
    if not file.count("jobs/partition"):
        return
    partitions = file.column("jobs/partition")
    for name in ("first", "stop", "predicted_executions", "payload_bytes", "predicted_qpu_s"):
        planned, ran = file.column(f"partitions/{name}"), file.column(f"jobs/{name}")
        for row in np.flatnonzero(planned[partitions] != ran).tolist():
            yield f"row {row} of jobs/{name} is not that of partitions/{name}"
