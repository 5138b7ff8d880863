"""Exact simulation of narrow noisy circuits: the density matrix in the basis of Pauli operators.

The state of n qubits is the real array of its Pauli expectation values, with one axis of four
(I, X, Y, Z) per qubit, and every channel is its Pauli transfer matrix. Gates on one qubit are
multiplied into the next gate on two, which is applied to all parameter sets at once. One evolution
serves any number of shots. For five qubits this is several times faster than Aer, whose overhead
per instruction dominates there. The channels are those of Aer's noise model.

Reference: D. Greenbaum, "Introduction to Quantum Gate Set Tomography", arXiv:1509.02921, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Clbit, Parameter, ParameterExpression, Qubit
from qiskit.utils.units import apply_prefix
from qiskit_aer.noise import thermal_relaxation_error

from qexp.simulator.noise import NoisyDevice
from qexp.simulator.pauli_transfer import RESET, Reals, from_quantum_error, from_unitary, kron, rz

_IDENTITY: Reals = np.eye(4)

_MAX_CONSTANTS = 20_000
# A qubit may be read into any number of bits; there is a probability for each of their values.
_MAX_BITS = 20
_MAX_BYTES = 2**26

# Probabilities of 0 and 1 from the expectation values of I and Z.
_TO_PROBABILITIES: Reals = np.array([[0.5, 0.5], [0.5, -0.5]])


@dataclass(frozen=True)
class PlainCircuit:
    """A circuit of gates, resets and delays whose measurements all come last.

    Attributes:
        circuit: The circuit.
        qubits: Indices of the qubits that anything acts on, ascending.
        measured: The measured qubits and the bits they are read into: several bits where a qubit
            is measured again at once.
        gates: Number of instructions.
        pair_gates: Number of instructions on two qubits.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]
    measured: tuple[tuple[Qubit, tuple[Clbit, ...]], ...]
    gates: int
    pair_gates: int

    @property
    def bits(self) -> tuple[Clbit, ...]:
        """All bits that are read into, in the order of `measured`."""
        return tuple(bit for _, bits in self.measured for bit in bits)


def as_plain(circuit: QuantumCircuit) -> PlainCircuit | None:
    """Return the circuit as one that `DensityMatrix` can simulate, or None."""
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
            # A parametric delay has another channel for each parameter set.
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
    indices = tuple(index for index, qubit in enumerate(circuit.qubits) if qubit in used)
    read_into = tuple((qubit, tuple(bits)) for qubit, bits in measured.items())
    plain = PlainCircuit(circuit, indices, read_into, gates, pair_gates)
    # A bit that is written twice loses its first value.
    is_plain = len(set(plain.bits)) == len(plain.bits) <= _MAX_BITS
    return plain if is_plain else None


def _is_channel(instruction: CircuitInstruction, name: str) -> bool:
    return name == "reset" or (instruction.is_standard_gate() and len(instruction.qubits) <= 2)


