"""Results and circuits as files that Qiskit users load with Qiskit's and IBM's own functions.

Nothing is pickled: results are JSON for IBM's `RuntimeDecoder`, circuits are QPY.
"""

from __future__ import annotations

from pathlib import Path

from qexp.archive.circuits import write_circuits
from qexp.archive.read import Archive
from qexp.engines.ibm.client import write_result


def write(run: Archive, folder: Path) -> list[str]:
    """Write results, circuits and ISA circuits of each workload; return what each file holds."""
    notes = []
    for workload in run.workloads:
        indices = run.results[workload].available
        path = folder / f"{workload}.json"
        with path.open("w", encoding="utf-8") as stream:
            write_result(run.primitive_result(workload, partial=True), stream)
        notes.append(f"{path.name}: PrimitiveResult of {len(indices):,} PUBs")
        for isa, name, content in (
            (False, f"{workload}.qpy", "circuits as generated"),
            (True, f"{workload}-isa.qpy", "ISA circuits"),
        ):
            circuits = run.circuits(workload, isa=isa)
            with (folder / name).open("wb") as raw:
                has_delays = write_circuits([circuits[index] for index in indices], raw)
            opaque = "; QPY keeps no units of delays: they are instructions 'delay_<unit>'"
            notes.append(f"{name}: their {content}{opaque if has_delays else ''}")
    return notes
