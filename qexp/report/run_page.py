"""One run as a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from qexp.listing.read import summarise_sealed
from qexp.listing.summary import RunSummary
from qexp.report.analyses import AnalysisSection, analysis_sections
from qexp.report.circuits import CircuitView, circuit_views
from qexp.report.device import DeviceSection, device_section
from qexp.report.execution import ExecutionSection, execution_section
from qexp.report.results import ResultsSection, results_section
from qexp.report.workload_results import read_workload

if TYPE_CHECKING:
    from qexp.archive.read import Archive

_MAX_WORKLOADS = 12


@dataclass(frozen=True)
class RunPage:
    """Everything that the template shows, besides what it takes from the archive itself."""

    run: Archive
    summary: RunSummary
    backend: dict[str, Any]
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
    summary = summarise_sealed(archive.path)
    workloads = [read_workload(archive, name) for name in archive.workloads[:_MAX_WORKLOADS]]
    used = frozenset[int]().union(*(each.used_qubits for each in workloads))
    used_pairs = sum((each.used_pairs for each in workloads), Counter[tuple[int, int]]())
    backend = archive.backend
    return RunPage(
        run=archive,
        summary=summary,
        backend=backend,
        results=tuple(map(results_section, workloads)),
        analyses=analysis_sections(archive.path, archive.data_sha256),
        execution=execution_section(archive, summary) if summary.jobs_run else None,
        device=device_section(backend, used, used_pairs),
        circuits=tuple(chain.from_iterable(circuit_views(archive, each) for each in workloads)),
    )
