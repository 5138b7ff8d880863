"""Exact simulation of narrow noisy circuits: the density matrix in the basis of Pauli operators.

The state of n qubits is the real array of its Pauli expectation values, with one axis of four
(I, X, Y, Z) per qubit, and every channel is its Pauli transfer matrix. For a channel E on k qubits
that is R_ij = tr(P_i E(P_j)) / 2**k: real, of shape (4**k, 4**k). As in Qiskit, the first qubit is
the least significant one. The channels are those of Aer's noise model.

Gates on one qubit are multiplied into the next gate on two, which is applied to all parameter sets
at once. One evolution serves any number of shots. For five qubits this is several times faster than
Aer, whose overhead per instruction dominates there.

Reference: D. Greenbaum, "Introduction to Quantum Gate Set Tomography", arXiv:1509.02921, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CircuitInstruction, Parameter, ParameterExpression
from qiskit.utils.units import apply_prefix

from qexp.simulator.circuits import PlainCircuit
from qexp.simulator.gate_errors import GateErrors
from qexp.simulator.noise import NoisyDevice

Reals: TypeAlias = NDArray[np.float64]

RESET: Reals = np.array([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
_IDENTITY: Reals = np.eye(4)

_MAX_CONSTANTS = 20_000
_MAX_BYTES = 2**26

# Probabilities of 0 and 1 from the expectation values of I and Z.
_TO_PROBABILITIES: Reals = np.array([[0.5, 0.5], [0.5, -0.5]])


class DensityMatrix:
    """Computes the states that a noisy device would prepare."""

    def __init__(self, device: NoisyDevice) -> None:
        self._device = device
        self._errors = GateErrors(device)
        self.error = cache(self._errors.matrix)
        self._constants: dict[tuple[str, str, tuple[int, ...]], Reals] = {}

    def paulis(self, plain: PlainCircuit, values: Reals) -> Reals:
        """Return the Pauli expectation values of the states before measurement.

        Parameter sets are of shape (sets, parameters), in the order of `circuit.parameters`.

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
            state.apply(self.channel(instruction, where, columns, values), where)
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
            matrix = self.readout(qubit, times_read[qubit]) @ _TO_PROBABILITIES
            # Takes the first axis off and puts the outcomes behind the others.
            table = np.einsum("ob,sb...->s...o", matrix, table)
        table = np.clip(table.reshape(len(paulis), -1), 0.0, None)
        return np.asarray(table / table.sum(axis=1, keepdims=True))

    def readout(self, qubit: int, times: int = 1) -> Reals:
        """Return the probabilities of the values read (rows) from 0 and 1 (columns)."""
        matrix = once = self._device.readout_probabilities(qubit).T
        for _ in range(times - 1):
            matrix = (once[:, None, :] * matrix).reshape(-1, 2)
        return matrix

    def channel(
        self,
        instruction: CircuitInstruction,
        where: tuple[int, ...],
        columns: Mapping[Any, int],
        values: Reals,
    ) -> Reals:
        """Return the transfer matrix of an instruction, noise included.

        Parameter sets are of shape (sets, parameters); `columns` has the column of each parameter.

        Returns:
            Shape (d, d), or (sets, d, d) where the parameter sets differ.
        """
        name = instruction.name
        if name == "rz":
            matrix = rz(_angles(instruction.params[0], columns, values))
        elif name == "delay":
            return self._delay(instruction, where)
        elif instruction.params:
            matrix = from_unitary(unitary(instruction, columns, values))
        else:
            return self._constant(instruction, name, where)
        # As in Aer, a user's label on a gate takes the place of its name.
        error = self.error(instruction.label or name, where)
        return matrix if error is None else error @ matrix

    def _constant(
        self, instruction: CircuitInstruction, name: str, where: tuple[int, ...]
    ) -> Reals:
        label = instruction.label or name
        key = (name, label, where)
        matrix = self._constants.get(key)
        if matrix is None:
            matrix = RESET if name == "reset" else from_unitary(instruction.operation.to_matrix())
            error = self.error(label, where)
            matrix = matrix if error is None else error @ matrix
            if len(self._constants) > _MAX_CONSTANTS:
                self._constants.clear()
            self._constants[key] = matrix
        return matrix

    def _delay(self, instruction: CircuitInstruction, where: tuple[int, ...]) -> Reals:
        """Return the relaxation of a delay, the same as by Aer's `RelaxationNoisePass`."""
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
        self._constants[key] = self._errors.relaxation(where[0], duration_s).matrix
        return self._constants[key]


