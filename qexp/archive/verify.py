"""Check that an archive is what was sealed, and find what is damaged if it is not.

HDF5 has checksums for its structure and for compressed data, but none for texts and small columns.
Of these, a value is reported if it is no valid text or JSON, or contradicts its digest or another
column.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile, locate
from qexp.archive.atomic_files import matches_crc32
from qexp.archive.circuit_digest import circuit_sha256
from qexp.archive.digests import (
    data_digest,
    is_as_sealed,
    is_intact,
    lacks_digest,
    pub_digest,
)
from qexp.archive.isolated import IsolatedReader
from qexp.archive.parts import COPY_BYTES
from qexp.archive.pubs import read_circuit
from qexp.archive.results import ResultReader, Signature
from qexp.archive.schema import (
    FIELDS,
    FILE_SHA256,
    ISA_CIRCUITS,
    LOGICAL_CIRCUITS,
    PUBS,
    RAW,
    READOUT,
    ROOT,
    SNAPSHOTS,
    SUMMARY,
    TABLES,
)
from qexp.archive.summary import make_summary, stated_summary
from qexp.archive.tables import Table
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from qexp.text import error_reason, format_ranges, one_line

if TYPE_CHECKING:
    import h5py

PROBLEMS: Final = f"{__name__}:problems"
"""The function that an `IsolatedReader` for `verify` calls."""
_RESULT: Final = "result"
_OTHER: Final = "other"
_TIMEOUT_S: Final = 60.0
_BYTES_PER_S: Final = 5e6
_DEPTH: Final = 6
"""Greatest depth of groups; an archive has four. A damaged link may form a loop."""
_NO_LIMIT: Final = 2**31


def verify(path: str | Path, reader: IsolatedReader | None = None) -> list[str]:
    """Check an archive: the digest of the file, of every PUB and of all data, and the schema.

    Reads the whole file, one PUB at a time. Archives of schema 1.0 have no digest of the file, so
    only their results are checked. A file that is not what was sealed is read in full, to name what
    is damaged. Return every problem, one line each; none if the archive is what was sealed.

    Given are the file or the run's folder; `reader` is an `IsolatedReader(PROBLEMS)` that verifies
    several files.
    """
    try:
        located = locate(Path(path))
        matches_digest = is_as_sealed(located)
    except ArchiveError as error:
        return [str(error)]
    if matches_digest:
        return [line for _, line in problems(str(located), is_damaged=False)]
    timeout_s = _TIMEOUT_S + located.stat().st_size / _BYTES_PER_S
    noticed: list[tuple[str, str]] = []
    with IsolatedReader(PROBLEMS) as own:
        try:
            noticed.extend((reader or own).read(str(located), timeout_s))
        except ArchiveError as error:
            noticed.append((_RESULT, f"not everything in it could be checked: {error}"))
    lines = [line for _, line in noticed]
    if matches_digest is None:
        return lines
    summary = f"{located} is not what was sealed: restore it from a copy"
    if not any(kind == _RESULT for kind, _ in noticed):
        summary += "; its results are intact"
    return [summary, *lines]


def require_intact(given: str | Path) -> Path:
    """Return the file of an archive that is what was sealed: HDF5 and Qiskit may hang on others.

    Given are the file or the run's folder; any other archive is refused.

    Raises:
        ArchiveError: It is not there, not what was sealed, or no archive.
    """
    path = locate(Path(given))
    if is_intact(path) is False:
        raise ArchiveError(
            f"{path} is not what was sealed: restore it from a copy; what is damaged: python -m "
            f"qexp verify {path}"
        )
    return path


def problems(path: str, *, is_damaged: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the problems of a file: their kind (a result, or anything else), and one line.

    Where the file may be damaged anywhere (`is_damaged`), everything in it is read.
    """
    try:
        file = ArchiveFile(Path(path))
    except ArchiveError as error:
        yield _RESULT, str(error)
        return
    with file:
        reports = find_damage(file) if is_damaged else ()
        for kind, lines in (
            (_RESULT, result_problems(file)),
            (_OTHER, (f"in {path}: {report}" for report in reports)),
            (_OTHER, schema_problems(file)),
        ):
            try:
                for line in lines:
                    yield kind, one_line(line)
            except Exception as error:
                yield kind, f"{path} is damaged ({error_reason(error)}): restore it from a copy"


