"""Transfer matrices of a device's gate errors, from its error rates, durations, T1 and T2.

They equal, bit for bit, those of the errors that `NoiseModel.from_backend` makes of a target: a
depolarising error, then the relaxation of each qubit. Aer composes these as circuits, up to 144 for
a gate on two qubits. Here only the relaxation of one qubit is Aer's; the terms are composed as
arrays, and added in the same order, because data depend on how a sum is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Gate, Instruction, Measure
from qiskit.quantum_info import PTM, SuperOp
from qiskit_aer.noise import thermal_relaxation_error

from qexp.simulator.noise import NoisyDevice

_Channel: TypeAlias = tuple[NDArray[np.float64], NDArray[np.complex128]]

_MAX_RELAXATIONS = 20_000


@dataclass(frozen=True)
class _Mixture:
    """Channels on n qubits, one of which happens.

    Attributes:
        factors: What each leaves of the entries of a density matrix, shape (terms, columns, rows).
    """

    probabilities: NDArray[np.float64]  # shape (terms,)
    matrices: NDArray[np.float64]  # their transfer matrices, shape (terms, 4**n, 4**n)
    factors: NDArray[np.complex128]
    is_ideal: bool  # True if nothing happens

    def tensor(self, low: _Mixture) -> _Mixture:
        """Return the mixture of this one and of another one on less significant qubits."""
        matrices = self.matrices[:, None, :, None, :, None] * low.matrices[:, None, :, None, :]
        factors = self.factors[:, None, :, None, :, None] * low.factors[:, None, :, None, :]
        terms = len(self.factors) * len(low.factors)
        size = self.factors.shape[-1] * low.factors.shape[-1]
        return _Mixture(
            _products(self.probabilities, low.probabilities),
            matrices.reshape(terms, size**2, size**2),
            factors.reshape(terms, size, size),
            self.is_ideal and low.is_ideal,
        )

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """The transfer matrix of the channel."""
        return _weighted_sum(self.probabilities, self.matrices)

    @cached_property
    def fidelity(self) -> float:
        """The average gate fidelity."""
        size = self.factors.shape[-1]
        trace = _weighted_sum(self.probabilities, self.factors).ravel().sum()
        return (size * float(np.real(trace / size**2)) + 1) / (size + 1)


class GateErrors:
    """The transfer matrices of a device's gate errors."""

    def __init__(self, device: NoisyDevice) -> None:
        self._device = device
        self._relaxation = lru_cache(maxsize=_MAX_RELAXATIONS)(_relaxation)

    def matrix(self, name: str, qubits: tuple[int, ...]) -> NDArray[np.float64] | None:
        """Return the transfer matrix of an instruction's error on physical qubits; None: no error.

        Returns:
            Shape (4**n, 4**n) for n qubits, the first of which is the least significant.
        """
        target = self._device.target
        properties = (target[name] or {}).get(qubits) if name in target else None
        if properties is None or isinstance(target.operation_from_name(name), Measure):
            return None
        relaxation = None
        if properties.duration:
            each = [self.relaxation(qubit, properties.duration) for qubit in qubits]
            relaxation = reduce(lambda low, high: high.tensor(low), each)
        is_gate = isinstance(target.operation_from_name(name), Gate)
        fidelity = 1.0 if relaxation is None else relaxation.fidelity
        weights = _depolarisation(properties.error, fidelity, len(qubits)) if is_gate else None
        if weights is None:
            return None if relaxation is None or relaxation.is_ideal else relaxation.matrix
        signs = _pauli_signs(len(qubits))
        if relaxation is None:
            return np.diag(_weighted_sum(weights, signs))
        terms = signs[:, None, None, :] * relaxation.matrices
        weights = _products(weights, relaxation.probabilities)
        return _weighted_sum(weights, terms.reshape(-1, *terms.shape[2:]))

    def relaxation(self, qubit: int, duration_s: float) -> _Mixture:
        """Return the relaxation of a physical qubit."""
        return self._relaxation(*self._device.relaxation_times_s(qubit), duration_s)


def _relaxation(t1_s: float, t2_s: float, duration_s: float) -> _Mixture:
    error = thermal_relaxation_error(t1_s, t2_s, duration_s)
    operations = [item.operation for circuit in error.circuits for item in circuit.data]
    matrices, factors = zip(*map(_channel, operations), strict=True)
    is_one = len(operations) == 1 and len(operations[0].params) < 2
    return _Mixture(
        np.array(error.probabilities),
        np.array(matrices),
        np.array(factors),
        is_ideal=is_one and error.ideal(),
    )


def _channel(operation: Instruction) -> _Channel:
    """Return transfer matrix and factors of a channel on one qubit, see `_Mixture`."""
    if not operation.params:
        return _plain_channel(operation.base_class)
    channel = SuperOp(operation)
    return PTM(channel).data.real, channel.data.diagonal().reshape(2, 2)


@cache
def _plain_channel(kind: type[Instruction]) -> _Channel:
    channel = SuperOp(kind())
    return PTM(channel).data.real, channel.data.diagonal().reshape(2, 2)


def _depolarisation(
    error_rate: float | None, fidelity: float, num_qubits: int
) -> NDArray[np.float64] | None:
    """Return the probabilities of all Paulis that with relaxation give the rate of a gate's error.

    `error_rate` is 1 minus the average gate fidelity, with relaxation; `fidelity` is that of
    relaxation alone.

    Returns:
        Shape (4**n,), or None if relaxation is all.
    """
    if not error_rate or not error_rate > 1 - fidelity:
        return None
    size, terms = 2**num_qubits, 4**num_qubits
    largest = terms / (terms - 1)
    rest = min(error_rate, size / (size + 1)) - (1 - fidelity)
    param = min(size * rest / (size * fidelity - 1), largest)
    weights = np.full(terms, param / terms)
    weights[0] = 1 - param / largest
    return _normalised(weights)


@cache
def _pauli_signs(num_qubits: int) -> NDArray[np.float64]:
    """Return -1 where two Paulis anticommute, shape (4**n, 4**n), in the order II, IX, ..., ZZ."""
    one = np.array([[1.0, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
    return reduce(np.kron, [one] * num_qubits)


def _products(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    return _normalised(np.outer(first, second).ravel())


def _normalised(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return probabilities / sum(probabilities.tolist())


def _weighted_sum(weights: NDArray[np.float64], terms: NDArray[Any]) -> NDArray[Any]:
    """Return the sum over the first axis, rounded as when terms are added one after the other."""
    return np.add.reduce(weights.reshape(-1, *[1] * (terms.ndim - 1)) * terms, axis=0)
