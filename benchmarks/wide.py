"""Noisy circuits of 11 to 20 qubits, against Aer and IBM's local mode in the same process.

`python -m benchmarks.wide`; CPU time from ISA PUBs in hand to results, noise model and compilation
included, imports excluded. Where the other side would take minutes, it runs twice with fewer shots
and its time is extrapolated linearly.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2, quantum_volume
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator

from benchmarks.timing import options, report, run
from qexp.circuits.mirror import mirror_circuits
from qexp.engines.local.backends import fake
from qexp.simulator import NoisyEstimator, NoisySampler

SHOTS = 4096
SEED = 7


@dataclass(frozen=True)
class Work:
    """A circuit to be sampled.

    Attributes:
        name: For the table.
        make: Makes the circuit, with measurements.
        shots: Shots of qexp.
        aer_shots: Shots that Aer runs; its time is extrapolated from two numbers of them.
        target: Ratio to be reached.
    """

    name: str
    make: Callable[[], QuantumCircuit]
    shots: int
    aer_shots: tuple[int, ...]
    target: float


def brickwork(num_qubits: int, depth: int) -> QuantumCircuit:
    """Layers of random gates on one qubit and CZ gates between neighbours in a line."""
    rng, circuit = np.random.default_rng(1), QuantumCircuit(num_qubits)
    for layer in range(depth):
        for qubit in range(num_qubits):
            circuit.u(*rng.uniform(0, 2 * np.pi, 3), qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def volume(num_qubits: int) -> QuantumCircuit:
    """A circuit of quantum volume."""
    circuit = quantum_volume(num_qubits, seed=1)
    circuit.measure_all()
    return circuit


def mirror(num_qubits: int, depth: int) -> QuantumCircuit:
    """A mirror circuit of random Clifford gates."""
    seed = np.random.SeedSequence(1)
    (circuit,) = mirror_circuits(
        num_qubits=num_qubits, depths=[depth], num_circuits=1, seed_sequence=seed
    )
    return circuit


WORK = [
    Work("11 qubits, depth 10", lambda: brickwork(11, 10), SHOTS, (SHOTS,), 1),
    Work("12 qubits, depth 10", lambda: brickwork(12, 10), SHOTS, (64, 320), 60),
    Work("the same, 8,192 shots", lambda: brickwork(12, 10), 2 * SHOTS, (2 * SHOTS,), 1),
    Work("14 qubits, depth 20", lambda: brickwork(14, 20), SHOTS, (8, 40), 80),
    Work("16 qubits, depth 10", lambda: brickwork(16, 10), SHOTS, (8, 40), 40),
    Work("quantum volume 12", lambda: volume(12), SHOTS, (8, 40), 60),
    Work("mirror 16 x 20", lambda: mirror(16, 20), SHOTS, (8, 40), 20),
    Work("20 qubits, depth 10", lambda: brickwork(20, 10), SHOTS, (1, 5), 40),
]


def main() -> None:
    """Measure, and print the table."""
    parser, read = options(__doc__ or "", quick="12 qubits alone, one turn")
    parser.add_argument("--backend", default="FakeTorino", help="class of a fake backend")
    arguments = read()
    backend = fake(arguments.backend)
    rows = [
        "| work | others CPU (s) | qexp CPU (s) | ratio | target | method |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for work in WORK[1:2] if arguments.quick else WORK:
        turns = [_sample(work, backend) for _ in range(arguments.pairs)]
        rows.append(_row(work.name, turns, work.target))
    if not arguments.quick:
        turns = [_estimate(backend) for _ in range(arguments.pairs)]
        rows.append(_row("estimator, 12 qubits, 100 observables", turns, 10))
    report(f"{arguments.pairs} turns on {arguments.backend}", "\n".join(rows))


def _row(name: str, turns: list[tuple[float, float, str]], target: float) -> str:
    theirs = median(theirs for theirs, _, _ in turns)
    ours = median(ours for _, ours, _ in turns)
    cells = [name, f"{theirs:.1f}", f"{ours:.2f}", f"{theirs / ours:.0f}", f"{target:.0f}"]
    return f"| {' | '.join([*cells, turns[0][2]])} |"


def _sample(work: Work, backend: Any) -> tuple[float, float, str]:
    """CPU times of Aer and of qexp, and the method that qexp chose."""
    passes = generate_preset_pass_manager(1, backend=backend, seed_transpiler=3)
    circuit = passes.run(work.make())

    def by_aer(shots: int) -> float:
        def run_it() -> None:
            simulator = AerSimulator.from_backend(backend)
            simulator.run(circuit, shots=shots, seed_simulator=SEED).result()

        return _cpu_s(run_it)

    times = [by_aer(shots) for shots in work.aer_shots]
    theirs = times[-1]
    if len(times) > 1:
        per_shot = (times[1] - times[0]) / (work.aer_shots[1] - work.aer_shots[0])
        theirs += per_shot * (work.shots - work.aer_shots[1])
    pub = SamplerPub.coerce((circuit,), work.shots)
    sampler = NoisySampler(backend)
    ours = _cpu_s(lambda: sampler.sample([pub], shots=work.shots, seed=SEED))
    return theirs, ours, sampler.predict(pub, shots=work.shots).method


def _estimate(backend: Any) -> tuple[float, float, str]:
    """CPU times of IBM's Estimator in local mode and of qexp."""
    from qiskit_ibm_runtime import EstimatorV2

    num_qubits, precision = 12, 1 / 16
    passes = generate_preset_pass_manager(1, backend=backend, seed_transpiler=3)
    ansatz = efficient_su2(num_qubits, reps=3)
    rng = np.random.default_rng(2)
    circuit = passes.run(ansatz.assign_parameters(rng.uniform(-3, 3, ansatz.num_parameters)))
    observables = [
        SparsePauliOp.from_sparse_list(
            [(a + b, sorted({first, second}), 1.0)] if first != second else [(a, [first], 1.0)],
            num_qubits,
        ).apply_layout(circuit.layout)
        for _ in range(100)
        for a, b in [rng.choice(list("XYZ"), 2)]
        for first, second in [rng.choice(num_qubits, 2)]
    ]
    pub = EstimatorPub.coerce((circuit, observables), precision)
    local = EstimatorV2(mode=backend, options={"simulator": {"seed_simulator": SEED}})
    theirs = _cpu_s(lambda: local.run([(circuit, observables)], precision=precision).result())
    estimator = NoisyEstimator(backend)
    ours = _cpu_s(lambda: estimator.estimate([pub], precision=precision, seed=SEED))
    return theirs, ours, estimator.predict(pub, precision=precision).method


def _cpu_s(call: Callable[[], Any]) -> float:
    before = os.times()
    call()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


if __name__ == "__main__":
    run(main)