class DensityMatrix:
    """Computes the states that a noisy device would prepare.

    Args:
        device: The device and its errors.
    """

    def __init__(self, device: NoisyDevice) -> None:
        self._device = device
        self._errors: dict[tuple[str, tuple[int, ...]], Reals | None] = {}
        self._constants: dict[tuple[str, str, tuple[int, ...]], Reals] = {}

    def paulis(self, plain: PlainCircuit, values: Reals) -> Reals:
        """Return the Pauli expectation values of the states before measurement.

        Args:
            plain: The circuit.
            values: Parameter sets, shape (sets, parameters), in the order of `circuit.parameters`.

        Returns:
            Shape (sets, 4, ..., 4) with one axis (I, X, Y, Z) per qubit of `plain.qubits`.
        """
        index = {plain.circuit.qubits[qubit]: qubit for qubit in plain.qubits}
        columns = {parameter: i for i, parameter in enumerate(plain.circuit.parameters)}
        state = _State(plain.qubits, len(values))
        for instruction in plain.circuit.data:
            name = instruction.name
            if name in {"barrier", "measure"}:
                continue
            where = tuple([index.get(qubit, -1) for qubit in instruction.qubits])
            if -1 in where:
                # A delay on an idle qubit.
                continue
            state.apply(self._channel(instruction, name, where, columns, values), where)
        return state.array()

    def probabilities(self, plain: PlainCircuit, values: Reals) -> Iterator[tuple[int, Reals]]:
        """Yield the probabilities of the measured outcomes, readout errors included.

        Yields:
            Index of the first of some parameter sets, and their probabilities: shape
            (sets, 2**bits). Bit i of an outcome is read into `plain.bits[i]`.
        """
        index = {qubit: i for i, qubit in enumerate(plain.circuit.qubits)}
        times_read = {index[qubit]: len(bits) for qubit, bits in plain.measured}
        step = max(1, _MAX_BYTES // (8 * 4 ** len(plain.qubits)))
        for first in range(0, len(values), step):
            paulis = self.paulis(plain, values[first : first + step])
            yield first, self._measure(paulis, plain.qubits, times_read)

    def _measure(
        self, paulis: Reals, qubits: Sequence[int], times_read: Mapping[int, int]
    ) -> Reals:
        # I and Z of the measured qubits, I of the others.
        diagonal = paulis[
            (slice(None), *(slice(None, None, 3) if qubit in times_read else 0 for qubit in qubits))
        ]
        remaining = [qubit for qubit in qubits if qubit in times_read]
        # The first measured qubit is the last axis, which has the lowest bits of the outcome.
        order = [1 + remaining.index(qubit) for qubit in reversed(times_read)]
        table = diagonal.transpose(0, *order)
        for qubit in reversed(times_read):
            matrix = self._readout(qubit, times_read[qubit]) @ _TO_PROBABILITIES
            # Takes the first axis off and puts the outcomes behind the others.
            table = np.einsum("ob,sb...->s...o", matrix, table)
        table = np.clip(table.reshape(len(paulis), -1), 0.0, None)
        return np.asarray(table / table.sum(axis=1, keepdims=True))

    def _readout(self, qubit: int, times: int) -> Reals:
        """Return the probabilities of what is read (rows) from 0 and 1 (columns)."""
        matrix = once = self._device.readout_probabilities(qubit).T
        for _ in range(times - 1):
            matrix = (once[:, None, :] * matrix).reshape(-1, 2)
        return matrix

    def _error(self, name: str, where: tuple[int, ...]) -> Reals | None:
        """Return the transfer matrix of the error of an instruction."""
        key = (name, where)
        if key not in self._errors:
            error = self._device.gate_error(name, where)
            self._errors[key] = None if error is None else from_quantum_error(error.error)
        return self._errors[key]

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
            matrix = _parametric_gate(instruction, angles, len(values))
        else:
            return self._constant(instruction, name, where)
        # As in Aer, a user's label on a gate takes the place of its name.
        error = self._error(instruction.label or name, where)
        return matrix if error is None else error @ matrix

    def _constant(
        self, instruction: CircuitInstruction, name: str, where: tuple[int, ...]
    ) -> Reals:
        label = instruction.label or name
        key = (name, label, where)
        matrix = self._constants.get(key)
        if matrix is None:
            matrix = RESET if name == "reset" else from_unitary(instruction.operation.to_matrix())
            error = self._error(label, where)
            matrix = matrix if error is None else error @ matrix
            if len(self._constants) > _MAX_CONSTANTS:
                self._constants.clear()
            self._constants[key] = matrix
        return matrix

    def _delay(self, instruction: CircuitInstruction, where: tuple[int, ...]) -> Reals:
        """Return the relaxation of a delay, as Aer's `RelaxationNoisePass` has it."""
        operation = instruction.operation
        key = ("delay", f"{operation.duration} {operation.unit}", where)
        if key in self._constants:
            return self._constants[key]
        t1_s, t2_s = self._device.relaxation_times_s(where[0])
        if t1_s == t2_s == math.inf:
            return _IDENTITY
        if operation.unit == "dt":
            duration_s = operation.duration * self._device.target.dt
        else:
            duration_s = apply_prefix(operation.duration, operation.unit)
        error = thermal_relaxation_error(t1_s, t2_s, duration_s)
        self._constants[key] = from_quantum_error(error)
        return self._constants[key]


class _State:
    """The states of all parameter sets, and matrices not yet applied to single qubits."""

    def __init__(self, qubits: Sequence[int], sets: int) -> None:
        self._qubits = tuple(qubits)
        # All qubits in |0>, whose Pauli vector is (1, 0, 0, 1).
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
            matrix = matrix @ kron(
                _IDENTITY if high is None else high, _IDENTITY if low is None else low
            )
        # Qiskit's convention: the first qubit is the least significant.
        self._multiply(matrix, [where[1], where[0]])

    def array(self) -> Reals:
        """Return the Pauli expectation values, with an axis per qubit in the order given."""
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


def _parametric_gate(
    instruction: CircuitInstruction, angles: Sequence[float | Reals], sets: int
) -> Reals:
    """Return the matrix of a standard gate with parameters, one per parameter set if they vary."""
    gate = type(instruction.operation)
    if all(isinstance(angle, float) for angle in angles):
        return from_unitary(gate(*angles).to_matrix())
    rows = np.broadcast_arrays(*angles, np.zeros(sets))[:-1]
    return from_unitary(np.array([gate(*row).to_matrix() for row in zip(*rows, strict=True)]))


def _angles(
    param: float | ParameterExpression, columns: dict[Any, int], values: Reals
) -> float | Reals:
    """Return the value of a gate's parameter: a number, or one per parameter set."""
    if isinstance(param, int | float):
        return float(param)
    parameters = list(param.parameters)
    if not parameters:
        return float(param)
    chosen = values[:, [columns[parameter] for parameter in parameters]]
    slopes = _slopes(param, parameters)
    if all(isinstance(slope, int | float) for slope in slopes):
        offset = float(param.bind(dict.fromkeys(parameters, 0.0)))
        return np.asarray(offset + chosen @ np.array(slopes, dtype=float))
    return np.array(
        [float(param.bind(dict(zip(parameters, row, strict=True)))) for row in chosen.tolist()]
    )


def _slopes(param: ParameterExpression, parameters: Sequence[Parameter]) -> list[Any]:
    """Return the derivatives of an expression, None where Qiskit has none, as of `sign()`."""
    try:
        return [param.gradient(parameter) for parameter in parameters]
    except RuntimeError:
        return [None]
