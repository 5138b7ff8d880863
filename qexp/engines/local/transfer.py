"""Pauli transfer matrices: what gates and errors do to the Pauli expectation values of a state.

The matrix of a channel E on k qubits is R_ij = tr(P_i E(P_j)) / 2**k: real, of shape
(4**k, 4**k). As in Qiskit, the first qubit is the least significant one.

Reference: D. Greenbaum, "Introduction to Quantum Gate Set Tomography", arXiv:1509.02921, section 2.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Reals: TypeAlias = NDArray[np.float64]

RESET: Reals = np.array([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])


def kron(high: Reals, low: Reals) -> Reals:
    """Kronecker product of the last two axes; either may have an axis of parameter sets."""
    product = high[..., :, None, :, None] * low[..., None, :, None, :]
    return product.reshape(*product.shape[:-4], 16, 16)


def rz(angles: float | Reals) -> Reals:
    """Of `rz` by one angle, or by one for each parameter set: shape (4, 4) or (sets, 4, 4)."""
    if isinstance(angles, float):
        cos, sin = math.cos(angles), math.sin(angles)
        return np.array([[1.0, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    matrix = np.zeros((len(angles), 4, 4))
    matrix[:, 0, 0] = matrix[:, 3, 3] = 1.0
    matrix[:, 1, 1] = matrix[:, 2, 2] = np.cos(angles)
    matrix[:, 2, 1] = np.sin(angles)
    matrix[:, 1, 2] = -matrix[:, 2, 1]
    return matrix


def of_unitary(unitary: NDArray[np.complex128]) -> Reals:
    """Pauli transfer matrices of unitaries, shape (..., d, d)."""
    dimension = unitary.shape[-1]
    paulis = _paulis(dimension)
    images = (
        unitary[..., None, :, :] @ paulis @ np.conj(np.swapaxes(unitary, -1, -2))[..., None, :, :]
    )
    # R_ij = tr(P_i U P_j U^+) / d
    return np.asarray(np.einsum("iab,...jba->...ij", paulis, images).real / dimension)


def of_error(error: Any) -> Reals:
    """Of one of Aer's quantum errors: circuits, each with its probability.

    Qiskit composes the same from channel objects, which takes several times as long.
    """
    terms = zip(error.circuits, error.probabilities, strict=True)
    return np.asarray(sum(probability * _of_circuit(circuit) for circuit, probability in terms))


def _of_circuit(circuit: QuantumCircuit) -> Reals:
    """Of a circuit of channels, the identity where it is empty."""
    matrix = np.eye(4**circuit.num_qubits)
    everywhere = list(range(circuit.num_qubits))
    for instruction in circuit.data:
        where = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        each = _of_operation(instruction.operation)
        if len(where) == 1:
            # The axis of the qubit, between those of the more and of the less significant ones.
            axes = matrix.reshape(-1, 4, 4 ** where[0] * len(matrix))
            matrix = (each @ axes).reshape(matrix.shape)
        elif where == everywhere:
            matrix = each @ matrix
        else:
            return _by_qiskit(circuit)
    return matrix


_known: dict[tuple[str, str], Reals] = {}


def _of_operation(operation: Any) -> Reals:
    texts = all(isinstance(param, str) for param in operation.params)
    key = (operation.name, "".join(operation.params) if texts else "")
    if texts and key in _known:
        return _known[key]
    matrix = RESET if operation.name == "reset" else _by_qiskit(operation)
    if texts and operation.name in {"id", "x", "y", "z", "pauli", "reset"}:
        _known[key] = matrix
    return matrix


def _by_qiskit(channel: Any) -> Reals:
    from qiskit.quantum_info import PTM, SuperOp

    return np.asarray(PTM(SuperOp(channel)).data.real)


@cache
def _paulis(dimension: int) -> NDArray[np.complex128]:
    single = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    if dimension == 2:
        return single
    return np.array([np.kron(high, low) for high in single for low in single])
