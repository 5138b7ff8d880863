"""Observables of Estimator PUBs: broadcasting, measurement bases, and values at outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.quantum_info import PauliList

Moments: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Means and variances of the terms of a basis, both of shape `(sets, terms)`."""

Group: TypeAlias = Callable[[frozenset[str]], tuple["Basis", ...]]
"""Function that groups terms into bases, such as `group_into_bases`."""

_PAULI_OF = str.maketrans("01+-rl", "ZZXXYY")


@dataclass(frozen=True)
class Basis:
    """A measurement basis, and the terms whose values it gives; qubit 0 comes first."""

    letters: str  # Pauli that is measured on each qubit: X, Y, Z, or I for none
    terms: tuple[str, ...]  # may have projectors onto `01+-rl`

    @property
    def measured(self) -> list[int]:
        """The qubits that are measured."""
        return [qubit for qubit, letter in enumerate(self.letters) if letter != "I"]


def shots_for(precision: float) -> int:
    """Return the shots that give a Pauli observable this standard error: `1/precision^2`."""
    return math.ceil(1.0 / precision**2)


def broadcast(pub: EstimatorPub) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair the parameter sets of a PUB with its observables.

    Returns:
        Flat index of the parameter set and flat index of the observable, for each position of
        the PUB's shape. Two arrays of that shape.
    """
    sets, observables = pub.parameter_values, pub.observables
    set_index, observable_index = np.broadcast_arrays(
        np.arange(sets.size).reshape(sets.shape),
        np.arange(observables.size).reshape(observables.shape),
    )
    return set_index, observable_index


@dataclass(frozen=True)
class Selections:
    """The observables that each parameter set of a PUB is paired with."""

    observables: NDArray[np.intp]  # flat indices, one row per distinct selection
    of_set: NDArray[np.intp]  # row of `observables` of each parameter set
    positions: NDArray[np.intp]  # flat, in the PUB's shape: (sets, observables per set)


def selections(pub: EstimatorPub) -> Selections:
    """Group the parameter sets of a PUB by the observables they are paired with."""
    set_index, observable_index = broadcast(pub)
    # Each set is paired with equally many observables: broadcasting repeats whole axes only.
    positions = np.argsort(set_index, axis=None, kind="stable")
    positions = positions.reshape(pub.parameter_values.size, -1)
    rows, of_set = np.unique(observable_index.ravel()[positions], axis=0, return_inverse=True)
    return Selections(rows, of_set.reshape(-1), positions)


def support(pub: EstimatorPub) -> set[int]:
    """Return the qubits on which an observable of the PUB acts."""
    return {
        qubit
        for observable in pub.observables.ravel().tolist()
        for label in observable
        for qubit, letter in enumerate(reversed(label))
        if letter != "I"
    }


def restricted_observables(pub: EstimatorPub, qubits: Sequence[int]) -> list[dict[str, float]]:
    """Return the PUB's observables in flat order, on some qubits: at least those they act on.

    Returns:
        Coefficients by term. Terms have a letter for each of `qubits`, in this order.
    """
    return [
        {
            "".join(label[-1 - qubit] for qubit in qubits): float(coefficient)
            for label, coefficient in observable.items()
        }
        for observable in pub.observables.ravel().tolist()
    ]


def group_into_bases(terms: frozenset[str]) -> tuple[Basis, ...]:
    """Group terms that commute qubit by qubit, into as few bases as Qiskit finds."""
    terms_of: dict[str, list[str]] = {}
    for term in sorted(terms):
        terms_of.setdefault(term.translate(_PAULI_OF), []).append(term)
    groups = group_paulis(sorted(terms_of))
    return tuple(
        Basis(
            "".join(max(letters) for letters in zip(*group.to_labels(), strict=True)),
            tuple(term for label in group.to_labels() for term in terms_of[label]),
        )
        for group in groups
    )


def group_paulis(terms: Iterable[str]) -> list[PauliList]:
    """Group the Paulis of terms, such that those of a group commute qubit by qubit.

    The number of groups may depend on the order.
    """
    from qiskit.quantum_info import PauliList

    paulis = dict.fromkeys(term.translate(_PAULI_OF) for term in terms)
    return PauliList(list(paulis)).group_commuting(qubit_wise=True)


def count_circuits(
    pub: EstimatorPub,
    group: Group = group_into_bases,
) -> int:
    """Return the number of circuits of a PUB: the bases of every parameter set.

    `group` groups terms into bases, perhaps with a cache.
    """
    terms = [frozenset(observable) for observable in pub.observables.ravel().tolist()]
    selected = selections(pub)
    bases = [
        len(group(frozenset().union(*(terms[index] for index in row))))
        for row in selected.observables.tolist()
    ]
    return sum(bases[row] for row in selected.of_set.tolist())


def all_outcomes(measured: Sequence[int], width: int) -> NDArray[np.uint8]:
    """Return the bits of every outcome of a measurement, 0 where nothing is measured.

    Args:
        measured: Places of the measured bits: the first is the least significant in the number of
            an outcome.
        width: Number of bits.

    Returns:
        Shape `(outcomes, width)`.
    """
    numbers = np.arange(1 << len(measured))
    bits = np.zeros((len(numbers), width), dtype=np.uint8)
    for rank, place in enumerate(measured):
        bits[:, place] = (numbers >> rank) & 1
    return bits


def moments(weights: NDArray[Any], bits: NDArray[np.uint8], basis: Basis) -> Moments:
    """Return means and variances of the terms of a basis over weighted outcomes.

    Weights, counts or probabilities, are of shape `(sets, outcomes)`, bits `(outcomes, qubits)`.
    """
    means, squares = np.empty((2, len(weights), len(basis.terms)))
    total = weights.sum(axis=1)
    for index, term in enumerate(basis.terms):
        values = _values(term, bits)
        # einsum, because the rounding of BLAS depends on its number of threads.
        means[:, index] = np.einsum("so,o->s", weights, values) / total
        squares[:, index] = np.einsum("so,o->s", weights, abs(values)) / total
    return means, np.maximum(squares - means**2, 0.0)


def _values(term: str, bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the value of a term at each outcome: 1 or -1, or 0 where a projector gives 0."""
    flipped = np.zeros(len(bits), dtype=np.uint8)
    kept = np.ones(len(bits), dtype=np.uint8)
    for qubit, letter in enumerate(term):
        if letter in "XYZ":
            flipped ^= bits[:, qubit]
        elif letter in "0+r":
            kept &= 1 - bits[:, qubit]
        elif letter != "I":
            kept &= bits[:, qubit]
    signs: NDArray[np.int8] = 1 - 2 * flipped.astype(np.int8)
    return signs * kept.astype(np.int8)
