"""Pauli transfer matrices: the effect of gates and errors on Pauli expectation values.

The matrix of a channel E on k qubits is R_ij = tr(P_i E(P_j)) / 2**k: real, of shape
(4**k, 4**k). As in Qiskit, the first qubit is the least significant one.

Reference: D. Greenbaum, "Introduction to Quantum Gate Set Tomography", arXiv:1509.02921, section 2.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import PTM, SuperOp

Reals: TypeAlias = NDArray[np.float64]

RESET: Reals = np.array([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])


def kron(high: Reals, low: Reals) -> Reals:
    """Return the Kronecker product of the last two axes; others are those of parameter sets."""
    product = high[..., :, None, :, None] * low[..., None, :, None, :]
    return product.reshape(*product.shape[:-4], 16, 16)


def rz(angles: float | Reals) -> Reals:
    """Return the matrix of `rz`, shape (4, 4), or (sets, 4, 4) for one angle per parameter set."""
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
    """Return the matrices of unitaries, shape (..., d, d), on one or two qubits."""
    dimension = unitary.shape[-1]
    paulis = _paulis(dimension)
    images = (
        unitary[..., None, :, :] @ paulis @ np.conj(np.swapaxes(unitary, -1, -2))[..., None, :, :]
    )
    # R_ij = tr(P_i U P_j U^+) / d
    return np.asarray(np.einsum("iab,...jba->...ij", paulis, images).real / dimension)


def from_quantum_error(error: Any) -> Reals:
    """Return the matrix of one of Aer's `QuantumError`s: circuits, each with its probability.

    Qiskit composes the same from channel objects, which takes several times as long.
    """
    terms = zip(error.circuits, error.probabilities, strict=True)
    return np.asarray(sum(probability * _from_circuit(circuit) for circuit, probability in terms))


def _from_circuit(circuit: QuantumCircuit) -> Reals:
    """Return the matrix of a circuit of channels."""
    matrix = np.eye(4**circuit.num_qubits)
    all_qubits = list(range(circuit.num_qubits))
    for instruction in circuit.data:
        where = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        channel = _from_operation(instruction.operation)
        if len(where) == 1:
            # The qubit's axis lies between those of the more and of the less significant qubits.
            axes = matrix.reshape(-1, 4, 4 ** where[0] * len(matrix))
            matrix = (channel @ axes).reshape(matrix.shape)
        elif where == all_qubits:
            matrix = channel @ matrix
        else:
            return _by_qiskit(circuit)
    return matrix


def _from_operation(operation: Any) -> Reals:
    if operation.name in {"id", "x", "y", "z"}:
        return _from_pauli(operation.name.replace("id", "i").upper())
    if operation.name == "pauli":
        return _from_pauli(operation.params[0])
    return RESET if operation.name == "reset" else _by_qiskit(operation)


@cache
def _from_pauli(label: str) -> Reals:
    """Return the diagonal matrix of a Pauli string: -1 for each Pauli that anticommutes with it."""
    signs = {"I": [1, 1, 1, 1], "X": [1, 1, -1, -1], "Y": [1, -1, 1, -1], "Z": [1, -1, -1, 1]}
    diagonal: Reals = np.ones(1)
    for letter in label:
        diagonal = np.outer(diagonal, signs[letter]).ravel()
    return np.diag(diagonal)


def _by_qiskit(channel: Any) -> Reals:
    return np.asarray(PTM(SuperOp(channel)).data.real)


@cache
def _paulis(dimension: int) -> NDArray[np.complex128]:
    single = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    if dimension == 2:
        return single
    return np.array([np.kron(high, low) for high in single for low in single])