def result_problems(file: ArchiveFile) -> Iterator[str]:
    """Yield the PUBs whose data do not match their digest, in one line each."""
    reader, digests = ResultReader(file), []
    for workload in file.groups("pubs"):
        names = ("pub", "result_row", "result_group", "result_sha256")
        index, rows, groups, stated = (file.column(f"{PUBS.at(workload)}/{name}") for name in names)
        for k in np.flatnonzero(rows >= 0).tolist():
            digests.append((workload, int(index[k]), stated[k]))
            problem = "" if index[k] == k else f"it is in row {k}"
            try:
                if pub_digest(reader.values(workload, groups[k], int(rows[k]))) != stated[k]:
                    problem = "its data does not have its digest"
            except Exception as error:
                problem = f"it cannot be read ({error_reason(error)})"
            if problem:
                yield f"PUB {index[k]} of {workload!r} in {file.path} is damaged: {problem}"
    if data_digest(digests) != file.attribute("/", "data_sha256"):
        yield f"the data digest of {file.path} is not that of its results"
    for table in (RAW, READOUT):
        for path in _paths(file, table):
            for row, stated in enumerate(file.column(f"{path}/sha256")):
                problem = "do not have their digest"
                try:
                    if pub_digest(reader.fields(path, row)) == stated:
                        continue
                except Exception as error:
                    problem = f"cannot be read ({error_reason(error)})"
                yield f"the data in row {row} of {path} in {file.path} {problem}"


def schema_problems(file: ArchiveFile) -> Iterator[str]:
    """Yield what a file lacks although its schema requires it, and a wrong summary, one line each.

    Columns without elements and tables without rows are not stored.
    """
    if lacks_digest(file):
        yield f"{file.path} does not state its SHA-256 ({FILE_SHA256}): restore it from a copy"
    missing = list(_missing(file))
    yield from (f"{file.path} lacks what its schema requires: {report}" for report in missing)
    has_summary = not missing and SUMMARY in file.group("/").attrs
    if has_summary and stated_summary(file) != make_summary(file):
        yield f"the summary of {file.path} ({SUMMARY}) is not that of its contents"


def _missing(file: ArchiveFile) -> Iterator[str]:
    root, minor = file.group("/"), file.minor
    for table in TABLES:
        for path in _paths(file, table):
            if path in root:
                yield from _table_problems(file, table, path, minor)
            elif table.is_required:
                yield f"group {path} is missing"
    workloads = file.groups("pubs")
    if not workloads:
        yield "there are no PUBs"
    for workload in workloads:
        for path in (LOGICAL_CIRCUITS.at(workload), ISA_CIRCUITS.at(workload)):
            if file.count(f"{path}/sha256") != file.count(f"{PUBS.at(workload)}/pub"):
                yield f"{path} has another number of rows than {PUBS.at(workload)}"


def _paths(file: ArchiveFile, table: Table) -> list[str]:
    """Return the paths of the groups that are, or should be, tables of this declaration."""
    paths = [""]
    for part in table.path.split("/"):
        paths = [
            f"{path}/{name}".removeprefix("/")
            for path in paths
            # Every workload has circuits.
            for name in (
                file.groups("pubs" if path == "circuits" else path) if part == "*" else [part]
            )
        ]
    return [path or "/" for path in paths]


def _table_problems(file: ArchiveFile, table: Table, path: str, minor: int) -> Iterator[str]:
    group = file.group(path)
    for name, attribute in table.attributes.items():
        if attribute.since <= minor and name not in group.attrs:
            yield f"{path}@{name} is missing"
    names = [
        name
        for name, column in table.columns.items()
        if column.since <= minor and not column.is_optional and table is not ROOT
    ]
    if table.dim and not table.is_required and not any(name in group for name in names):
        return
    counted = [name for name in names if table.dim and not table.columns[name].dim]
    if table in FIELDS:
        signature = group.attrs.get("signature_json")
        fields = Signature.from_json(signature).fields if signature else ()
        variables = [field.variable for field in fields if 0 not in field.shape]
        names, counted = names + variables, counted + variables
    yield from (f"{path}/{name} is missing" for name in names if name not in group)
    lengths = {name: file.count(f"{path}/{name}") for name in counted if name in group}
    known = list(lengths.values())
    usual = max(set(known), key=known.count, default=0)
    for name, length in lengths.items():
        if length != usual:
            yield f"{path}/{name} has {length} rows, the table has {usual}"


