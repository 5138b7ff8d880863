"""The instructions of a circuit, with the indices of their qubits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction

Tally: TypeAlias = Mapping[tuple[str, tuple[int, ...]], int]
"""(name of an instruction, qubits that it acts on) -> how often it does."""


def instructions(
    circuit: QuantumCircuit, qubits: Mapping[Any, int] | None = None
) -> Iterator[tuple[CircuitInstruction, tuple[int, ...]]]:
    """Yield every instruction with the circuit's qubit indices, inside control flow too.

    Args:
        circuit: The circuit.
        qubits: Index of each qubit in the outermost circuit; for blocks of control flow.
    """
    index = qubits or {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        indices = tuple(index[qubit] for qubit in instruction.qubits)
        yield instruction, indices
        # Qiskit builds a Python object for `.operation`, which would dominate the cost.
        if instruction.is_control_flow():
            for block in instruction.operation.blocks:
                inner = dict(zip(block.qubits, indices, strict=True))
                yield from instructions(block, inner)


def tally(circuit: QuantumCircuit) -> Tally:
    """Count how often each instruction acts on which qubits, inside control flow too."""
    return Counter((instruction.name, qubits) for instruction, qubits in instructions(circuit))
