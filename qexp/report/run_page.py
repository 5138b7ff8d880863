"""Values on the page of one run: its sections and circuits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from qexp.archive.read import Archive
from qexp.listing.read import summarise_sealed
from qexp.report.analyses import analysis_views
from qexp.report.device import device_section
from qexp.report.execution import execution_section
from qexp.report.figures.circuit import draw_circuit
from qexp.report.figures.svg import Figure
from qexp.report.results import representatives, results_section
from qexp.report.text import number, plural
from qexp.report.workload_results import WorkloadResults, read_workload

_MAX_WORKLOADS = 12


def run_page(archive: Archive) -> dict[str, Any]:
    """Read everything that `run.html` shows.

    Raises:
        ArchiveError: The archive is damaged.
    """
    summary = summarise_sealed(archive.path)
    workloads = [read_workload(archive, name) for name in archive.workloads[:_MAX_WORKLOADS]]
    used = frozenset[int]().union(*(each.used_qubits for each in workloads))
    used_pairs = sum((each.used_pairs for each in workloads), Counter[tuple[int, int]]())
    backend = archive.backend
    return {
        "run": archive,
        "summary": summary,
        "backend": backend,
        "results": list(map(results_section, workloads)),
        "analyses": list(analysis_views(archive.path, archive.data_sha256)),
        "execution": execution_section(archive, summary) if summary.jobs_run else None,
        "device": device_section(backend, used, used_pairs),
        "circuits": [view for each in workloads for view in _circuits(archive, each)],
    }


def _circuits(archive: Archive, results: WorkloadResults) -> Iterator[dict[str, Any]]:
    """Draw the circuits of a workload's histograms, or one, as generated and as run."""
    chosen: dict[int, str] = {}
    if len(results.judged) >= 3:
        best, middle, worst = representatives(results)
        for name, point in (middle, best, worst):
            reason = f"{name.lower()} fidelity, {number(point.fidelity or 0.0)}"
            chosen.setdefault(point.pub, reason)
    elif results.shown:
        chosen[results.shown[len(results.shown) // 2]] = "an example"
    for pub, reason in chosen.items():
        figures = []
        for kind, is_isa in (("As generated", False), ("As run (ISA), by physical qubit", True)):
            circuit = archive.circuits(results.name, isa=is_isa)[pub]
            drawing, left_out = draw_circuit(circuit, f"{kind}: circuit of PUB {pub}")
            size = f"{kind}: depth {circuit.depth()}, {plural(circuit.size(), 'instruction')}"
            figures.append(
                Figure(drawing, f"{size}{f'; drawn are {left_out}' if left_out else ''}.")
            )
        name = archive.circuits(results.name)[pub].name or ""
        yield {
            "pub": pub,
            "workload": results.name,
            "name": name,
            "reason": reason,
            "figures": figures,
        }
