"""Circuits and observables of a wide device, written on the qubits that a job really uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qiskit import QuantumCircuit


BLOCK_QUBITS = 8
Part = tuple[set[int], set[int]]


def used_qubits(circuits: Iterable[QuantumCircuit]) -> set[int]:
    """Indices of all qubits that any instruction but a barrier acts on."""
    return {
        circuit.find_bit(qubit).index
        for circuit in circuits
        for instruction in circuit.data
        if instruction.operation.name != "barrier"
        for qubit in instruction.qubits
    }


def observed_qubits(observables: Iterable[Mapping[str, float]]) -> set[int]:
    """Indices of all qubits on which any Pauli string is not the identity."""
    return {
        index
        for observable in observables
        for pauli in observable
        for index, letter in enumerate(reversed(pauli))
        if letter != "I"
    }


def components(circuit: QuantumCircuit) -> list[Part]:
    """Qubits and classical bits of the parts of a circuit that do not interact."""
    joined: list[Part] = []
    for instruction in circuit.data:
        if instruction.operation.name == "barrier":
            continue
        qubits = {circuit.find_bit(qubit).index for qubit in instruction.qubits}
        clbits = {circuit.find_bit(clbit).index for clbit in instruction.clbits}
        touched = [part for part in joined if part[0] & qubits or part[1] & clbits]
        joined = [part for part in joined if part not in touched]
        for part in touched:
            qubits |= part[0]
            clbits |= part[1]
        joined.append((qubits, clbits))
    return joined


def blocks(parts: list[Part]) -> list[Part]:
    """The same parts with several small ones taken together."""
    packed: list[Part] = []
    for qubits, clbits in sorted(parts, key=lambda part: (-len(part[0]), min(part[0]))):
        room = next((part for part in packed if len(part[0] | qubits) <= BLOCK_QUBITS), None)
        if room is None:
            packed.append((set(qubits), set(clbits)))
        else:
            room[0].update(qubits)
            room[1].update(clbits)
    return packed


def narrow_circuit(
    circuit: QuantumCircuit, qubits: tuple[int, ...], clbits: tuple[int, ...] | None = None
) -> QuantumCircuit:
    """The circuit on `qubits` alone.

    Args:
        circuit: The circuit on all qubits.
        qubits: Those to keep, as qubits 0, 1, ...
        clbits: Those to keep, as one register `part`; all with their registers by default.
    """
    from qiskit import ClassicalRegister, QuantumCircuit
    from qiskit.circuit import CircuitInstruction

    out = QuantumCircuit(len(qubits), name=circuit.name)
    if clbits is None:
        out.add_bits(circuit.clbits)
        for register in circuit.cregs:
            out.add_register(register)
        bits = dict(zip(circuit.clbits, out.clbits, strict=True))
    else:
        out.add_register(ClassicalRegister(len(clbits), "part"))
        bits = {circuit.clbits[clbit]: out.clbits[place] for place, clbit in enumerate(clbits)}
    moved = {circuit.qubits[qubit]: out.qubits[place] for place, qubit in enumerate(qubits)}
    for instruction in circuit.data:
        kept = [moved[qubit] for qubit in instruction.qubits if qubit in moved]
        operation: Any = instruction.operation
        if operation.name == "barrier":
            if kept:
                out.barrier(kept)
        elif kept:
            targets = [bits[clbit] for clbit in instruction.clbits]
            out.append(CircuitInstruction(operation, kept, targets), copy=False)
    return out


def narrow_observable(observable: Mapping[str, float], qubits: tuple[int, ...]) -> dict[str, float]:
    """The observable on `qubits` alone; it has to be the identity everywhere else."""
    return {
        "".join(pauli[-1 - qubit] for qubit in reversed(qubits)): coefficient
        for pauli, coefficient in observable.items()
    }


def narrow_observables(array: Any, qubits: tuple[int, ...]) -> Any:
    """An array of observables on `qubits` alone."""
    from qiskit.primitives.containers.observables_array import ObservablesArray

    narrowed = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        narrowed[index] = narrow_observable(dict(array[index]), qubits)
    return ObservablesArray(narrowed)
