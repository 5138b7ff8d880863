"""What a listing says of one run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from qexp.core.jsonable import to_jsonable

ListedStatus: TypeAlias = Literal[
    "complete",
    "partial",
    "failed",
    "planned",
    "unfinished",  # no archive yet: a journal or parts
    "damaged",  # not what was sealed
    "unreadable",  # no permission, no archive of qexp, or one of another schema
]


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


def as_fields(entry: Entry) -> dict[str, Any]:
    """An entry as plain JSON."""
    return {name: to_jsonable(getattr(entry, name)) for name in (*LISTED, "config")}


def not_read(path: Path, status: ListedStatus, problem: str) -> Entry:
    """The entry of a run of which nothing is believed but its place."""
    folder = path if path.is_dir() else path.parent
    return Entry(status, folder.absolute().name, problem=" ".join(problem.split()))
