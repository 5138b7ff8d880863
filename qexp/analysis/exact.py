"""Circuits without noise, by their statevector: what a perfect device would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction, Clbit, Qubit
    from qiskit.quantum_info import Statevector

MAX_QUBITS = 16
"""A statevector of so many qubits takes 1 MiB and about a millisecond per gate."""

ROUNDING = 1e-16
"""Probabilities up to this are 0 but for rounding."""


class NotExactError(Exception):
    """A circuit is not simulated exactly; the message says why, in a few words."""


@dataclass(frozen=True)
class Distribution:
    """The exact distribution of a circuit's outcomes.

    Attributes:
        probabilities: One for each value of the bits that may be 1, shape `(2**len(bits),)`;
            `bits[0]` is the least significant.
        bits: For each of them its positions in the outcome: several, where a qubit was measured
            into several bits. All others are 0.
        num_bits: Number of bits of an outcome, those of all registers.
        num_measured: Number of qubits that are measured, those that no gate acts on included.
    """

    probabilities: NDArray[np.float64]
    bits: tuple[tuple[int, ...], ...]
    num_bits: int
    num_measured: int

    def outcome(self, index: int) -> str:
        """The key of `get_counts()` to which `probabilities[index]` belongs."""
        value = sum(
            1 << position
            for k, positions in enumerate(self.bits)
            if index >> k & 1
            for position in positions
        )
        return f"{value:0{self.num_bits}b}"

    def as_dict(self) -> dict[str, float]:
        """Outcome -> probability, without those that are 0 but for rounding."""
        possible = np.flatnonzero(self.probabilities > ROUNDING).tolist()
        return {self.outcome(index): float(self.probabilities[index]) for index in possible}


def ideal_probabilities(
    circuit: QuantumCircuit, max_qubits: int = MAX_QUBITS
) -> dict[str, float] | None:
    """The distribution of a circuit's outcomes without any noise.

    Args:
        circuit: A circuit without unbound parameters.
        max_qubits: Largest number of qubits, those that no gate acts on not counted.

    Returns:
        Outcome -> probability. Outcomes are those of all classical registers joined, as
        `Archive.counts` has them; those of probability 0 are left out. None: the circuit is too
        wide, measures nothing, or has something in it that no statevector has: measurements before
        its end, resets, control flow.
    """
    try:
        return distribution(circuit, max_qubits).as_dict()
    except NotExactError:
        return None


def distribution(circuit: QuantumCircuit, max_qubits: int = MAX_QUBITS) -> Distribution:
    """As `ideal_probabilities`, as an array.

    Raises:
        NotExactError: Where `ideal_probabilities` returns None.
    """
    gates, measured = _split(circuit)
    if not measured:
        raise NotExactError("nothing is measured")
    qubits = _active(gates)
    state = _evolved(circuit, gates, qubits, max_qubits)
    positions: dict[Qubit, list[int]] = {}
    joined = {bit: k for k, bit in enumerate(bit for creg in circuit.cregs for bit in creg)}
    for bit, qubit in measured.items():
        if qubit in qubits and bit in joined:
            positions.setdefault(qubit, []).append(joined[bit])
    order = sorted(positions, key=lambda qubit: min(positions[qubit]))
    # Qiskit reads an empty list as all qubits.
    probabilities = state.probabilities([qubits[qubit] for qubit in order]) if order else np.ones(1)
    return Distribution(
        np.asarray(probabilities, dtype=np.float64),
        tuple(tuple(sorted(positions[qubit])) for qubit in order),
        len(joined),
        len({qubit for bit, qubit in measured.items() if bit in joined}),
    )


def statevector(circuit: QuantumCircuit, max_qubits: int = MAX_QUBITS) -> Statevector:
    """The state that a circuit without measurements makes of |0...0>.

    Raises:
        NotExactError: It is too wide, or has something in it that is no gate.
    """
    gates, measured = _split(circuit)
    if measured:
        raise NotExactError("it measures")
    return _evolved(circuit, gates, {q: k for k, q in enumerate(circuit.qubits)}, max_qubits)


def _split(circuit: QuantumCircuit) -> tuple[list[Any], dict[Clbit, Qubit]]:
    """The gates, and the qubit that is measured into each bit."""
    from qiskit.circuit.library import Initialize

    if circuit.parameters:
        raise NotExactError("parameters without values")
    if circuit.num_vars or circuit.num_stretches:
        raise NotExactError("classical variables")
    gates: list[Any] = []
    measured: dict[Clbit, Qubit] = {}
    ended: set[Qubit] = set()
    touched: set[Qubit] = set()
    for item in circuit.data:
        if item.name in ("barrier", "delay"):
            continue
        if item.is_control_flow():
            raise NotExactError("control flow")
        if item.name == "reset":
            raise NotExactError("resets")
        if isinstance(item.operation, Initialize) and not touched.isdisjoint(item.qubits):
            raise NotExactError("qubits that are initialised after gates")
        if item.name == "measure":
            # Measured once more at once, a qubit gives the same.
            measured[item.clbits[0]] = item.qubits[0]
            ended.add(item.qubits[0])
        elif ended.isdisjoint(item.qubits):
            gates.append(item)
            touched.update(item.qubits)
        else:
            raise NotExactError("measurements before the end")
    return gates, measured


def _refuse_collapse(item: CircuitInstruction) -> None:
    """Refuse what resets or measures within: `Statevector` draws one outcome of it at random.

    Raises:
        NotExactError: There is something of this kind in the instruction, however deep.
    """
    if item.is_standard_gate():
        return

    from qiskit.circuit import Measure, Reset
    from qiskit.circuit.library import Initialize

    todo = [item.operation]
    while todo:
        operation = todo.pop()
        is_whole = operation is item.operation and isinstance(operation, Initialize)
        if is_whole or hasattr(operation, "__array__"):
            # On qubits in |0>, see `_split`; or by its matrix, whatever its definition.
            continue
        if isinstance(operation, Measure | Reset | Initialize):
            raise NotExactError(f"'{operation.name}' within '{item.name}'")
        definition = getattr(operation, "definition", None)
        inner = () if definition is None else definition.data
        todo.extend(each.operation for each in inner if not each.is_standard_gate())


def _active(gates: Sequence[Any]) -> dict[Qubit, int]:
    """The qubits that a gate acts on, each with its number among them."""
    return {qubit: k for k, qubit in enumerate(dict.fromkeys(q for g in gates for q in g.qubits))}


def _evolved(
    circuit: QuantumCircuit, gates: Sequence[Any], qubits: dict[Qubit, int], max_qubits: int
) -> Statevector:
    from qiskit import QuantumCircuit
    from qiskit.exceptions import QiskitError
    from qiskit.quantum_info import Statevector

    if len(qubits) > max_qubits:
        raise NotExactError(f"{len(qubits)} qubits")
    pure = QuantumCircuit(len(qubits), global_phase=circuit.global_phase)
    for item in gates:
        _refuse_collapse(item)
        pure._append(item.replace(qubits=[pure.qubits[qubits[qubit]] for qubit in item.qubits]))
    try:
        return Statevector(pure)
    except QiskitError as error:
        raise NotExactError(" ".join(str(error.message).split())) from None
