"""Clifford circuits of 50 to 150 qubits by frames, against Aer's quickest method.

`python -m benchmarks.clifford`; CPU seconds of this process from ISA circuits in hand to shots,
noise and compilation included. Aer runs few shots, from which its time is extrapolated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator

from benchmarks.timing import options, report, run
from qexp.circuits.ghz import ghz_circuits
from qexp.circuits.mirror import mirror_circuits
from qexp.engines.local.backends import fake
from qexp.engines.local.lattice import lattice
from qexp.simulator import NoisySampler, make_device

SHOTS = 4096
PEER_SHOTS = (8, 8, 72)
"""Aer's runs: the first makes what the others have, the difference between them is of shots."""


@dataclass(frozen=True)
class Case:
    """A circuit on a device.

    Attributes:
        name: For the table.
        backend: Makes the device.
        circuit: Makes the circuit.
        method: The quickest of Aer; None: none of its methods ends, and `stabilizer` refuses `rz`.
    """

    name: str
    backend: Callable[[], BackendV2]
    circuit: QuantumCircuit
    method: str | None


def cases(quick: bool) -> Iterator[Case]:
    """Return the circuits that are measured."""
    sequence = np.random.SeedSequence(7)

    def ghz(num_qubits: int) -> QuantumCircuit:
        return next(iter(ghz_circuits(num_qubits=num_qubits, seed_sequence=sequence)))

    def mirror(num_qubits: int, depth: int) -> QuantumCircuit:
        made = mirror_circuits(
            depths=[depth], num_circuits=1, num_qubits=num_qubits, seed_sequence=sequence
        )
        return next(iter(made))

    def torino() -> BackendV2:
        return fake("fake_torino")

    def lattice_of(rows: int) -> Callable[[], BackendV2]:
        return lambda: lattice(rows, 10)

    yield Case("GHZ 50, fake_torino", torino, ghz(50), "matrix_product_state")
    yield Case("mirror 50 x 20, lattice", lattice_of(5), mirror(50, 20), None)
    if not quick:
        yield Case("GHZ 100, fake_torino", torino, ghz(100), "matrix_product_state")
        yield Case("GHZ 100, lattice", lattice_of(10), ghz(100), "matrix_product_state")
        yield Case("GHZ 150, lattice", lattice_of(15), ghz(150), "matrix_product_state")
        yield Case("mirror 100 x 10, lattice", lattice_of(10), mirror(100, 10), None)
        yield Case("mirror 50 x 20, fake_torino", torino, mirror(50, 20), None)


def main() -> None:
    """Measure, and print the table."""
    _, read = options(__doc__ or "", quick="two circuits, one turn")
    arguments = read()
    rows = ["| circuit | pair gates | frames (CPU s) | Aer, extrapolated (CPU s) | ratio |"]
    rows.append("| --- | ---: | ---: | ---: | ---: |")
    for case in cases(arguments.quick):
        backend = case.backend()
        manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
        isa = manager.run(case.circuit)
        pairs = isa.num_nonlocal_gates()
        turns = [(ours_s(backend, isa), peer_s(case, backend, isa)) for _ in range(arguments.pairs)]
        ours, peer = np.median(turns, axis=0)
        shown = ["-", "-"] if np.isnan(peer) else [f"{peer:.0f}", f"{peer / ours:.0f}"]
        rows.append(f"| {' | '.join([case.name, str(pairs), f'{ours:.2f}', *shown])} |")
    report(f"{SHOTS} shots", "\n".join(rows))


def ours_s(backend: BackendV2, isa: QuantumCircuit) -> float:
    """CPU seconds of qexp's simulator, which makes the noise anew."""
    start = time.process_time()
    sampler = NoisySampler(make_device(backend, approximate_noise=True))
    assert sampler.method((isa,), shots=SHOTS) == "clifford"
    sampler.sample([(isa,)], shots=SHOTS, seed=1)
    return time.process_time() - start


def peer_s(case: Case, backend: BackendV2, isa: QuantumCircuit) -> float:
    """CPU seconds of Aer by the noise model of the backend; NaN where it is not run."""
    if case.method is None:
        return float("nan")
    start = time.process_time()
    simulator = AerSimulator.from_backend(backend, method=case.method, max_parallel_threads=1)
    taken = []
    for shots in PEER_SHOTS:
        begun = time.process_time()
        assert simulator.run(isa, shots=shots, seed_simulator=1).result().success
        taken.append(time.process_time() - begun)
    per_shot = (taken[2] - taken[1]) / (PEER_SHOTS[2] - PEER_SHOTS[1])
    return time.process_time() - start - sum(taken[1:]) + per_shot * (SHOTS - PEER_SHOTS[0])


if __name__ == "__main__":
    run(main)
