"""Numbers that the page of a run and that of a sweep open with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qexp.text import parse_time

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from qexp.archive.records import JobRecord


@dataclass(frozen=True)
class RunFacts:
    """Size, progress and cost of a run.

    Attributes:
        num_pubs: PUBs that were planned.
        num_results: PUBs with a result.
        num_jobs: Partitions that were planned.
        num_done: Partitions with a result.
        executions: Circuit executions that were planned.
        usage_s: Seconds charged for all jobs.
        predicted_s: Seconds predicted for a QPU.
        elapsed_s: From the start of the run to the end of its last job, None if not known.
        is_simulated: Whether usage is the time of a simulation rather than that of a QPU.
    """

    num_pubs: int = 0
    num_results: int = 0
    num_jobs: int = 0
    num_done: int = 0
    executions: int = 0
    usage_s: float = 0.0
    predicted_s: float = 0.0
    elapsed_s: float | None = None
    is_simulated: bool = True


def read_facts(archive: Archive, jobs: Sequence[JobRecord]) -> RunFacts:
    """Read the facts of a sealed run.

    Raises:
        ArchiveError: The archive is damaged.
    """
    partitions = archive.partitions
    start = parse_time(archive.created)
    ends = [end for end in (parse_time(job.finished) for job in jobs) if end is not None]
    return RunFacts(
        num_pubs=sum(partition.num_pubs for partition in partitions),
        num_results=sum(len(results.available) for results in archive.results.values()),
        num_jobs=len(partitions),
        num_done=len({job.partition for job in jobs if job.state == "DONE"}),
        executions=sum(partition.executions for partition in partitions),
        usage_s=archive.usage_s,
        predicted_s=sum(partition.qpu_s for partition in partitions),
        elapsed_s=(max(ends) - start).total_seconds() if ends and start else None,
        is_simulated=archive.engine != "ibm",
    )
