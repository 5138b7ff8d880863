"""What an Estimator PUB asks to be measured, and what the outcomes say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

_MEASURED = str.maketrans("01+-rl", "ZZXXYY")


@dataclass(frozen=True)
class Basis:
    """One way to measure every qubit, and the terms that it gives.

    Attributes:
        letters: What is measured of each qubit, qubit 0 first: X, Y, Z, or I for nothing.
        terms: The terms, written likewise; projectors onto `01+-rl` may be among them.
    """

    letters: str
    terms: tuple[str, ...]


def support(pub: EstimatorPub) -> set[int]:
    """The qubits on which an observable of the PUB acts."""
    return {
        qubit
        for observable in pub.observables.ravel().tolist()
        for label in observable
        for qubit, letter in enumerate(reversed(label))
        if letter != "I"
    }


def restricted(pub: EstimatorPub, qubits: Sequence[int]) -> list[dict[str, float]]:
    """The PUB's observables in flat order, on the qubits where they act.

    Args:
        pub: The PUB.
        qubits: These qubits, and perhaps others.

    Returns:
        The coefficients of each observable's terms; terms have a letter for each of `qubits`.
    """
    return [
        {
            "".join(label[-1 - qubit] for qubit in qubits): float(coefficient)
            for label, coefficient in observable.items()
        }
        for observable in pub.observables.ravel().tolist()
    ]


def pairs(pub: EstimatorPub) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which observables each parameter set meets under broadcasting, and where that value goes.

    Returns:
        Flat indices of observables, and flat indices into the PUB's shape; both of shape
        `(parameter sets, observables that each meets)`.
    """
    sets, observables = pub.parameter_values, pub.observables
    which_set, which_observable = np.broadcast_arrays(
        np.arange(sets.size).reshape(sets.shape),
        np.arange(observables.size).reshape(observables.shape),
    )
    # Every set meets equally many, because only whole axes are repeated.
    places = np.argsort(which_set, axis=None, kind="stable").reshape(sets.size, -1)
    return which_observable.ravel()[places], places


@lru_cache(maxsize=256)
def bases(terms: frozenset[str]) -> tuple[Basis, ...]:
    """As few bases as Qiskit finds that give all terms, which commute qubit by qubit in each."""
    from qiskit.quantum_info import PauliList

    measured: dict[str, list[str]] = {}
    for term in sorted(terms):
        measured.setdefault(term.translate(_MEASURED), []).append(term)
    groups = PauliList(sorted(measured)).group_commuting(qubit_wise=True)
    return tuple(
        Basis(
            "".join(max(letters) for letters in zip(*group.to_labels(), strict=True)),
            tuple(term for label in group.to_labels() for term in measured[label]),
        )
        for group in groups
    )


def outcomes(basis: Basis) -> NDArray[np.uint8]:
    """All outcomes of a basis: bits of shape `(outcomes, qubits)`, 0 where nothing is measured.

    The qubit that is measured first is the least significant one in the order of the outcomes.
    """
    measured = [qubit for qubit, letter in enumerate(basis.letters) if letter != "I"]
    bits = np.zeros((1 << len(measured), len(basis.letters)), dtype=np.uint8)
    for rank, qubit in enumerate(measured):
        bits[:, qubit] = (np.arange(len(bits)) >> rank) & 1
    return bits


def moments(
    weights: NDArray[Any], bits: NDArray[np.uint8], basis: Basis
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and variances of the terms of a basis over weighted outcomes.

    Args:
        weights: How often each outcome was seen, or its probability; shape `(sets, outcomes)`.
        bits: The outcomes, shape `(outcomes, qubits)`.
        basis: The basis that was measured.

    Returns:
        Two arrays of shape `(sets, terms)`.
    """
    means, squares = np.empty((2, len(weights), len(basis.terms)))
    total = weights.sum(axis=1)
    for index, term in enumerate(basis.terms):
        values = _values(term, bits)
        # Not by BLAS, whose rounding depends on its number of threads.
        means[:, index] = np.einsum("so,o->s", weights, values) / total
        squares[:, index] = np.einsum("so,o->s", weights, abs(values)) / total
    return means, np.maximum(squares - means**2, 0.0)


def _values(term: str, bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The value of a term at each outcome: 1 or -1, or 0 where a projector says so."""
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
