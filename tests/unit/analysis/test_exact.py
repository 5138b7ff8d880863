"""Distributions without noise, with keys as the archive's counts have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Gate, Parameter
from qiskit.circuit.library import UnitaryGate, XGate, efficient_su2
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Statevector
from qiskit_aer.primitives import SamplerV2

from qexp.analysis.exact import NotExactError, distribution, ideal_probabilities, statevector
from qexp.archive.results import bits_in, counts_of


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
    assert counts_of(bits_in(result, None, "")) == {"01001": 3}


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
def test_a_circuit_without_a_statevector_has_no_distribution(build, reason: str) -> None:
    circuit = QuantumCircuit(3, 1)
    build(circuit)
    assert ideal_probabilities(circuit, max_qubits=2) is None
    with pytest.raises(NotExactError, match=reason):
        distribution(circuit, max_qubits=2)


@pytest.mark.parametrize("what", ["reset", "initialize", "measure"])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_collapse_inside_an_instruction_is_not_exact(what: str, depth: int) -> None:
    within = QuantumCircuit(1, name="within")
    if what == "measure":
        within.add_register(ClassicalRegister(1))
        within.measure(0, 0)
    else:
        within.reset(0) if what == "reset" else within.initialize([1, 0], 0)
    for _ in range(depth - 1):
        outer = QuantumCircuit(1, within.num_clbits, name="outer")
        outer.append(within.to_instruction(), outer.qubits, outer.clbits)
        within = outer
    circuit = QuantumCircuit(2, 3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.append(within.to_instruction(), [0], circuit.clbits[2 : 2 + within.num_clbits])
    circuit.measure([0, 1], [0, 1])
    with pytest.raises(NotExactError, match=f"'{what}' within '{within.name}'"):
        distribution(circuit)


def test_a_gate_whose_definition_resets_is_not_exact() -> None:
    definition = QuantumCircuit(1)
    definition.reset(0)
    gate = Gate("gate", 1, [])
    gate.definition = definition
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.append(gate, [0])
    circuit.measure_all()
    with pytest.raises(NotExactError, match="'reset' within 'gate'"):
        distribution(circuit)


def test_initialize_is_exact_at_the_beginning_only() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.initialize([0.6, 0.8], 1)
    circuit.append(UnitaryGate([[0, 1], [1, 0]]), [0])
    circuit.measure_all()
    expected = {"00": 0.18, "01": 0.18, "10": 0.32, "11": 0.32}
    assert ideal_probabilities(circuit) == pytest.approx(expected)
    late = QuantumCircuit(2)
    late.h(0)
    late.cx(0, 1)
    late.initialize([1, 0], 0)
    late.measure_all()
    with pytest.raises(NotExactError, match="initialised after gates"):
        distribution(late)


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
