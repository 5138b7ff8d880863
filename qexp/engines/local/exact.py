"""Exact simulation of narrow noisy circuits: the density matrix, in the basis of Pauli operators.

The state of n qubits is the real array of its Pauli expectation values, with one axis of four
(I, X, Y, Z) per qubit. Every channel is its Pauli transfer matrix, real too: gates on one qubit
are multiplied with the next gate on two, which is applied to all parameter sets at once. One
evolution serves any number of shots. For five qubits this is several times quicker than Aer,
whose overhead per instruction dominates there; channels are Aer's, made by Qiskit.

Reference: D. Greenbaum, "Introduction to Quantum Gate Set Tomography", arXiv:1509.02921, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.engines.local.reduced import ReducedDevice
from qexp.engines.local.transfer import RESET, Reals, kron, of_error, of_unitary, rz

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction, Clbit, ParameterExpression, Qubit

_I4: Reals = np.eye(4)

_MAX_CONSTANTS = 20_000
_MAX_BYTES = 2**26

# Of 0 and 1, from the expectation values of I and Z.
_TO_PROBABILITIES: Reals = np.array([[0.5, 0.5], [0.5, -0.5]])


@dataclass(frozen=True)
class Final:
    """A circuit of gates, resets and delays whose measurements all come last.

    Attributes:
        circuit: The circuit.
        qubits: The physical qubits that anything acts on, ascending.
        measured: The qubits that are measured, and into which bits: several where a qubit is
            measured again at once.
        gates: Number of instructions.
        pair_gates: Number of those that act on two qubits.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]
    measured: tuple[tuple[Qubit, tuple[Clbit, ...]], ...]
    gates: int
    pair_gates: int

    @property
    def bits(self) -> tuple[Clbit, ...]:
        """All bits that are measured, in this order."""
        return tuple(bit for _, bits in self.measured for bit in bits)


def as_final(circuit: QuantumCircuit) -> Final | None:
    """What `ExactDevice` can simulate, or None."""
    if circuit.num_vars or circuit.num_stretches:
        return None
    used: set[Qubit] = set()
    measured: dict[Qubit, list[Clbit]] = {}
    gates = pair_gates = 0
    for instruction in circuit.data:
        name, qubits = instruction.name, instruction.qubits
        if name == "barrier":
            continue
        if name == "delay":
            # The duration of a parametric one is known for each parameter set only.
            if not isinstance(instruction.params[0], int | float):
                return None
            gates += 1
            continue
        if name == "measure":
            measured.setdefault(qubits[0], []).append(instruction.clbits[0])
        elif not measured.keys().isdisjoint(qubits) or not _is_channel(instruction, name):
            return None
        used.update(qubits)
        gates += 1
        pair_gates += len(qubits) == 2
    places = tuple(index for index, qubit in enumerate(circuit.qubits) if qubit in used)
    into = tuple((qubit, tuple(bits)) for qubit, bits in measured.items())
    final = Final(circuit, places, into, gates, pair_gates)
    # A bit that is written twice has lost what it was first.
    return final if len(set(final.bits)) == len(final.bits) else None


def _is_channel(instruction: CircuitInstruction, name: str) -> bool:
    return name == "reset" or (instruction.is_standard_gate() and len(instruction.qubits) <= 2)


