"""Check an archive: is it what was sealed, and if not, what in it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile, locate
from qexp.archive.damage import damages
from qexp.archive.digests import FILE_SHA256, data_digest, has_file_digest, pub_digest
from qexp.archive.isolated import IsolatedReader
from qexp.archive.results import ResultReader, Signature
from qexp.archive.schema import ISA_CIRCUITS, LOGICAL_CIRCUITS, PUBS, RESULTS, ROOT, TABLES
from qexp.archive.tables import Table
from qexp.errors import ArchiveError
from qexp.text import error_reason, one_line

PROBLEMS: Final = f"{__name__}:problems"
"""The function that an `IsolatedReader` for `verify` calls."""
_RESULT: Final = "result"
_OTHER: Final = "other"
_TIMEOUT_S: Final = 60.0
_BYTES_PER_S: Final = 5e6


def verify(path: str | Path, reader: IsolatedReader | None = None) -> list[str]:
    """Check an archive: the digest of the file, of every PUB and of all data, and the schema.

    Reads the whole file, one PUB at a time. Archives of schema 1.0 state no digest of the file,
    so that only their results are checked. Of a file that is not what was sealed, everything is
    read, to name what is damaged.

    Args:
        path: The file `run.h5`, or the run's folder.
        reader: `IsolatedReader(PROBLEMS)`, where several files are verified; None: a new one.

    Returns:
        Every problem, one line each; empty if the archive is what was sealed.
    """
    try:
        located = locate(Path(path))
        is_sealed = is_as_sealed(located)
    except ArchiveError as error:
        return [str(error)]
    if is_sealed:
        return [line for _, line in problems(str(located), is_damaged=False)]
    timeout_s = _TIMEOUT_S + located.stat().st_size / _BYTES_PER_S
    found: list[tuple[str, str]] = []
    with IsolatedReader(PROBLEMS) as own:
        try:
            found.extend((reader or own).read(str(located), timeout_s))
            has_results = not any(kind == _RESULT for kind, _ in found)
        except ArchiveError as error:
            found.append((_RESULT, f"not everything in it could be checked: {error}"))
            has_results = False
    lines = [line for _, line in found]
    if is_sealed is None:
        return lines
    whole = f"{located} is not what was sealed: restore it from a copy"
    return [f"{whole}; its results are intact" if has_results else whole, *lines]


def is_as_sealed(path: Path) -> bool | None:
    """Return True where a file has the digest that it states, None where it states none.

    Raises:
        ArchiveError: It is no HDF5 file, or too damaged to be opened.
    """
    import h5py

    # No attribute or text is read: only these are not protected by a checksum of HDF5's own, and
    # HDF5 hangs on some that are damaged.
    try:
        with h5py.File(path, "r") as file:
            return has_file_digest(path, file) if FILE_SHA256 in file else None
    except Exception as error:
        is_hdf5 = h5py.is_hdf5(path)
        reason = error_reason(error) if is_hdf5 else "no HDF5 file, or its beginning is damaged"
        raise ArchiveError(f"{path} cannot be opened ({reason}): restore it from a copy") from error


def is_intact(path: Path) -> bool | None:
    """Return True where a file is what was sealed.

    None only for schema 1.0, whose results have digests, which are compared as they are read.

    Raises:
        ArchiveError: It is no archive, or too damaged to be opened.
    """
    is_sealed = is_as_sealed(path)
    if is_sealed is not None:
        return is_sealed
    with ArchiveFile(path) as file:
        return False if lacks_digest(file) else None


def require_intact(given: str | Path) -> Path:
    """Return the file of an archive that is what was sealed: HDF5 and Qiskit may hang on others.

    Args:
        given: The file, or the run's folder.

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


def lacks_digest(file: ArchiveFile) -> bool:
    """Return True for a file without its own SHA-256, where its schema requires that."""
    return FILE_SHA256 not in file.group("/") and _minor(file) >= ROOT.columns[FILE_SHA256].since


def _minor(file: ArchiveFile) -> int:
    minor = str(file.attribute("/", "qexp_schema")).partition(".")[2]
    return int(minor) if minor.isdecimal() else 0


def problems(path: str, *, is_damaged: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the problems of a file: their kind (a result, or anything else), and one line.

    Args:
        path: Path of the file.
        is_damaged: True where it may be damaged anywhere, so that everything in it is read.
    """
    try:
        file = ArchiveFile(Path(path))
    except ArchiveError as error:
        yield _RESULT, str(error)
        return
    with file:
        clauses = damages(file) if is_damaged else iter(())
        looks = (
            (_RESULT, result_problems(file)),
            (_OTHER, (f"in {path}: {clause}" for clause in clauses)),
            (_OTHER, _schema_problems(file)),
        )
        for kind, lines in looks:
            try:
                for line in lines:
                    yield kind, one_line(line)
            except Exception as error:
                yield kind, f"{path} is damaged ({error_reason(error)}): restore it from a copy"


def result_problems(file: ArchiveFile) -> Iterator[str]:
    """Yield the PUBs whose data do not have their digest, in one line each."""
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


def _schema_problems(file: ArchiveFile) -> Iterator[str]:
    if lacks_digest(file):
        yield f"{file.path} does not state its SHA-256 ({FILE_SHA256}): restore it from a copy"
    for clause in schema_problems(file, _minor(file)):
        yield f"{file.path} lacks what its schema requires: {clause}"


def schema_problems(file: ArchiveFile, minor: int) -> Iterator[str]:
    """Yield what the schema requires and a file lacks, one clause each.

    A column without any element is not there, and neither is a table without any row.
    """
    root = file.group("/")
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
        found = []
        for path in paths:
            # Every workload has circuits.
            among = "pubs" if path == "circuits" else path
            names = file.groups(among) if part == "*" else [part]
            found += [f"{path}/{name}".removeprefix("/") for name in names]
        paths = found
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
    if table is RESULTS:
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
