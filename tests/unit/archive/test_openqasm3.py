"""OpenQASM 3 that is not written by Qiskit's exporter means the same, with exact numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import ClassicalRegister, QuantumRegister
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator

from qexp.archive.circuit_digest import describe
from qexp.archive.openqasm3 import Program, declarations, gate_text, number

GATES = {
    name: gate
    for name, gate in get_standard_gate_name_mapping().items()
    if getattr(gate, "_standard_gate", None) is not None and gate.num_qubits
}


@pytest.mark.parametrize("name", GATES)
def test_every_standard_gate_reads_back_as_what_it_does(name: str) -> None:
    gate = GATES[name]
    angles = [0.1 + 0.2 * k for k in range(len(gate.params))]
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate.base_class(*angles), list(reversed(range(gate.num_qubits))))
    text = describe(circuit, str)["qasm3"]
    assert text.count("gate ") == len(gate_text(gate.base_class, len(angles))[1])
    loaded = qasm3.loads(text)
    assert loaded.size() == 1
    assert Operator(loaded).equiv(Operator(circuit))


def test_a_gate_is_defined_once_and_after_the_gates_that_it_calls() -> None:
    circuit = QuantumCircuit(4)
    circuit.rcccx(0, 1, 2, 3)
    circuit.rccx(0, 1, 2)
    circuit.append(GATES["c3sx"].base_class(), range(4))
    circuit.rccx(1, 2, 3)
    text = describe(circuit, str)["qasm3"]
    names = [line.split()[1].partition("(")[0] for line in text.splitlines() if line[:5] == "gate "]
    assert sorted(names) == sorted(set(names))
    assert {"rccx", "rcccx", "c3sx"} <= set(names)
    assert Operator(qasm3.loads(text)).equiv(Operator(circuit))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_exact(value: float) -> None:
    assert read_back(value) == value
    assert math.copysign(1, read_back(value)) == math.copysign(1, value)


@given(st.integers(-20, 20), st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 16, 32]))
def test_a_multiple_of_pi_is_exact(factor: int, divisor: int) -> None:
    for value in (factor * math.pi / divisor, math.nextafter(factor * math.pi / divisor, 9)):
        assert read_back(value) == value


def read_back(value: float) -> float:
    text = f'OPENQASM 3.0; include "stdgates.inc"; qubit[1] q; rz({number(value)}) q[0];'
    return float(qasm3.loads(text).data[0].operation.params[0])


def test_multiples_of_pi_are_written_with_pi() -> None:
    texts = {math.pi / 2: "pi/2", -3 * math.pi / 4: "-3*pi/4", 2 * math.pi: "2*pi", 0.25: "0.25"}
    assert {value: number(value) for value in texts} == texts
    assert number(-0.0) == "-0.0"
    assert number(3) == "3"
    for unwritable in (math.nan, math.inf, -math.inf, 2**60, True, "a", None):
        assert number(unwritable) is None


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "dt"])
@pytest.mark.parametrize("duration", [0, 100, 2.5, 1e-9])
def test_delays_keep_their_duration_and_unit(duration, unit: str) -> None:
    duration = 100 if unit == "dt" else duration
    circuit = QuantumCircuit(QuantumRegister(2, "q"))
    circuit.delay(duration, 1, unit)
    program = Program.of(circuit)
    assert program.append(circuit.data[0].operation, "q[1]", [])
    assert qasm3.loads(program.text(str)) == circuit


@pytest.mark.parametrize("name", ["gate", "pi", "cx", "U", "größe", "a b", "_gate_q_0"])
def test_a_name_that_openqasm_cannot_have_is_left_to_qiskit(name: str) -> None:
    circuit = QuantumCircuit(QuantumRegister(1, "q"), ClassicalRegister(1, name))
    circuit.measure(0, 0)
    text = describe(circuit, str)["qasm3"]
    assert text == qasm3.dumps(circuit)
    qasm3.loads(text)


def test_a_register_named_like_a_defined_gate_is_left_to_qiskit() -> None:
    assert declarations((("ecr", 2),), ()) == "bit[2] ecr;\n"
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(2, "ecr"))
    circuit.ecr(0, 1)
    circuit.measure([0, 1], [0, 1])
    text = describe(circuit, str)["qasm3"]
    assert text == qasm3.dumps(circuit)
    assert qasm3.loads(text).size() == 3


def test_a_secret_in_the_name_of_a_register_is_removed() -> None:
    circuit = QuantumCircuit(QuantumRegister(1, "q"), ClassicalRegister(1, "token"))
    circuit.measure(0, 0)
    found = describe(circuit, lambda text: text.replace("token", "***"))
    assert "token" not in found["qasm3"]
    assert found["qasm3"].count("***") == 2
    assert found["sha256"] == describe(circuit, str)["sha256"]


def test_a_circuit_of_gates_that_openqasm_knows_reads_back_as_an_equal_circuit() -> None:
    circuit = QuantumCircuit(
        QuantumRegister(3, "a"),
        QuantumRegister(1, "b"),
        ClassicalRegister(2, "c"),
        ClassicalRegister(1, "d"),
        global_phase=1.25,
    )
    circuit.h(0)
    circuit.u(0.1, 0.2, -0.3, 3)
    circuit.cu(0.1, math.pi / 7, 1e-9, 4.0, 0, 3)
    circuit.barrier([3, 0])
    circuit.delay(0.5, 2, "us")
    circuit.reset(1)
    circuit.cswap(3, 1, 0)
    circuit.measure([0, 3], [2, 1])
    assert qasm3.loads(describe(circuit, str)["qasm3"]) == circuit
