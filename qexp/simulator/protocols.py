"""The interface of simulation methods: work that there is to do, and its simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from qexp.simulator.aer import Outcomes
from qexp.simulator.circuits import PlainCircuit
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import Basis, Moments

AerMethod: TypeAlias = Literal[
    "statevector",  # one state per shot
    "matrix_product_state",  # the same
    "automatic",  # Aer chooses
]


@dataclass(frozen=True, eq=False)
class Work:
    """A circuit to be sampled, or to be measured in some bases, for each parameter set."""

    circuit: QuantumCircuit
    plain: PlainCircuit | None  # None where it is none
    qubits: tuple[int, ...]  # the device's qubits that are simulated, ascending
    values: NDArray[np.float64]  # shape (sets, parameters)
    shots: int | None  # for each parameter set and basis; None: exact expectation values
    bases: float = 1.0  # bases per parameter set, on average
    is_estimated: bool = False  # measured in bases, rather than sampled

    @property
    def is_plainly_sampled(self) -> bool:
        """True if each qubit is done with its last gate, and then measured in Z, if at all."""
        return self.plain is not None and not self.is_estimated

    @property
    def columns(self) -> dict[Any, int]:
        """The column of `values` of each parameter."""
        return {parameter: index for index, parameter in enumerate(self.circuit.parameters)}


class Cost(NamedTuple):
    """Predicted cost on one core of an ordinary machine, the same on every machine."""

    seconds: float
    bytes: int  # the largest amount of memory at any time


class Prediction(NamedTuple):
    """Method of a PUB, and what it costs."""

    method: str  # "own" where a backend simulates itself
    cost: Cost | None  # None where it is unknown: with a simulator of the user's own
    on_aer: bool  # Aer or the backend itself may keep all other Python threads waiting
    approximation: Mapping[str, Any] = {}  # how its noise is approximated; empty where it is exact


class Measurement(Protocol):
    """A circuit with parameter sets that can be measured in any basis."""

    @property
    def chunk(self) -> int:
        """Number of parameter sets to prepare at a time."""

    def prepare(self, sets: NDArray[np.intp]) -> None:
        """Prepare the states of these parameter sets."""

    def measure(self, sets: NDArray[np.intp], bases: Sequence[Basis]) -> list[Moments]:
        """Return the moments of each basis for some of the prepared sets."""


class Simulation(Protocol):
    """Work as a method does it."""

    @property
    def cost(self) -> Cost:
        """The predicted cost of all of it."""

    def sample(
        self, generator: Callable[[int], np.random.Generator], sets: range
    ) -> Iterator[Outcomes]:
        """Yield the outcomes of some parameter sets, each drawn by the generator for its index."""

    def measurement(self, sequence: np.random.SeedSequence) -> Measurement:
        """Return the work as one that is measured; the sequence decides all samples."""


class Method(Protocol):
    """A method that simulates circuits on one noisy device, by its channels."""

    name: str

    def __init__(self, device: NoisyDevice, channels: DensityMatrix) -> None: ...

    def objection(self, work: Work) -> str | None:
        """Return why the method cannot do this, as a clause about the circuit, or None."""

    def simulation(self, work: Work) -> Simulation:
        """Return work without objection as the method does it."""
