"""Whether an archive is what was sealed, and if not, which results are damaged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from qexp.archive.file import ArchiveFile, locate
from qexp.archive.results import ResultGroup
from qexp.archive.stamp import STAMP, stated_and_found
from qexp.core.digest import data_digest, pub_digest
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py

#: The minor version of the schema in which a file does not state its own SHA-256.
_UNSTAMPED: Final = "0"
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


def verify(path: str | Path) -> list[str]:
    """Check an archive: the digest of the file, of every PUB and of all data.

    Reads the whole file, one PUB at a time. Archives of schema 1.0 state no digest of the file,
    so that only their results are checked.

    Args:
        path: The file `run.h5`, or the run's folder.

    Returns:
        Every problem, one line each; empty if the archive is what was sealed.
    """
    try:
        located = locate(Path(path))
        is_intact = is_as_sealed(located)
    except ArchiveError as error:
        return [str(error)]
    if is_intact:
        return list(_result_problems(located))
    found, is_known = _result_problems_apart(located)
    if is_intact is None:
        return found
    whole = f"{located} is not what was sealed: restore it from a copy."
    return [whole, *found] if found or not is_known else [f"{whole} Its results are intact."]


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
        msg = f"{path} cannot be opened ({_one_line(error)}): restore it from a copy."
        raise ArchiveError(msg) from error
    return stated == found


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


def _result_problems(path: Path) -> Iterator[str]:
    """What is wrong with the results, one line each."""
    try:
        file = ArchiveFile(path)
    except ArchiveError as error:
        yield str(error)
        return
    digests = []
    try:
        minor = str(file.attribute("/", "qexp_schema")).partition(".")[2]
        if STAMP not in file.group("/") and minor != _UNSTAMPED:
            yield f"{path} does not state its SHA-256 ({STAMP}): restore it from a copy."
        for check in check_pubs(file.group("/")):
            digests.append(check.digest)
            if check.problem:
                where = f"PUB {check.index} of {check.workload!r} in {path}"
                yield f"{where} is damaged: {check.problem}."
        if data_digest(digests) != file.attribute("/", "data_sha256"):
            yield f"The data digest of {path} is not that of its results."
    except Exception as error:
        yield f"{path} is damaged ({_one_line(error)}): restore it from a copy."
    finally:
        file.close()


def _result_problems_apart(path: Path) -> tuple[list[str], bool]:
    """The same in a process of its own: HDF5 never comes back from some damaged files.

    Returns:
        The lines, and whether they are all.
    """
    command = [sys.executable, "-P", "-m", __name__, str(path)]
    patience_s = _PATIENCE_S + path.stat().st_size / _BYTES_PER_S
    try:
        done = subprocess.run(command, capture_output=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired as error:
        printed, ending = error.stdout or b"", "does not end"
    else:
        printed, ending = done.stdout, "ends the process" if done.returncode else ""
    lines = printed.decode("utf-8", "replace").splitlines()
    if ending:
        lines.append(f"Which results of {path} are damaged is not known: reading it {ending}.")
    return lines, not ending


def _pub_problem(
    file: h5py.Group, path: str, row: int, sha256: str, opened: dict[str, ResultGroup]
) -> str:
    try:
        if path not in opened:
            opened[path] = ResultGroup(file[path])
        digest = pub_digest(opened[path].row(row))
    except Exception as error:
        return f"it cannot be read ({_one_line(error)})"
    return "" if digest == sha256 else "its data does not have its digest"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    for line in _result_problems(Path(sys.argv[1])):
        sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
        sys.stdout.flush()
