from __future__ import annotations

import math
import re

import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter

from qexp.report.figures.circuit import MAX_QUBITS, angle_text, draw_circuit


def drawn(circuit: QuantumCircuit) -> tuple[str, str]:
    drawing, note = draw_circuit(circuit, "a circuit")
    return drawing.to_html(str), note


def count(shape: str, svg: str) -> int:
    return len(re.findall(f'class="{shape}"', svg))


def test_each_kind_of_gate_has_its_symbol():
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.rx(math.pi / 2, 1)
    circuit.cx(0, 1)
    circuit.cz(1, 2)
    circuit.swap(0, 2)
    circuit.barrier()
    circuit.measure(range(3), range(3))
    svg, note = drawn(circuit)
    assert note == ""
    assert count("gate", svg) == 2
    assert ">Rx</text>" in svg
    assert ">π/2</text>" in svg
    assert count("target", svg) == 1
    assert count("control", svg) == 3
    assert count("meter", svg) == 3
    assert count("barrier", svg) == 3
    # A cross has two lines: the target's, and two of the swap.
    assert count("cross", svg) == 6


def test_controls_on_zero_are_open():
    circuit = QuantumCircuit(3)
    circuit.ccx(0, 1, 2, ctrl_state="01")
    svg, _ = drawn(circuit)
    assert (count("control", svg), count("control-open", svg)) == (1, 1)


def test_control_flow_and_unknown_parameters_are_boxes():
    circuit = QuantumCircuit(2, 1)
    circuit.rz(Parameter("a_rather_long_name"), 0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    svg, _ = drawn(circuit)
    assert ">if</text>" in svg
    assert ">a_rather_lo…</text>" in svg


def test_an_operation_without_parameters_is_a_box():
    from qiskit.quantum_info import Clifford

    circuit = QuantumCircuit(2)
    circuit.append(Clifford(QuantumCircuit(2)), [0, 1])
    svg, note = drawn(circuit)
    assert (count("gate", svg), note) == (1, "")


def test_idle_qubits_of_an_isa_circuit_are_left_out_and_the_others_are_physical():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    isa = transpile(
        circuit,
        basis_gates=["sx", "rz", "cx"],
        coupling_map=[[5, 6], [6, 7]],
        initial_layout=[6, 7],
    )
    svg, _ = drawn(isa)
    assert ">Q6</text>" in svg
    assert ">Q7</text>" in svg
    assert ">Q5</text>" not in svg


def test_a_note_names_what_does_not_fit():
    wide = QuantumCircuit(MAX_QUBITS + 6)
    wide.h(range(wide.num_qubits))
    svg, note = drawn(wide)
    assert f"the first {MAX_QUBITS} of {MAX_QUBITS + 6} qubits" in note
    assert count("gate", svg) == MAX_QUBITS
    long = QuantumCircuit(1)
    for _ in range(2000):
        long.x(0)
    svg, note = drawn(long)
    assert re.fullmatch(r"the first \d+ of 2,000 instructions", note)
    assert len(svg) < 120_000


def test_an_empty_circuit_is_no_trouble():
    svg, note = drawn(QuantumCircuit(3))
    assert note == ""
    assert svg.startswith("<svg")


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.pi, "π"), (-3 * math.pi / 4, "−3π/4"), (0.1, "0.1"), (0.0, "0"), (-2.5, "−2.5")],
)
def test_angles(value: float, text: str):
    assert angle_text(value) == text
