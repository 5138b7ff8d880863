from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit.random import random_circuit

from qexp.circuits.random import random_circuits
from qexp.core.seeds import stream


def measured(circuit: QuantumCircuit) -> set[Any]:
    return {item.qubits[0] for item in circuit.data if item.name == "measure"}


def active(circuit: QuantumCircuit) -> set[Any]:
    gates = (item for item in circuit.data if item.name not in ("measure", "barrier"))
    return {qubit for item in gates for qubit in item.qubits}


@settings(max_examples=30)
@given(
    num_qubits=st.integers(1, 6),
    depth=st.integers(1, 3),
    max_operands=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_active_measures_exactly_the_qubits_that_a_gate_acts_on(
    num_qubits: int, depth: int, max_operands: int, seed: int
) -> None:
    (circuit,) = random_circuits(
        num_circuits=1,
        num_qubits=num_qubits,
        depth=depth,
        max_operands=max_operands,
        seed_sequence=stream(seed, "main", "circuits"),
    )
    assert measured(circuit) == active(circuit)
    assert [register.name for register in circuit.cregs] == ["meas"]
    assert circuit.num_clbits == len(measured(circuit)) >= 1


def test_all_measures_every_qubit(seed_sequence: np.random.SeedSequence) -> None:
    for circuit in random_circuits(
        num_circuits=5, num_qubits=4, depth=1, measure="all", seed_sequence=seed_sequence
    ):
        assert measured(circuit) == set(circuit.qubits)


@pytest.mark.parametrize("measure", ["active", "all"])
def test_a_circuit_without_gates_measures_every_qubit(
    measure: Any, seed_sequence: np.random.SeedSequence
) -> None:
    (circuit,) = random_circuits(
        num_circuits=1, num_qubits=3, depth=0, measure=measure, seed_sequence=seed_sequence
    )
    assert measured(circuit) == set(circuit.qubits)
    assert circuit.num_clbits == 3


def test_conditional_circuits_have_the_same_registers(
    seed_sequence: np.random.SeedSequence,
) -> None:
    circuits = list(
        random_circuits(
            num_circuits=20, num_qubits=2, depth=4, conditional=True, seed_sequence=seed_sequence
        )
    )
    names = [[register.name for register in circuit.cregs] for circuit in circuits]
    assert all(first == second == ["c", "meas"] for first, second in pairwise(names))
    assert {"if_else" in circuit.count_ops() for circuit in circuits} == {True, False}


def test_the_metadata_rebuilds_the_circuit(seed_sequence: np.random.SeedSequence) -> None:
    for circuit in random_circuits(num_circuits=3, seed_sequence=seed_sequence):
        again = random_circuit(5, 5, max_operands=4, seed=circuit.metadata["seed"])
        again.measure_active()
        assert again == circuit


def test_the_first_names(seed_sequence: np.random.SeedSequence) -> None:
    circuits = random_circuits(num_circuits=2, depth=1, seed_sequence=seed_sequence)
    assert [circuit.name for circuit in circuits] == ["random_0000", "random_0001"]
