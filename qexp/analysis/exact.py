"""Circuits without noise, by their statevector: the outcomes of a perfect device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexp.text import one_line

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction, Clbit, Qubit
    from qiskit.quantum_info import Statevector

MAX_QUBITS = 16
"""A statevector of this many qubits takes 1 MiB and about a millisecond per gate."""

ROUNDING = 1e-16
"""Probabilities up to this value are rounding errors of 0."""


class NotExactError(Exception):
    """A circuit cannot be simulated exactly; the message says why, in a few words."""


@dataclass(frozen=True)
class Distribution:
    """The exact distribution of a circuit's outcomes.

    `probabilities` has one for each value of the bits that may be 1, shape `(2**len(bits),)`, of
    which `bits[0]` is the least significant. A bit has several positions in the outcome where its
    qubit was measured into several bits.
    """

    probabilities: NDArray[np.float64]
    bits: tuple[tuple[int, ...], ...]
    num_bits: int  # of an outcome, those of all registers
    num_measured: int  # qubits, including those that no gate acts on

    def outcome(self, index: int) -> str:
        """Return the key of `get_counts()` to which `probabilities[index]` belongs."""
        value = sum(
            1 << position
            for k, positions in enumerate(self.bits)
            if index >> k & 1
            for position in positions
        )
        return f"{value:0{self.num_bits}b}"

    def as_dict(self) -> dict[str, float]:
        """Return outcome -> probability, without those that are 0 but for rounding."""
        possible = np.flatnonzero(self.probabilities > ROUNDING).tolist()
        return {self.outcome(index): float(self.probabilities[index]) for index in possible}


def ideal_probabilities(
    circuit: QuantumCircuit, max_qubits: int = MAX_QUBITS
) -> dict[str, float] | None:
    """Return outcome -> probability of a circuit without noise, None where it is not exact.

    Example: for a measured Bell pair `{"00": 0.5, "11": 0.5}`. Arguments and reasons are those of
    `distribution`; outcomes of probability 0 are left out.
    """
    try:
        return distribution(circuit, max_qubits).as_dict()
    except NotExactError:
        return None


def distribution(circuit: QuantumCircuit, max_qubits: int = MAX_QUBITS) -> Distribution:
    """Compute the distribution of a circuit's outcomes without any noise.

    Outcomes are those of all classical registers joined, as `Archive.counts` has them. Qubits that
    no gate acts on do not count in `max_qubits`.

    Raises:
        NotExactError: The circuit has parameters without values, is too wide, measures nothing, or
            has what no statevector has: measurements before its end, resets, control flow.
    """
    gates, measured = split_final_measurements(circuit)
    if not measured:
        raise NotExactError("nothing is measured")
    active = {qubit: k for k, qubit in enumerate(dict.fromkeys(q for g in gates for q in g.qubits))}
    state = _statevector_of(circuit, gates, active, max_qubits)
    positions: dict[Qubit, list[int]] = {}
    joined = {bit: k for k, bit in enumerate(bit for creg in circuit.cregs for bit in creg)}
    for bit, qubit in measured.items():
        if qubit in active and bit in joined:
            positions.setdefault(qubit, []).append(joined[bit])
    order = sorted(positions, key=lambda qubit: min(positions[qubit]))
    # Qiskit reads an empty list as all qubits.
    probabilities = state.probabilities([active[qubit] for qubit in order]) if order else np.ones(1)
    return Distribution(
        np.asarray(probabilities, dtype=np.float64),
        tuple(tuple(sorted(positions[qubit])) for qubit in order),
        len(joined),
        len({qubit for bit, qubit in measured.items() if bit in joined}),
    )


def statevector(circuit: QuantumCircuit, max_qubits: int = MAX_QUBITS) -> Statevector:
    """Compute the state that a circuit without measurements makes of |0...0>.

    Raises:
        NotExactError: It is too wide, or contains something other than gates.
    """
    gates, measured = split_final_measurements(circuit)
    if measured:
        raise NotExactError("it measures")
    return _statevector_of(circuit, gates, {q: k for k, q in enumerate(circuit.qubits)}, max_qubits)


def split_final_measurements(
    circuit: QuantumCircuit,
) -> tuple[list[CircuitInstruction], dict[Clbit, Qubit]]:
    """Split a circuit into its gates and the measurements that end it.

    Returns:
        The gates in order, without barriers and delays, and the qubit that each bit is read from.

    Raises:
        NotExactError: Parameters or classical variables are left, a gate follows a measurement of
            its qubit, or there is a reset, control flow, or an initialisation after gates.
    """
    from qiskit.circuit.library import Initialize

    if circuit.parameters:
        raise NotExactError("parameters without values")
    if circuit.num_vars or circuit.num_stretches:
        raise NotExactError("classical variables")
    gates: list[CircuitInstruction] = []
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
            # A qubit that is measured twice in a row gives the same bit.
            measured[item.clbits[0]] = item.qubits[0]
            ended.add(item.qubits[0])
        elif ended.isdisjoint(item.qubits):
            gates.append(item)
            touched.update(item.qubits)
        else:
            raise NotExactError("measurements before the end")
    return gates, measured


def _refuse_collapse(item: CircuitInstruction) -> None:
    """Refuse an instruction that resets or measures inside: `Statevector` would draw an outcome."""
    if item.is_standard_gate():
        return

    from qiskit.circuit import Measure, Reset
    from qiskit.circuit.library import Initialize

    todo = [item.operation]
    while todo:
        operation = todo.pop()
        is_whole = operation is item.operation and isinstance(operation, Initialize)
        if is_whole or hasattr(operation, "__array__"):
            # It acts on qubits in |0>, see `split_final_measurements`, or by its matrix.
            continue
        if isinstance(operation, Measure | Reset | Initialize):
            raise NotExactError(f"'{operation.name}' within '{item.name}'")
        definition = getattr(operation, "definition", None)
        inner = () if definition is None else definition.data
        todo.extend(each.operation for each in inner if not each.is_standard_gate())


def _statevector_of(
    circuit: QuantumCircuit,
    gates: list[CircuitInstruction],
    numbers: dict[Qubit, int],
    max_qubits: int,
) -> Statevector:
    """Apply gates to |0...0> on the numbered qubits only."""
    from qiskit import QuantumCircuit
    from qiskit.exceptions import QiskitError
    from qiskit.quantum_info import Statevector

    if len(numbers) > max_qubits:
        raise NotExactError(f"{len(numbers)} qubits")
    pure = QuantumCircuit(len(numbers), global_phase=circuit.global_phase)
    for item in gates:
        _refuse_collapse(item)
        pure._append(item.replace(qubits=[pure.qubits[numbers[qubit]] for qubit in item.qubits]))
    try:
        return Statevector(pure)
    except QiskitError as error:
        raise NotExactError(one_line(error.message)) from None
