"""Results and circuits as files that Qiskit users load with Qiskit's and IBM's own functions.

Nothing is pickled: results are JSON for IBM's `RuntimeDecoder`, circuits are QPY.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qexp.archive.circuits import write_circuits
from qexp.archive.read import Archive
from qexp.engines.ibm.result_json import write_result
from qexp.export.formats import Format, never


def _write(run: Archive, folder: Path, _metadata: Mapping[str, Any]) -> Sequence[str]:
    notes = []
    for workload in run.workloads:
        indices = run.results[workload].available
        path = folder / f"{workload}.json"
        with path.open("w", encoding="utf-8") as stream:
            write_result(run.primitive_result(workload, partial=True), stream)
        notes.append(f"{path.name}: PrimitiveResult of {len(indices):,} PUBs")
        for isa, name in ((False, f"{workload}.qpy"), (True, f"{workload}-isa.qpy")):
            circuits = run.circuits(workload, isa=isa)
            with (folder / name).open("wb") as raw:
                has_delays = write_circuits([circuits[index] for index in indices], raw)
            what = "ISA circuits" if isa else "circuits as generated"
            opaque = "; QPY keeps no units of delays: they are instructions 'delay_<unit>'"
            notes.append(f"{name}: their {what}{opaque if has_delays else ''}")
    return notes


FORMAT = Format("-qiskit", _write, is_file=never)
