"""Distributions without noise, with keys as the archive's counts have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.library import XGate, efficient_su2
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Statevector
from qiskit_aer.primitives import SamplerV2

from qexp.analysis.exact import NotExactError, distribution, ideal_probabilities, statevector
from qexp.archive.counts import counts_in


def test_a_ghz_state_has_two_outcomes() -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure_all()
    assert ideal_probabilities(circuit) == pytest.approx({"000": 0.5, "111": 0.5})


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_probabilities_are_those_of_qiskit(seed: int, num_qubits: int) -> None:
    circuit = random_circuit(num_qubits, 3, seed=seed)
    expected = Statevector(circuit).probabilities_dict()
    circuit.measure_all()
    found = ideal_probabilities(circuit)
    assert found is not None
    assert sum(found.values()) == pytest.approx(1)
    for outcome in found.keys() | expected.keys():
        assert found.get(outcome, 0) == pytest.approx(expected.get(outcome, 0), abs=1e-12)


def test_outcomes_are_those_of_all_registers_joined_as_counts_are() -> None:
    qubits, first, second = QuantumRegister(3), ClassicalRegister(2, "a"), ClassicalRegister(3, "b")
    circuit = QuantumCircuit(qubits, first, second)
    circuit.x(qubits[1])
    circuit.measure([0, 1], [1, 0])
    circuit.barrier()
    # Once more, into the other register; bits 0 and 2 of it stay 0.
    circuit.measure(1, second[1])
    found = ideal_probabilities(circuit)
    result = SamplerV2(seed=1).run([circuit], shots=3).result()[0]
    assert found == {"01001": 1.0}
    assert counts_in(result, None, "") == {"01001": 3}


def test_qubits_without_gates_cost_nothing() -> None:
    circuit = QuantumCircuit(60)
    circuit.h(41)
    circuit.measure_all()
    found = ideal_probabilities(circuit, max_qubits=1)
    assert found == pytest.approx({"0" * 60: 0.5, "0" * 18 + "1" + "0" * 41: 0.5})
    assert distribution(circuit).bits == ((41,),)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda c: c.h(0), "nothing is measured"),
        (lambda c: (c.measure(0, 0), c.x(0)), "measurements before the end"),
        (lambda c: (c.h(0), c.reset(0), c.measure(0, 0)), "resets"),
        (lambda c: (c.rx(Parameter("a"), 0), c.measure(0, 0)), "parameters without values"),
        (lambda c: (c.h([0, 1, 2]), c.measure(0, 0)), "3 qubits"),
        (
            lambda c: (c.if_test((c.clbits[0], 1), _flip(), [0], []), c.measure(0, 0)),
            "control flow",
        ),
    ],
)
def test_what_has_no_statevector_has_no_distribution(build, reason: str) -> None:
    circuit = QuantumCircuit(3, 1)
    build(circuit)
    assert ideal_probabilities(circuit, max_qubits=2) is None
    with pytest.raises(NotExactError, match=reason):
        distribution(circuit, max_qubits=2)


def _flip() -> QuantumCircuit:
    body = QuantumCircuit(1)
    body.append(XGate(), [0])
    return body


def test_a_state_is_that_of_qiskit() -> None:
    ansatz = efficient_su2(3, reps=1)
    bound = ansatz.assign_parameters(np.linspace(0, 1, ansatz.num_parameters))
    assert statevector(bound) == Statevector(bound)
    bound.measure_all()
    with pytest.raises(NotExactError, match="measures"):
        statevector(bound)
