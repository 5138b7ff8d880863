"""Circuits restricted to their active qubits.

A qubit that is only idle stays in |0> and is entangled with nothing, so it changes no outcome. A
circuit that uses five of 127 qubits is simulated on these five, with exactly the same distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Qubit
from qiskit.circuit.controlflow import CONTROL_FLOW_OP_NAMES

# Instructions that leave an idle qubit in |0>: a delay only relaxes it towards that state.
_IDLE = frozenset({"barrier", "delay", "break_loop", "continue_loop"})
_LOOP_EXITS = frozenset({"break_loop", "continue_loop"})


@dataclass(frozen=True)
class ActiveCircuit:
    """A circuit on its active qubits.

    Attributes:
        circuit: The circuit, with all classical bits, registers, variables and parameters of the
            original but without barriers, which Aer ignores. It is the original itself where
            every qubit is active.
        qubits: The original qubit behind each of its qubits, ascending.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]


def restrict_to_active(circuit: QuantumCircuit, keep: Iterable[int] = ()) -> ActiveCircuit:
    """Drop the idle qubits of a circuit.

    Args:
        circuit: Any circuit, with control flow, resets, measurements or parameters.
        keep: Indices of qubits to keep even if idle, such as those on which an observable acts.
    """
    active = active_qubits(circuit)
    indices = {index for index, qubit in enumerate(circuit.qubits) if qubit in active}
    # Aer takes no circuit without qubits.
    indices = (indices | set(keep)) or {0}
    if len(indices) >= circuit.num_qubits:
        return ActiveCircuit(circuit, tuple(range(circuit.num_qubits)))
    ordered = tuple(sorted(indices))
    return ActiveCircuit(_restrict(circuit, [circuit.qubits[index] for index in ordered]), ordered)


def active_qubits(circuit: QuantumCircuit) -> set[Qubit]:
    """Return the qubits on which more than barriers and delays act, in nested blocks too."""
    active: set[Qubit] = set()
    for instruction in circuit.data:
        name = instruction.name
        if name in CONTROL_FLOW_OP_NAMES:
            for block in instruction.operation.blocks:
                outer = dict(zip(block.qubits, instruction.qubits, strict=True))
                active.update(outer[qubit] for qubit in active_qubits(block))
        elif name not in _IDLE:
            active.update(instruction.qubits)
    return active


def _restrict(circuit: QuantumCircuit, qubits: Sequence[Qubit]) -> QuantumCircuit:
    """Return the circuit on some of its qubits, every active one among them."""
    restricted = QuantumCircuit(
        list(qubits),
        list(circuit.clbits),
        *circuit.cregs,
        name=circuit.name,
        global_phase=circuit.global_phase,
        metadata=circuit.metadata,
        inputs=circuit.iter_input_vars(),
        captures=(*circuit.iter_captured_vars(), *circuit.iter_captured_stretches()),
    )
    for var in circuit.iter_declared_vars():
        restricted.add_uninitialized_var(var)
    for stretch in circuit.iter_declared_stretches():
        restricted.add_stretch(stretch)
    kept = set(qubits)
    for instruction in circuit.data:
        name = instruction.name
        if name in _LOOP_EXITS:
            restricted._append(_restrict_loop_exit(instruction, kept))
        elif name in CONTROL_FLOW_OP_NAMES:
            restricted._append(_restrict_blocks(instruction, kept))
        elif name != "barrier" and (name != "delay" or kept.issuperset(instruction.qubits)):
            restricted._append(instruction)
    return restricted


def _restrict_loop_exit(instruction: CircuitInstruction, kept: set[Qubit]) -> CircuitInstruction:
    qubits = [qubit for qubit in instruction.qubits if qubit in kept]
    loop_exit = type(instruction.operation)(len(qubits), len(instruction.clbits))
    return instruction.replace(operation=loop_exit, qubits=qubits)


def _restrict_blocks(instruction: CircuitInstruction, kept: set[Qubit]) -> CircuitInstruction:
    places = [place for place, qubit in enumerate(instruction.qubits) if qubit in kept]
    blocks = (
        _restrict(block, [block.qubits[place] for place in places])
        for block in instruction.operation.blocks
    )
    return instruction.replace(
        operation=instruction.operation.replace_blocks(blocks),
        qubits=[instruction.qubits[place] for place in places],
    )
