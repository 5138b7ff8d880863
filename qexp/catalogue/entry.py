"""What a listing says of one run, and how it is read: from `run.h5`, or from parts and journal."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from qexp.archive.file import ArchiveFile
from qexp.archive.overview import overview, overview_of_header
from qexp.archive.parts import StoredParts
from qexp.archive.verify import is_as_sealed
from qexp.batch.journal import read_ledger
from qexp.core.jsonable import to_jsonable
from qexp.core.ledger import Ledger
from qexp.errors import ArchiveError

ListedStatus: TypeAlias = Literal[
    "complete",
    "partial",
    "failed",
    "planned",
    "unfinished",  # no archive yet: a journal or parts
    "damaged",  # not what was sealed
    "unreadable",  # no permission, no archive of qexp, or one of another schema
]

#: Above this size a listing does not read a whole file to compare its digest; `verify` does.
CHECKED_BYTES: Final = 16 * 2**20


@dataclass(frozen=True)
class Entry:
    """One run of a listing. What is not known is None.

    Attributes:
        status: That of the archive, or `"unfinished"`, `"damaged"`, `"unreadable"`.
        run_id: Id of the run; of one that cannot be read, the name of its folder.
        experiment: Name of the experiment.
        date: When it was started, ISO 8601 UTC.
        finished: When its last job ended, ISO 8601 UTC.
        engine: Name of the engine.
        backend: Name of the backend.
        num_qubits: Number of its qubits.
        pubs: Number of PUBs that were planned.
        results: Number of PUBs that have a result.
        jobs: Number of jobs (partitions) that were planned.
        jobs_done: Number of those that have a result.
        usage_s: QPU seconds charged for all jobs, where reported.
        predicted_qpu_s: QPU seconds predicted for all jobs.
        seed: The seed.
        overrides: Overrides of the command line.
        data_sha256: Digest of all result data.
        is_checked: Whether the digest of the whole file was compared; not above 16 MiB.
        size_bytes: Size of the archive.
        path: The archive, or the folder of an unfinished run.
        problem: Why it is damaged or unreadable, or how an unfinished run stopped, in one line.
        config: The resolved config.
    """

    status: ListedStatus
    run_id: str
    experiment: str | None = None
    date: str | None = None
    finished: str | None = None
    engine: str | None = None
    backend: str | None = None
    num_qubits: int | None = None
    pubs: int | None = None
    results: int | None = None
    jobs: int | None = None
    jobs_done: int | None = None
    usage_s: float | None = None
    predicted_qpu_s: float | None = None
    seed: int | None = None
    overrides: list[str] = field(default_factory=list)
    data_sha256: str | None = None
    is_checked: bool = False
    size_bytes: int | None = None
    path: str = ""
    problem: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


LISTED: Final = tuple(item.name for item in fields(Entry) if item.name != "config")
"""Names of the fields that can be filtered and sorted by, besides the keys of the config."""


def read_entry(path: str) -> dict[str, Any]:
    """The fields of a run's entry as plain JSON, without `path` and `size_bytes`.

    Called in a process of its own, see `qexp.archive.apart`.

    Args:
        path: The archive, or the folder of a run that has none yet.
    """
    where = Path(path)
    try:
        entry = _unfinished(where) if where.is_dir() else _sealed(where)
    except ArchiveError as error:
        entry = not_read(where, "damaged", str(error))
    except OSError as error:
        entry = not_read(where, "unreadable", f"{where} cannot be read: {error.strerror}.")
    return as_fields(entry)


def as_fields(entry: Entry) -> dict[str, Any]:
    """An entry as plain JSON."""
    return {name: to_jsonable(getattr(entry, name)) for name in (*LISTED, "config")}


def not_read(path: Path, status: ListedStatus, problem: str) -> Entry:
    """The entry of a run of which nothing is believed but its place."""
    folder = path if path.is_dir() else path.parent
    return Entry(status, folder.absolute().name, problem=" ".join(problem.split()))


def _sealed(path: Path) -> Entry:
    with path.open("rb") as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
    is_intact = is_as_sealed(path) if size_bytes <= CHECKED_BYTES else None
    if is_intact is False:
        raise ArchiveError(f"{path} is not what was sealed: restore it from a copy.")
    try:
        file = ArchiveFile(path)
    except ArchiveError as error:
        # Another schema, or no archive of qexp.
        return not_read(path, "unreadable", str(error))
    try:
        return Entry(**overview(file), is_checked=is_intact is True)
    finally:
        file.close()


def _unfinished(folder: Path) -> Entry:
    os.listdir(folder)
    known: dict[str, Any] = {"run_id": folder.absolute().name}
    stored = StoredParts(folder)
    if stored.has_parts:
        known |= overview_of_header(stored.read_header())
    ledger = read_ledger(folder)
    if ledger.plan is not None:
        known |= {"jobs": ledger.num_partitions, "jobs_done": len(ledger.done)}
    return Entry("unfinished", **known, problem=_why_unfinished(ledger))


def _why_unfinished(ledger: Ledger) -> str:
    if ledger.plan is None:
        return "its plan is not complete; nothing was submitted"
    out = len(ledger.open())
    return f"not sealed, {out} jobs may be out" if out else "not sealed, no job is out"
