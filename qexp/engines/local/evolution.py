"""Circuits that are measured in several bases, simulated in the cheapest way that is faithful."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qexp.core.seeds import as_int, child
from qexp.engines.local.observables import Basis, moments, outcomes
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit_aer import AerSimulator

    from qexp.engines.local.reduced import Reduced

Terms: TypeAlias = Mapping[str, NDArray[np.float64]]

_CHUNK_BYTES = 1 << 26
"""Size of the states that are held at a time."""

_BEFORE_Z = {
    "X": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
    "Y": np.array([[1, -1j], [1, 1j]]) / np.sqrt(2),
    "Z": np.eye(2),
    "I": np.eye(2),
}
"""What turns the measurement of a Pauli into that of Z."""


class Measured(Protocol):
    """A circuit with parameter sets that can be measured in any basis.

    Attributes:
        qubits: The backend's qubits that take part, ascending.
        chunk: How many parameter sets to take at a time.
    """

    qubits: tuple[int, ...]
    chunk: int

    def take(self, sets: NDArray[np.intp]) -> None:
        """Get ready to measure these parameter sets."""
        ...

    def moments(self, sets: NDArray[np.intp], bases: Sequence[Basis]) -> tuple[Terms, Terms]:
        """Mean and standard error of every term of the bases, for some sets of those taken."""
        ...
