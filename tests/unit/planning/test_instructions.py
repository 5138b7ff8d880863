from __future__ import annotations

from qiskit import QuantumCircuit

from qexp.planning.instructions import instructions, tally


def test_instructions_are_told_with_the_outer_qubits() -> None:
    circuit = QuantumCircuit(3, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.cx(2, 1)
    told = [(instruction.name, qubits) for instruction, qubits in instructions(circuit)]
    assert told[0][0] == "if_else"
    assert told[1:] == [("cx", (2, 1))]


def test_a_tally_counts_each_instruction_on_each_of_its_qubits() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.sx(0)
    circuit.sx(0)
    circuit.cx(1, 0)
    circuit.cx(0, 1)
    with circuit.if_test((0, 1)):
        circuit.sx(0)
    assert tally(circuit) == {
        ("sx", (0,)): 3,
        ("cx", (1, 0)): 1,
        ("cx", (0, 1)): 1,
        ("if_else", (0,)): 1,
    }
