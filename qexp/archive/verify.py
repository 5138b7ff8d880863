"""Whether an archive is what was sealed, and if not, what in it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from qexp.archive.apart import Apart
from qexp.archive.file import ArchiveFile, locate
from qexp.archive.required import schema_problems
from qexp.archive.results import ResultGroup
from qexp.archive.scan import damages, one_line
from qexp.archive.stamp import STAMP, stated_and_found
from qexp.core.digest import data_digest, pub_digest
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py

#: The minor version of the schema in which a file does not state its own SHA-256.
_UNSTAMPED: Final = "0"
#: What `Apart` calls to look for damage.
PROBLEMS: Final = f"{__name__}:problems"
#: What a line tells of.
_RESULT: Final = "result"
_OTHER: Final = "other"
_PATIENCE_S: Final = 60.0
_BYTES_PER_S: Final = 5e6


@dataclass(frozen=True)
class PubCheck:
    """What was found of one PUB that has a result.

    Attributes:
        workload: Name of its workload.
        index: Its index.
        sha256: The digest that is stated.
        problem: What is wrong with its data, `""` if nothing is.
    """

    workload: str
    index: int
    sha256: str
    problem: str

    @property
    def digest(self) -> tuple[str, int, str]:
        """What `data_digest` takes."""
        return self.workload, self.index, self.sha256


def verify(path: str | Path, apart: Apart | None = None) -> list[str]:
    """Check an archive: the digest of the file, of every PUB and of all data, and the schema.

    Reads the whole file, one PUB at a time. Archives of schema 1.0 state no digest of the file,
    so that only their results are checked. Of a file that is not what was sealed, everything is
    read, to name what is damaged.

    Args:
        path: The file `run.h5`, or the run's folder.
        apart: `Apart(PROBLEMS)`, where several files are verified; None: one for this file.

    Returns:
        Every problem, one line each; empty if the archive is what was sealed.
    """
    try:
        located = locate(Path(path))
        is_sealed = is_as_sealed(located)
    except ArchiveError as error:
        return [str(error)]
    if is_sealed:
        return [line for _, line in _problems(located, is_damaged=False)]
    with Apart(PROBLEMS) as own:
        found, is_known = _problems_apart(located, apart or own)
    lines = [line for _, line in found]
    if is_sealed is None:
        return lines
    whole = f"{located} is not what was sealed: restore it from a copy."
    has_results = is_known and not any(kind == _RESULT for kind, _ in found)
    return [f"{whole} Its results are intact." if has_results else whole, *lines]


def is_as_sealed(path: Path) -> bool | None:
    """Whether a file has the digest that it states; None where it states none.

    Args:
        path: Path of the file.

    Raises:
        ArchiveError: It is no HDF5 file, or too damaged to be opened.
    """
    import h5py

    # No attribute or text is read: only these are not protected by a checksum of HDF5's own, and
    # HDF5 never comes back from some that are damaged.
    try:
        with h5py.File(path, "r") as file:
            if STAMP not in file:
                return None
            stated, found = stated_and_found(path, file)
    except Exception as error:
        is_hdf5 = h5py.is_hdf5(path)
        reason = one_line(error) if is_hdf5 else "no HDF5 file, or its beginning is damaged"
        msg = f"{path} cannot be opened ({reason}): restore it from a copy."
        raise ArchiveError(msg) from error
    return stated == found


def is_intact(path: Path) -> bool | None:
    """As `is_as_sealed`; False, too, where a digest is missing that the file's schema wants.

    Args:
        path: Path of the file.

    Returns:
        None only for schema 1.0, whose results have digests, which are compared as they are read.

    Raises:
        ArchiveError: It is no archive, or too damaged to be opened.
    """
    found = is_as_sealed(path)
    if found is not None:
        return found
    file = ArchiveFile(path)
    try:
        return False if lacks_stamp(file) else None
    finally:
        file.close()


def intact(given: str | Path) -> Path:
    """The archive's file, if it is what was sealed: HDF5 and Qiskit may hang on others, or worse.

    Args:
        given: The file, or the run's folder.

    Raises:
        ArchiveError: It is not there, not what was sealed, or no archive.
    """
    path = locate(Path(given))
    if is_intact(path) is False:
        msg = (
            f"{path} is not what was sealed: restore it from a copy; what is damaged: python -m "
            f"qexp verify {path}"
        )
        raise ArchiveError(msg)
    return path


def lacks_stamp(file: ArchiveFile) -> bool:
    """Whether a file does not state its own SHA-256 although its schema wants it to."""
    schema = str(file.attribute("/", "qexp_schema"))
    return STAMP not in file.group("/") and schema.partition(".")[2] != _UNSTAMPED


def check_pubs(file: h5py.Group) -> Iterator[PubCheck]:
    """Compare the data of every PUB that has a result with its digest.

    Whatever damage there is becomes a `problem`, except to the tables of PUBs themselves.

    Args:
        file: The root of an archive.
    """
    for workload, pubs in file.get("pubs", {}).items():
        if "result_row" not in pubs:
            continue  # The scale of a dimension, as netCDF stores it.
        index, rows = pubs["pub"][:], pubs["result_row"][:]
        groups, shas = pubs["result_group"].asstr()[:], pubs["result_sha256"].asstr()[:]
        opened: dict[str, ResultGroup] = {}
        for k in np.flatnonzero(rows >= 0):
            path = f"results/{workload}/{groups[k]}"
            problem = _pub_problem(file, path, int(rows[k]), shas[k], opened)
            if not problem and index[k] != k:
                problem = f"it is in row {k}"
            yield PubCheck(workload, int(index[k]), shas[k], problem)


def _problems(path: Path, *, is_damaged: bool) -> Iterator[tuple[str, str]]:
    """What is wrong, one line each, and whether with a result or with what is beside it.

    Args:
        path: Path of the file.
        is_damaged: Whether it is known to be, so that everything in it is read.
    """
    try:
        file = ArchiveFile(path)
    except ArchiveError as error:
        yield _RESULT, str(error)
        return
    try:
        yield from _guarded(_result_problems(file), path, _RESULT)
        if is_damaged:
            found = (f"In {path}: {clause}." for clause in damages(file.group("/")))
            yield from _guarded(found, path, _OTHER)
        yield from _guarded(_schema_problems(file), path, _OTHER)
    finally:
        file.close()


def _guarded(lines: Iterator[str], path: Path, kind: str) -> Iterator[tuple[str, str]]:
    """Each line with its kind; an error ends them with one more."""
    try:
        for line in lines:
            yield kind, line
    except Exception as error:
        yield kind, f"{path} is damaged ({one_line(error)}): restore it from a copy."


def _result_problems(file: ArchiveFile) -> Iterator[str]:
    digests = []
    for check in check_pubs(file.group("/")):
        digests.append(check.digest)
        if check.problem:
            where = f"PUB {check.index} of {check.workload!r} in {file.path}"
            yield f"{where} is damaged: {check.problem}."
    if data_digest(digests) != file.attribute("/", "data_sha256"):
        yield f"The data digest of {file.path} is not that of its results."


def _schema_problems(file: ArchiveFile) -> Iterator[str]:
    schema = str(file.attribute("/", "qexp_schema"))
    if lacks_stamp(file):
        yield f"{file.path} does not state its SHA-256 ({STAMP}): restore it from a copy."
    for clause in schema_problems(file.group("/"), schema.partition(".")[2]):
        yield f"{file.path} lacks what its schema requires: {clause}."


def problems(path: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a file that is not known to be intact, one line each; see `Apart`.

    Args:
        path: Path of the file.
    """
    for kind, line in _problems(Path(path), is_damaged=True):
        yield kind, " ".join(line.split())


def _problems_apart(path: Path, apart: Apart) -> tuple[list[tuple[str, str]], bool]:
    """The same in a process of its own: HDF5 never comes back from some damaged files.

    Returns:
        The lines, and whether they are all.
    """
    patience_s = _PATIENCE_S + path.stat().st_size / _BYTES_PER_S
    found: list[tuple[str, str]] = []
    try:
        found.extend((kind, line) for kind, line in apart.each(str(path), patience_s))
    except ArchiveError as error:
        found.append((_RESULT, f"Not everything in it could be checked: {error}"))
        return found, False
    return found, True


def _pub_problem(
    file: h5py.Group, path: str, row: int, sha256: str, opened: dict[str, ResultGroup]
) -> str:
    try:
        if path not in opened:
            opened[path] = ResultGroup(file[path])
        digest = pub_digest(opened[path].row(row))
    except Exception as error:
        return f"it cannot be read ({one_line(error)})"
    return "" if digest == sha256 else "its data does not have its digest"
