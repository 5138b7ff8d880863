from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Clifford, Statevector

from qexp.circuits.mirror import _COSETS, mirror_circuits
from qexp.core.seeds import stream


@settings(max_examples=40)
@given(
    num_qubits=st.integers(1, 5),
    depth=st.integers(0, 6),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_the_one_ideal_outcome_is_the_claimed_one(
    num_qubits: int, depth: int, density: float, seed: int
) -> None:
    (circuit,) = mirror_circuits(
        depths=[depth],
        num_circuits=1,
        num_qubits=num_qubits,
        two_qubit_density=density,
        seed_sequence=stream(seed, "main", "circuits"),
    )
    state = Statevector(circuit.remove_final_measurements(inplace=False))
    probabilities = state.probabilities_dict(decimals=9)
    assert probabilities == {circuit.metadata["ideal_bitstring"]: 1.0}


def test_outcomes_are_spread_over_the_bit_strings(seed_sequence: np.random.SeedSequence) -> None:
    circuits = mirror_circuits(
        depths=[2], num_circuits=40, num_qubits=2, seed_sequence=seed_sequence
    )
    outcomes = {circuit.metadata["ideal_bitstring"] for circuit in circuits}
    assert outcomes == {"00", "01", "10", "11"}


def test_cosets_times_paulis_are_the_single_qubit_cliffords() -> None:
    tables = set()
    for pauli in ("id", "x", "y", "z"):
        for gates in _COSETS:
            circuit = QuantumCircuit(1)
            for gate in (pauli, *gates):
                getattr(circuit, gate)(0)
            tables.add(Clifford(circuit).tableau.tobytes())
    assert len(tables) == 24


def test_depths_alternate_and_barriers_separate_layers(
    seed_sequence: np.random.SeedSequence,
) -> None:
    circuits = list(
        mirror_circuits(
            depths=[1, 3],
            num_circuits=2,
            num_qubits=4,
            two_qubit_density=1,
            seed_sequence=seed_sequence,
        )
    )
    assert [circuit.metadata["depth"] for circuit in circuits] == [1, 3, 1, 3]
    for circuit in circuits:
        depth = circuit.metadata["depth"]
        assert circuit.count_ops()["barrier"] == 2 * depth + 1
        assert 2 * depth <= circuit.count_ops()["cx"] <= 4 * depth
