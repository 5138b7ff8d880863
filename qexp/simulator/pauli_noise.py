"""Errors of a device as mixtures of Paulis and resets, for the simulation of Clifford circuits.

The errors that Aer makes of a device's calibration, relaxation and depolarisation, are combinations

    E = sum_k w_k T_k,    sum_k w_k = 1,

of the 5**n channels T_k that are a Pauli (I, X, Y, Z) or a reset to |0> (R) on each of n qubits.
Their Pauli transfer matrices are linearly independent, so that the weights are unique. Where none
is negative, E is a mixture: T_k happens with probability w_k. That is so wherever T2 <= T1, and
mostly elsewhere, because depolarisation covers the negative weight that relaxation with T2 > T1
has at Z.

Otherwise the nearest mixture M sets the negative weights to 0 and takes their sum d from the
others. Then E - M is a difference of two channels times d, so that one such gate changes the
probability of any outcome by at most d, and a circuit by at most the sum over its gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CircuitInstruction

from qexp.simulator.density_matrix import RESET, DensityMatrix, Reals, from_pauli, kron

LETTERS = "IXYZR"
"""The channels on a qubit, by their number; R is a reset."""

RESET_LETTER = LETTERS.index("R")

_ROUNDING = 1e-11


@dataclass(frozen=True)
class Mixture:
    """A channel on one or two qubits as a mixture of Paulis and resets.

    Attributes:
        probabilities: Shape (5**n,). The number of an entry in base 5 has a digit for each qubit,
            that of the first one least significant: the place of its letter in `LETTERS`.
        deviation: Bound on the change of any probability by it, 0 where it is exact.
    """

    probabilities: NDArray[np.float64]
    deviation: float = 0.0


class PauliNoise:
    """The mixtures of a device's errors, each made once."""

    def __init__(self, channels: DensityMatrix) -> None:
        self._channels = channels
        self.of_gate = cache(self._of_gate)

    def _of_gate(self, name: str, qubits: tuple[int, ...]) -> Mixture | None:
        """Return the mixture of the error of an instruction; None where it has no error.

        Raises:
            ValueError: The error has no such form, not even approximately.
        """
        error = self._channels.error(name, qubits)
        return None if error is None else as_mixture(error)

    def of_delay(self, instruction: CircuitInstruction, qubit: int) -> Mixture:
        """Return the mixture of the relaxation during a delay."""
        return as_mixture(self._channels.channel(instruction, (qubit,), {}, np.empty((1, 0))))


def as_mixture(matrix: Reals) -> Mixture:
    """Return the mixture that is equal to a channel, or nearest to it.

    `matrix` is its Pauli transfer matrix, shape (4**n, 4**n) with n of 1 or 2.

    Raises:
        ValueError: It is no combination of Paulis and resets.
    """
    channels, inverse = _channels(len(matrix))
    # By einsum, because the rounding of BLAS depends on its number of threads.
    weights = np.einsum("kc,c->k", inverse, matrix.ravel())
    if np.abs(np.einsum("kc,k->c", channels, weights) - matrix.ravel()).max() > 1e-9:
        raise ValueError("it is no combination of Paulis and resets")
    weights[np.abs(weights) < _ROUNDING] = 0.0
    missing = -float(weights[weights < 0].sum())
    probabilities = np.maximum(weights, 0.0)
    # What is too much is taken from "no error", the rest of it (errors of 1) from all.
    probabilities[0] -= min(missing, probabilities[0])
    return Mixture(probabilities / probabilities.sum(), missing)


@cache
def _channels(size: int) -> tuple[Reals, Reals]:
    """Return the matrices of all channels as rows, and the inverse that gives weights."""
    single = [*map(from_pauli, LETTERS[:-1]), RESET]
    pairs = [kron(high, low) for high, low in product(single, single)]
    channels = np.array([matrix.ravel() for matrix in (single if size == 4 else pairs)])
    return channels, np.linalg.pinv(channels.T)


def reset_masks(num_qubits: int) -> NDArray[np.intp]:
    """Return the qubits that each entry of a mixture resets: bit k is for the k-th qubit."""
    is_reset = (np.arange(len(LETTERS)) == RESET_LETTER).astype(np.intp)
    return is_reset if num_qubits == 1 else (2 * is_reset[:, None] + is_reset).ravel()