def find_damage(file: ArchiveFile) -> Iterator[str]:
    """Yield what cannot be read or is contradictory, one report each; results are left out."""
    has_damage = False
    for report in _group_damages(file.group("/"), "", 0):
        has_damage = True
        yield report
    for check in (_journal, _calibrations, _circuits, _jobs):
        try:
            yield from check(file)
        except Exception as error:
            # Usually already reported.
            if not has_damage:
                yield f"{check.__name__.strip('_')} cannot be compared ({error_reason(error)})"


def _group_damages(group: h5py.Group, path: str, depth: int) -> Iterator[str]:
    """Visit every group and dataset, skipping those that cannot be opened."""
    if reason := _failure(list, group):
        yield f"group {path or '/'} cannot be listed ({reason})"
        return
    if reason := _failure(list, group.attrs.values()):
        yield f"attributes of {path or '/'} cannot be read ({reason})"
    for name in group if depth < _DEPTH else ():
        below = f"{path}/{name}".removeprefix("/")
        if reason := _failure(group.__getitem__, name):
            yield f"{below} cannot be opened ({reason})"
        elif hasattr(group[name], "keys"):
            yield from _group_damages(group[name], below, depth + 1)
        elif not below.startswith(("results/", "raw/", "readout/")):
            # These are compared with their digests.
            yield from _dataset_damages(group, name, below)


def _dataset_damages(table: h5py.Group, name: str, path: str) -> Iterator[str]:
    dataset = table[name]
    if reason := _failure(_read, dataset, path.endswith("_json")):
        yield f"{path} is damaged ({reason})"
        starts, sizes = f"{name}_start", f"{name}_size"
        if starts in table and sizes in table:
            stops = (table[starts][:] + table[sizes][:]).tolist()
            slices = map(slice, table[starts][:].tolist(), stops)
            lost = [k for k, piece in enumerate(slices) if _failure(dataset.__getitem__, piece)]
            if lost:
                where = table.name.removeprefix("/")
                yield f"circuits {format_ranges(lost, most=_NO_LIMIT)} of {where} cannot be read"


def _failure(function: Callable[..., object], *arguments: object) -> str:
    """Return the reason why a call fails, `""` if it does not."""
    try:
        function(*arguments)
    except Exception as error:
        return error_reason(error)
    return ""


def _read(dataset: h5py.Dataset, is_json: bool) -> None:
    """Read a dataset in bounded memory; raise the error of HDF5, UTF-8 or JSON."""
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


def _journal(file: ArchiveFile) -> Iterator[str]:
    lines = file.column("journal/text").tobytes().split(b"\n") if file.count("journal/text") else []
    for number, line in enumerate(lines, start=1):
        if matches_crc32(line) is False:
            yield f"line {number} of journal/text does not have its checksum"


def _calibrations(file: ArchiveFile) -> Iterator[str]:
    for name in file.groups(SNAPSHOTS):
        path = f"{SNAPSHOTS}/{name}"
        text = dumps(file.document(f"{path}/properties_json"), sort_keys=True)
        sha256 = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        if sha256 != file.attribute(path, "sha256"):
            yield f"calibration {path} does not have its digest"


def _circuits(file: ArchiveFile) -> Iterator[str]:
    """Yield circuits that do not match their digest, if HDF5 has no checksum of their bytes."""
    if f"qiskit=={version('qiskit')}" not in file.texts("environment/distributions"):
        # Another version may read a circuit differently.
        return
    for workload in file.groups("pubs"):
        for table in (LOGICAL_CIRCUITS, ISA_CIRCUITS):
            path = table.at(workload)
            if not file.count(f"{path}/qpy") or file.group(f"{path}/qpy").chunks is not None:
                continue
            for row, sha256 in enumerate(file.texts(f"{path}/sha256")):
                try:
                    circuit = read_circuit(file, workload, table is ISA_CIRCUITS, row)
                    has_digest = circuit_sha256(circuit) == sha256
                except Exception:
                    has_digest = False
                if not has_digest:
                    yield f"circuit {row} of {path} does not have its digest"


def _jobs(file: ArchiveFile) -> Iterator[str]:
    """Yield rows of `/jobs` that contradict the partition that they ran."""
    if not file.count("jobs/partition"):
        return
    partitions = file.column("jobs/partition")
    for name in ("first", "stop", "predicted_executions", "payload_bytes", "predicted_qpu_s"):
        planned, ran = file.column(f"partitions/{name}"), file.column(f"jobs/{name}")
        for row in np.flatnonzero(planned[partitions] != ran).tolist():
            yield f"row {row} of jobs/{name} is not that of partitions/{name}"