class _State:
    """The states of all parameter sets, and matrices to be applied later to single qubits."""

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


def unitary(
    instruction: CircuitInstruction, columns: Mapping[Any, int], values: Reals
) -> NDArray[np.complex128]:
    """Return the matrix of a gate, one per parameter set if they vary; else the identity."""
    if instruction.name in {"delay", "reset"}:
        return np.eye(2, dtype=complex)
    if not instruction.params:
        return np.asarray(instruction.operation.to_matrix())
    gate: Any = type(instruction.operation)
    angles = [_angles(param, columns, values) for param in instruction.params]
    if all(isinstance(angle, float) for angle in angles):
        return np.asarray(gate(*angles).to_matrix())
    rows = np.broadcast_arrays(*angles, np.zeros(len(values)))[:-1]
    return np.array([gate(*row).to_matrix() for row in zip(*rows, strict=True)])


def _angles(
    param: float | ParameterExpression, columns: Mapping[Any, int], values: Reals
) -> float | Reals:
    """Return the value of a gate's parameter: a number, or one per parameter set."""
    if isinstance(param, int | float):
        return float(param)
    if isinstance(param, Parameter):
        # NumPy rounds the cosine of a column in another way than that of an array of its own.
        return np.ascontiguousarray(values[:, columns[param]])
    parameters = list(param.parameters)
    if not parameters:
        return float(param)
    chosen = values[:, [columns[parameter] for parameter in parameters]]
    slopes = _slopes(param, parameters)
    if all(isinstance(slope, int | float) for slope in slopes):
        offset = float(param.bind(dict.fromkeys(parameters, 0.0)))
        # Not a product by BLAS, whose rounding of a row depends on the rows around it.
        terms = (column * slope for column, slope in zip(chosen.T, slopes, strict=True))
        return np.asarray(sum(terms, offset))
    return np.array(
        [float(param.bind(dict(zip(parameters, row, strict=True)))) for row in chosen.tolist()]
    )


def _slopes(param: ParameterExpression, parameters: Sequence[Parameter]) -> list[Any]:
    """Return the derivatives of an expression, None where Qiskit has none, as of `sign()`."""
    try:
        return [param.gradient(parameter) for parameter in parameters]
    except RuntimeError:
        return [None]


def kron(high: Reals, low: Reals) -> Reals:
    """Return the Kronecker product of transfer matrices, shape (..., 4, 4)."""
    product = high[..., :, None, :, None] * low[..., None, :, None, :]
    return product.reshape(*product.shape[:-4], 16, 16)


def rz(angles: float | Reals) -> Reals:
    """Return the transfer matrix of `rz`: (4, 4), or (sets, 4, 4) with one angle per set."""
    if isinstance(angles, float):
        cos, sin = math.cos(angles), math.sin(angles)
        return np.array([[1.0, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    matrix = np.zeros((len(angles), 4, 4))
    matrix[:, 0, 0] = matrix[:, 3, 3] = 1.0
    matrix[:, 1, 1] = matrix[:, 2, 2] = np.cos(angles)
    matrix[:, 2, 1] = np.sin(angles)
    matrix[:, 1, 2] = -matrix[:, 2, 1]
    return matrix


def from_unitary(unitary: NDArray[np.complex128]) -> Reals:
    """Return the transfer matrices of unitaries, shape (..., d, d), on one or two qubits."""
    dimension = unitary.shape[-1]
    basis = paulis(dimension)
    images = (
        unitary[..., None, :, :] @ basis @ np.conj(np.swapaxes(unitary, -1, -2))[..., None, :, :]
    )
    # R_ij = tr(P_i U P_j U^+) / d
    return np.asarray(np.einsum("iab,...jba->...ij", basis, images).real / dimension)


@cache
def from_pauli(label: str) -> Reals:
    """Return the diagonal matrix of a Pauli string: -1 for each Pauli that anticommutes with it."""
    signs = {"I": [1, 1, 1, 1], "X": [1, 1, -1, -1], "Y": [1, -1, 1, -1], "Z": [1, -1, -1, 1]}
    diagonal: Reals = np.ones(1)
    for letter in label:
        diagonal = np.outer(diagonal, signs[letter]).ravel()
    return np.diag(diagonal)


@cache
def paulis(dimension: int) -> NDArray[np.complex128]:
    """Return the Pauli operators on one or two qubits, the identity first."""
    single = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    if dimension == 2:
        return single
    return np.array([np.kron(high, low) for high in single for low in single])
