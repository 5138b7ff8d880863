"""Circuits of a run, as generated and as run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qexp.report.figures.circuit import draw_circuit
from qexp.report.figures.svg import Figure
from qexp.report.results import representatives
from qexp.report.text import number, plural
from qexp.report.workload_results import WorkloadResults

if TYPE_CHECKING:
    from qexp.archive.read import Archive


@dataclass(frozen=True)
class CircuitView:
    """The circuit of a PUB as generated and as run, and why it is shown."""

    pub: int
    workload: str
    name: str
    reason: str
    figures: tuple[Figure, ...]


def circuit_views(archive: Archive, results: WorkloadResults) -> list[CircuitView]:
    """Draw a few circuits of a workload: those of its histograms, else one."""
    chosen: dict[int, str] = {}
    if len(results.judged) >= 3:
        best, middle, worst = representatives(results)
        for name, point in (middle, best, worst):
            chosen.setdefault(
                point.pub, f"{name.lower()} fidelity, {number(point.fidelity or 0.0)}"
            )
    elif results.shown:
        chosen[results.shown[len(results.shown) // 2]] = "an example"
    return [_view(archive, results.name, pub, reason) for pub, reason in chosen.items()]


def _view(archive: Archive, workload: str, pub: int, reason: str) -> CircuitView:
    figures = []
    for kind, is_isa in (("As generated", False), ("As run (ISA), by physical qubit", True)):
        circuit = archive.circuits(workload, isa=is_isa)[pub]
        drawing, left_out = draw_circuit(circuit, f"{kind}: circuit of PUB {pub}")
        size = f"{kind}: depth {circuit.depth()}, {plural(circuit.size(), 'instruction')}"
        figures.append(Figure(drawing, f"{size}{f'; drawn are {left_out}' if left_out else ''}."))
    name = archive.circuits(workload)[pub].name or ""
    return CircuitView(pub, workload, name, reason, tuple(figures))