class ExactDevice:
    """Computes the states that a noisy device would prepare.

    Args:
        device: The device and its errors.
    """

    def __init__(self, device: ReducedDevice) -> None:
        self._device = device
        self._errors: dict[tuple[str, tuple[int, ...]], Reals | None] = {}
        self._constants: dict[tuple[str, str, tuple[int, ...]], Reals] = {}

    def paulis(self, final: Final, values: Reals) -> Reals:
        """Pauli expectation values of the states before measurement.

        Args:
            final: The circuit.
            values: Parameter sets, shape (sets, parameters), in the order of `circuit.parameters`.

        Returns:
            Shape (sets, 4, ..., 4) with one axis (I, X, Y, Z) per qubit of `final.qubits`.
        """
        wires = {final.circuit.qubits[place]: place for place in final.qubits}
        columns = {parameter: i for i, parameter in enumerate(final.circuit.parameters)}
        state = _State(final.qubits, len(values))
        for instruction in final.circuit.data:
            name = instruction.name
            if name in {"barrier", "measure"}:
                continue
            where = tuple([wires.get(qubit, -1) for qubit in instruction.qubits])
            if -1 in where:
                # A delay on an idle qubit.
                continue
            state.apply(self._channel(instruction, name, where, columns, values), where)
        return state.array()

    def probabilities(self, final: Final, values: Reals) -> Iterator[tuple[int, Reals]]:
        """Probabilities of the measured outcomes, readout errors included.

        Yields:
            Index of the first of some parameter sets, and their probabilities: shape
            (sets, 2**bits); bit i of an outcome is what is read into `final.bits[i]`.
        """
        place = {qubit: index for index, qubit in enumerate(final.circuit.qubits)}
        reads = {place[qubit]: len(bits) for qubit, bits in final.measured}
        step = max(1, _MAX_BYTES // (8 * 4 ** len(final.qubits)))
        for first in range(0, len(values), step):
            paulis = self.paulis(final, values[first : first + step])
            yield first, self._read(paulis, final.qubits, reads)

    def _read(self, paulis: Reals, qubits: Sequence[int], reads: Mapping[int, int]) -> Reals:
        sets = len(paulis)
        # I and Z of what is measured, I of the rest.
        diagonal = paulis[
            (slice(None), *(slice(None, None, 3) if qubit in reads else 0 for qubit in qubits))
        ]
        remaining = [qubit for qubit in qubits if qubit in reads]
        # The first measured qubit is the last axis, which has the lowest bits of the outcome.
        table = diagonal.transpose(0, *[1 + remaining.index(qubit) for qubit in reversed(reads)])
        for qubit in reversed(reads):
            matrix = self._reading(qubit, reads[qubit]) @ _TO_PROBABILITIES
            # Takes the first axis off and puts the outcomes behind the others.
            table = np.einsum("ob,sb...->s...o", matrix, table)
        table = np.clip(table.reshape(sets, -1), 0.0, None)
        return np.asarray(table / table.sum(axis=1, keepdims=True))

    def _error(self, name: str, where: tuple[int, ...]) -> Reals | None:
        """The transfer matrix of what happens after an instruction."""
        key = (name, where)
        if key not in self._errors:
            error = self._device.gate_error(name, where)
            self._errors[key] = None if error is None else of_error(error.inner)
        return self._errors[key]

    def _reading(self, qubit: int, times: int) -> Reals:
        """Probabilities of what is read (rows) where 0 and 1 (columns) is, time after time."""
        error = self._device.readout_error(qubit)
        once = np.eye(2) if error is None else np.asarray(error.inner.probabilities).T
        matrix = once
        for _ in range(times - 1):
            matrix = (once[:, None, :] * matrix).reshape(-1, 2)
        return matrix

    def _channel(
        self,
        instruction: CircuitInstruction,
        name: str,
        where: tuple[int, ...],
        columns: dict[Any, int],
        values: Reals,
    ) -> Reals:
        if name == "rz":
            matrix = rz(_angles(instruction.params[0], columns, values))
        elif name == "delay":
            return self._delay(instruction, where)
        elif instruction.params:
            angles = [_angles(param, columns, values) for param in instruction.params]
            matrix = _parametric(instruction, angles, len(values))
        else:
            return self._constant(instruction, name, where)
        # As in Aer, a label that someone gave a gate takes the place of its name.
        error = self._error(instruction.label or name, where)
        return matrix if error is None else error @ matrix

    def _constant(
        self, instruction: CircuitInstruction, name: str, where: tuple[int, ...]
    ) -> Reals:
        label = instruction.label or name
        key = (name, label, where)
        matrix = self._constants.get(key)
        if matrix is None:
            matrix = RESET if name == "reset" else of_unitary(instruction.operation.to_matrix())
            error = self._error(label, where)
            matrix = matrix if error is None else error @ matrix
            if len(self._constants) > _MAX_CONSTANTS:
                self._constants.clear()
            self._constants[key] = matrix
        return matrix

    def _delay(self, instruction: CircuitInstruction, where: tuple[int, ...]) -> Reals:
        """As Aer's `RelaxationNoisePass`, which `NoiseModel.from_backend` applies to delays."""
        from qiskit.utils.units import apply_prefix
        from qiskit_aer.noise import thermal_relaxation_error

        operation = instruction.operation
        key = ("delay", f"{operation.duration} {operation.unit}", where)
        if key in self._constants:
            return self._constants[key]
        target = self._device.target
        properties = target.qubit_properties[where[0]] if target.qubit_properties else None
        t1 = math.inf if properties is None or properties.t1 is None else properties.t1
        t2 = 2 * t1 if properties is None or properties.t2 is None else min(properties.t2, 2 * t1)
        if t1 == t2 == math.inf:
            return np.eye(4)
        if operation.unit == "dt":
            duration_s = operation.duration * target.dt
        else:
            duration_s = apply_prefix(operation.duration, operation.unit)
        self._constants[key] = of_error(thermal_relaxation_error(t1, t2, duration_s))
        return self._constants[key]


class _State:
    """The states of all parameter sets, and what is still to be applied to single qubits."""

    def __init__(self, qubits: Sequence[int], sets: int) -> None:
        self._qubits = tuple(qubits)
        # All in |0>, whose Pauli vector is (1, 0, 0, 1).
        self._array = np.zeros((sets, *(4 for _ in qubits)))
        self._array[(slice(None), *(slice(None, None, 3) for _ in qubits))] = 1.0
        self._order = list(qubits)
        self._pending: dict[int, Reals] = {}

    def apply(self, matrix: Reals, where: tuple[int, ...]) -> None:
        """Apply a transfer matrix, shape (d, d) or (sets, d, d), to one or two qubits."""
        if len(where) == 1:
            earlier = self._pending.get(where[0])
            self._pending[where[0]] = matrix if earlier is None else matrix @ earlier
            return
        low, high = (self._pending.pop(qubit, None) for qubit in where)
        if low is not None or high is not None:
            matrix = matrix @ kron(_I4 if high is None else high, _I4 if low is None else low)
        # Qiskit's convention: the first qubit is the least significant.
        self._multiply(matrix, [where[1], where[0]])

    def array(self) -> Reals:
        """The Pauli expectation values, with an axis per qubit in the order given."""
        for qubit in list(self._pending):
            self._multiply(self._pending.pop(qubit), [qubit])
        return self._array.transpose(0, *(1 + self._order.index(qubit) for qubit in self._qubits))

    def _multiply(self, matrix: Reals, where: list[int]) -> None:
        # In blocks of at most 64 columns: BLAS would use threads for larger ones, which costs
        # more than it saves here, and makes rounding depend on their number.
        rest = [qubit for qubit in self._order if qubit not in where]
        order = [*rest[:-3], *where, *rest[-3:]]
        array = self._array.transpose(0, *[1 + self._order.index(qubit) for qubit in order])
        size = matrix.shape[-1]
        blocks = array.reshape(len(array), 4 ** len(rest[:-3]), size, -1)
        each = matrix if matrix.ndim == 2 else matrix[:, None]
        self._array = (each @ blocks).reshape(array.shape)
        self._order = order


def _parametric(
    instruction: CircuitInstruction, angles: Sequence[float | Reals], sets: int
) -> Reals:
    """Any standard gate with parameters."""
    gate = type(instruction.operation)
    if all(isinstance(angle, float) for angle in angles):
        return of_unitary(gate(*angles).to_matrix())
    rows = np.broadcast_arrays(*angles, np.zeros(sets))[:-1]
    return of_unitary(np.array([gate(*row).to_matrix() for row in zip(*rows, strict=True)]))


def _angles(
    param: float | ParameterExpression, columns: dict[Any, int], values: Reals
) -> float | Reals:
    """The values of one gate's parameter: a number, or one per parameter set."""
    if isinstance(param, int | float):
        return float(param)
    parameters = list(param.parameters)
    if not parameters:
        return float(param)
    chosen = values[:, [columns[parameter] for parameter in parameters]]
    slopes = [param.gradient(parameter) for parameter in parameters]
    if all(isinstance(slope, int | float) for slope in slopes):
        offset = float(param.bind(dict.fromkeys(parameters, 0.0)))
        return np.asarray(offset + chosen @ np.array(slopes, dtype=float))
    return np.array(
        [float(param.bind(dict(zip(parameters, row, strict=True)))) for row in chosen.tolist()]
    )
