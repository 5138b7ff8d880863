"""What a researcher would run instead of qexp: the loop of IBM's guide, on a fake backend.

An own version of https://quantum.cloud.ibm.com/docs/guides/run-jobs-batch, section "Reconfigure
jobs for parallel processing": random circuits in partitions of 100, one Sampler job each, in one
`Batch`; and the same with an Estimator. The guide leaves out what its other pages ask for:
measurements, transpilation, the collection of the results. Nothing is archived.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, EstimatorV2, SamplerV2, fake_provider

MAX_CIRCUITS = 100
SHOTS = 4096


def main() -> None:
    """Run the loop as the arguments say, and tell how many results there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("primitive", choices=["sampler", "estimator"])
    parser.add_argument("--backend", default="FakeManilaV2", help="class of a fake backend")
    parser.add_argument("--implementation", choices=["legacy", "client"], default="legacy")
    parser.add_argument("--circuits", type=int, default=500)
    parser.add_argument("--qubits", type=int, default=6, help="of the Estimator's ansatz")
    parser.add_argument("--parameter-sets", type=int, default=20, help="of each Estimator PUB")
    parser.add_argument("--observables", default="", help="Pauli strings with commas between")
    parser.add_argument("--chain", action="store_true", help="Ising chains in place of the ansatz")
    parser.add_argument("--resilience-level", type=int, default=None, help="of a client Estimator")
    arguments = parser.parse_args()
    backend = getattr(fake_provider, arguments.backend)()
    if arguments.primitive == "sampler":
        pubs = sampler_pubs(arguments.circuits, backend)
    else:
        observables = arguments.observables.split(",")
        shape = (arguments.circuits, arguments.parameter_sets)
        if arguments.chain:
            pubs = chain_pubs(arguments.qubits, arguments.circuits, observables, backend)
        else:
            pubs = estimator_pubs(arguments.qubits, shape, observables, backend)
    primitive = primitive_class(arguments.primitive, arguments.implementation)
    results = run(pubs, primitive, backend, arguments.resilience_level)
    sys.stdout.write(f"{len(results)} results\n")


def sampler_pubs(num_circuits: int, backend: Any) -> list[QuantumCircuit]:
    """Random circuits of 5 qubits and depth 5, measured and transpiled."""
    circuits = [random_circuit(5, 5, seed=seed) for seed in range(num_circuits)]
    for circuit in circuits:
        circuit.measure_active()
    pass_manager = generate_preset_pass_manager(backend=backend, optimization_level=1)
    return list(pass_manager.run(circuits))


def estimator_pubs(
    num_qubits: int, shape: tuple[int, int], observables: list[str], backend: Any
) -> list[tuple[Any, ...]]:
    """One ansatz, transpiled once; `shape` is the number of PUBs and of parameter sets in each.

    Every observable is estimated at every parameter set.
    """
    ansatz = efficient_su2(num_qubits, reps=2)
    pass_manager = generate_preset_pass_manager(backend=backend, optimization_level=1)
    isa = pass_manager.run(ansatz)
    operators = [[SparsePauliOp(pauli).apply_layout(isa.layout)] for pauli in observables]
    rng = np.random.default_rng(0)
    values = rng.uniform(-np.pi, np.pi, size=(*shape, ansatz.num_parameters))
    return [(isa, operators, values[index]) for index in range(shape[0])]


def chain_pubs(
    num_qubits: int, steps: int, observables: list[str], backend: Any
) -> list[tuple[Any, ...]]:
    """Ising chains of 1, 2, ... Trotter steps, each transpiled."""
    pass_manager = generate_preset_pass_manager(backend=backend, optimization_level=1)
    pubs = []
    for number in range(1, steps + 1):
        chain = QuantumCircuit(num_qubits)
        for _ in range(number):
            chain.rx(0.5, range(num_qubits))
            for qubit in range(num_qubits - 1):
                chain.rzz(0.5, qubit, qubit + 1)
        isa = pass_manager.run(chain)
        pubs.append((isa, [SparsePauliOp(each).apply_layout(isa.layout) for each in observables]))
    return pubs


def primitive_class(kind: str, implementation: str) -> Any:
    """The primitive's class, legacy (server-side V2) or client-side."""
    if implementation == "legacy":
        return SamplerV2 if kind == "sampler" else EstimatorV2
    if kind == "sampler":
        from qiskit_ibm_runtime.executor_sampler import Sampler

        return Sampler
    from qiskit_ibm_runtime.executor_estimator import Estimator

    return Estimator


def run(
    pubs: list[Any], primitive_class: Any, backend: Any, resilience_level: int | None = None
) -> list[Any]:
    """The guide's loop: one job per partition, all in one batch; then the results of all jobs."""
    partitions = [pubs[first : first + MAX_CIRCUITS] for first in range(0, len(pubs), MAX_CIRCUITS)]
    with Batch(backend=backend) as batch:
        primitive = primitive_class(mode=batch)
        if resilience_level is not None:
            primitive.options.resilience_level = resilience_level
        if primitive_class.__name__.startswith("Sampler"):
            jobs = [primitive.run(partition, shots=SHOTS) for partition in partitions]
        else:
            jobs = [primitive.run(partition, precision=SHOTS**-0.5) for partition in partitions]
    return [result for job in jobs for result in job.result()]


if __name__ == "__main__":
    main()
