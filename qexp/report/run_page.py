"""One run as a page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from qexp.report.analyses import AnalysisSection, analysis_sections
from qexp.report.circuits import CircuitView, circuit_views
from qexp.report.device import DeviceSection, device_section
from qexp.report.execution import ExecutionSection, execution_section
from qexp.report.facts import RunFacts, read_facts
from qexp.report.results import ResultsSection, results_section
from qexp.report.text import cut_line
from qexp.report.workload_results import read_workload
from qexp.text import format_ranges

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from qexp.archive.records import JobRecord
    from qexp.core.model import Partition

_MAX_WORKLOADS = 12
_MAX_REASON = 300


@dataclass(frozen=True)
class Missing:
    """PUBs of a workload that have no result for the same reason.

    Attributes:
        workload: Name of the workload.
        pubs: Their indices, such as `0-9, 40-99`.
        num_jobs: Number of jobs that would have run them.
        reason: The reason.
    """

    workload: str
    pubs: str
    num_jobs: int
    reason: str


@dataclass(frozen=True)
class RunPage:
    """Everything that the template shows, besides what it takes from the archive itself."""

    run: Archive
    backend: dict[str, Any]
    jobs: tuple[JobRecord, ...]
    facts: RunFacts
    missing: tuple[Missing, ...]
    results: tuple[ResultsSection, ...]
    analyses: tuple[AnalysisSection, ...]
    execution: ExecutionSection | None
    device: DeviceSection
    circuits: tuple[CircuitView, ...]


def run_page(archive: Archive) -> RunPage:
    """Read everything about one run.

    Raises:
        ArchiveError: The archive is damaged.
    """
    jobs = tuple(archive.jobs)
    facts = read_facts(archive, jobs)
    workloads = [read_workload(archive, name) for name in archive.workloads[:_MAX_WORKLOADS]]
    used = frozenset[int]().union(*(each.used_qubits for each in workloads))
    used_pairs = sum((each.used_pairs for each in workloads), Counter[tuple[int, int]]())
    backend = archive.backend
    return RunPage(
        run=archive,
        backend=backend,
        jobs=jobs,
        facts=facts,
        missing=_missing(archive, jobs),
        results=tuple(map(results_section, workloads)),
        analyses=analysis_sections(archive.path.parent, archive.data_sha256),
        execution=execution_section(archive, jobs, facts) if jobs else None,
        device=device_section(backend, used, used_pairs),
        circuits=tuple(chain.from_iterable(circuit_views(archive, each) for each in workloads)),
    )


def _missing(archive: Archive, jobs: Sequence[JobRecord]) -> tuple[Missing, ...]:
    done = {job.partition for job in jobs if job.state == "DONE"}
    last = {job.partition: job for job in jobs}
    groups: dict[tuple[str, str], list[Partition]] = defaultdict(list)
    for partition in archive.partitions:
        if partition.index not in done:
            groups[partition.workload, _reason(last.get(partition.index))].append(partition)
    return tuple(
        Missing(
            workload,
            format_ranges(pub for each in partitions for pub in range(each.first, each.stop)),
            len(partitions),
            reason,
        )
        for (workload, reason), partitions in groups.items()
    )


def _reason(job: JobRecord | None) -> str:
    if job is None:
        return "never submitted"
    kind = f", {job.failure}" if job.failure else ""
    code = f" (code {job.error_code})" if job.error_code is not None else ""
    return f"{job.state}{kind}{code}: {cut_line(job.error or 'no reason given', _MAX_REASON)}"
