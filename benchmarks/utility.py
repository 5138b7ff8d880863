"""Plan circuits of 100 to 156 qubits: by the pass manager and QPY, or by qexp.

The circuits: a kicked Ising model on the couplers of a Heron processor (Kim et al., Nature 618, 500
(2023)), a Trotterised Ising chain, and an `efficient_su2` ansatz at random angles.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, qpy
from qiskit.circuit.library import efficient_su2
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import fake_provider

BACKENDS = {"kicked_ising": "FakeFez", "trotter": "FakeTorino", "su2": "FakeTorino"}
_TWIRLING = "primitive.options={twirling: {enable_gates: true, enable_measure: true}}"
PRIMITIVES = {
    "sampler": ["primitive=sampler", "engine=local", "engine.workers=1", "engine.max_time=null"],
    "twirled sampler": ["primitive=sampler", "engine=runtime-local", _TWIRLING],
}


def main() -> None:
    """Plan as the arguments say, and tell how many instructions there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("circuits", choices=BACKENDS)
    parser.add_argument("--qexp", choices=PRIMITIVES, help="planned by qexp for this primitive")
    parser.add_argument("--count", type=int, default=20)
    arguments = parser.parse_args()
    kind, count = arguments.circuits, arguments.count
    if arguments.qexp is None:
        plan_by_hand(kind, count)
        return
    import qexp

    kept: dict[str, Any] = {"backend": "fake", "backend.name": BACKENDS[kind], "seed": 1}
    made = partial(circuits, kind=kind, count=count)
    plan = qexp.plan(*PRIMITIVES[arguments.qexp], circuits=made, **kept)
    sys.stdout.write(f"{plan.total.payload_bytes} bytes\n")


def plan_by_hand(kind: str, count: int) -> None:
    """Transpile all circuits at once and write one QPY file."""
    backend = getattr(fake_provider, BACKENDS[kind])()
    pass_manager = generate_preset_pass_manager(optimization_level=1, backend=backend)
    isa = pass_manager.run([circuit(kind, index) for index in range(count)])
    with open("circuits.qpy", "wb") as file:
        qpy.dump(isa, file)
    sys.stdout.write(f"{dict(isa[0].count_ops())}\n")


def circuits(*, kind: str, count: int) -> Iterator[QuantumCircuit]:
    """Yield circuits."""
    for index in range(count):
        yield circuit(kind, index)


def circuit(kind: str, index: int) -> QuantumCircuit:
    """One circuit, with angles that belong to its index."""
    if kind == "su2":
        made = efficient_su2(120, reps=14)
        angles = np.random.default_rng(index).uniform(-math.pi, math.pi, made.num_parameters)
        made = made.assign_parameters(angles)
    else:
        couplers = heron_couplers() if kind == "kicked_ising" else chain(100)
        made = QuantumCircuit(1 + max(map(max, couplers)))
        for _ in range(10 if kind == "kicked_ising" else 30):
            made.rx(0.1 + 0.05 * index, range(made.num_qubits))
            for pair in couplers:
                made.rzz(0.01 * index - math.pi / 4, *pair)
    made.measure_all()
    return made


@cache
def heron_couplers() -> list[tuple[int, int]]:
    """Couplers of a processor of 156 qubits."""
    edges = fake_provider.FakeFez().coupling_map.get_edges()
    return sorted({(min(edge), max(edge)) for edge in edges})


def chain(num_qubits: int) -> list[tuple[int, int]]:
    """Bonds of a chain, even ones first."""
    bonds = [(qubit, qubit + 1) for qubit in range(num_qubits - 1)]
    return bonds[::2] + bonds[1::2]


if __name__ == "__main__":
    main()
