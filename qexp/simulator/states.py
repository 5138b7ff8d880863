"""Measurement of evolved states: one evolution per parameter set, any number of bases and shots.

The state is exact: Pauli expectation values with noise, amplitudes without. Rotating a qubit into a
basis and reading it, with the errors of both, acts on that qubit alone: together they are one
measurement operator per qubit, which is contracted with the state. That gives the exact
distribution of the outcomes, and shots drawn from it have the statistics of shots.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import qiskit_aer  # noqa: F401 - gives circuits their save instructions
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import PTM, SuperOp
from qiskit.transpiler import PassManager
from qiskit.transpiler.passes import Optimize1qGatesDecomposition

from qexp.simulator.aer import child
from qexp.simulator.circuits import PlainCircuit
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.devices import Device
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import Basis, Moments, all_outcomes, moments

Operators: TypeAlias = Mapping[str, NDArray[Any]]
"""Matrices that turn a qubit's axis of the states into one of outcomes, by the measured Pauli."""

Evolve: TypeAlias = Callable[[NDArray[np.intp]], NDArray[Any]]
"""Function that returns the states of some parameter sets, shape `(sets, d**n)`: axes of d from
the last qubit to the first, where d is 2 (amplitudes) or 4 (I, X, Y, Z)."""

_CHUNK_BYTES = 1 << 26
"""Size of the states that are kept at a time."""

_CHUNK_SETS = 256
"""Parameter sets at a time where states are small, because Aer's result objects are not."""

PURE: Operators = {
    "X": np.array([[1, 1], [1, -1]]) / math.sqrt(2),
    "Y": np.array([[1, -1j], [1, 1j]]) / math.sqrt(2),
    "Z": np.eye(2),
    "I": np.eye(2),
}
"""The operators of a qubit without noise, on amplitudes."""


class EvolvedStates:
    """A circuit that is evolved once per parameter set and then measured in any basis.

    Args:
        evolve: Evolves the circuit.
        operators: Measurement operators of each qubit.
        shots: Shots per basis and parameter set; None for the limit of infinitely many.
        sequence: Decides the samples of all parameter sets.
    """

    def __init__(
        self,
        evolve: Evolve,
        operators: Sequence[Operators],
        shots: int | None,
        sequence: np.random.SeedSequence,
    ) -> None:
        self._evolve = evolve
        self._operators = operators
        self._is_pure = operators[0]["Z"].shape[1] == 2
        self._shots = shots
        self._sequence = sequence
        self._rows: dict[int, int] = {}
        self._states: NDArray[Any] = np.empty((0, 0))
        self._generators: list[np.random.Generator] = []

    @property
    def chunk(self) -> int:
        """Number of parameter sets whose states fit the memory for them."""
        width = len(self._operators)
        size: int = 16 * 2**width if self._is_pure else 8 * 4**width
        return max(1, min(_CHUNK_SETS, _CHUNK_BYTES // size))

    def prepare(self, sets: NDArray[np.intp]) -> None:
        """Evolve the circuit with these parameter sets."""
        self._rows = {number: row for row, number in enumerate(sets.tolist())}
        self._states = self._evolve(sets)
        self._generators = [
            np.random.default_rng(child(self._sequence, number)) for number in sets.tolist()
        ]

    def measure(self, sets: NDArray[np.intp], bases: Sequence[Basis]) -> list[Moments]:
        """Sample the exact distribution in each basis, or use the distribution itself."""
        rows = [self._rows[number] for number in sets.tolist()]
        states = self._states[rows]
        found = []
        for basis in bases:
            weights: NDArray[Any] = self._distribution(states, basis.letters)
            if self._shots is not None:
                weights = np.array(
                    [
                        self._generators[row].multinomial(self._shots, probabilities)
                        for row, probabilities in zip(rows, weights, strict=True)
                    ]
                )
            bits = all_outcomes(basis.measured, len(basis.letters))
            found.append(moments(weights, bits, basis))
        return found

    def _distribution(self, states: NDArray[Any], letters: str) -> NDArray[np.float64]:
        """Return probabilities `(sets, outcomes)`, the first measured qubit least significant."""
        count = len(states)
        for qubit in reversed(range(len(letters))):
            operator = self._operators[qubit][letters[qubit]]
            states = states.reshape(count, operator.shape[1], -1)
            # Takes the leading axis off and puts the outcomes behind the others. By einsum,
            # because the rounding of BLAS depends on its number of threads.
            states = np.einsum("od,sdr->sro", operator, states).reshape(count, -1)
        if self._is_pure:
            idle = tuple(1 + axis for axis, letter in enumerate(reversed(letters)) if letter == "I")
            weights = (np.abs(states) ** 2).reshape(count, *(2,) * len(letters)).sum(axis=idle)
            weights = weights.reshape(count, -1)
        else:
            weights = np.maximum(states, 0.0)
        return weights / weights.sum(axis=1, keepdims=True)


def evolve_pure(
    circuit: QuantumCircuit, values: Mapping[Parameter, NDArray[np.float64]], device: Device
) -> Evolve:
    """Return the evolution of a circuit without noise, all parameter sets in one call to Aer.

    The circuit has gates only; values of its parameters are each of shape `(sets,)`.
    """
    saved = circuit.copy()
    # It changes no measurement, but would be one more expression to bind.
    saved.global_phase = 0
    needed = {parameter: values[parameter] for parameter in saved.parameters}
    saved.save_statevector(label="state")

    def evolve(sets: NDArray[np.intp]) -> NDArray[np.complex128]:
        result = device.run(
            [saved],
            qubits=(),
            method="statevector",
            shots=1,
            parameter_binds=[{name: column[sets].tolist() for name, column in needed.items()}],
            max_parallel_threads=1,
        )
        states = np.array([np.asarray(one.data.state) for one in result.results])
        # Without parameters there is one state for all.
        return np.broadcast_to(states, (len(sets), states.shape[1]))

    return evolve


def evolve_noisy(
    plain: PlainCircuit, values: NDArray[np.float64], density_matrix: DensityMatrix
) -> Evolve:
    """Return the evolution of a circuit with noise; `values` has shape `(sets, parameters)`."""

    def evolve(sets: NDArray[np.intp]) -> NDArray[np.float64]:
        states = density_matrix.paulis(plain, values[sets])
        axes = range(len(plain.qubits), 0, -1)
        return states.transpose(0, *axes).reshape(len(sets), -1)

    return evolve


def noisy_operators(device: NoisyDevice, qubit: int) -> Operators:
    """Return the measurement operators of one of a noisy device's qubits.

    An operator has a row per outcome: its product with the qubit's expectation values (I, X, Y, Z)
    is the probability of the outcome. The operator of I has the only outcome "not measured".
    """
    model = device.noise_model((qubit,))
    circuits = [rotation(letter, model.basis_gates) for letter in "XY"]
    for circuit in circuits:
        circuit.save_superop(label="channel")
    result = device.run(circuits, qubits=(qubit,), method="superop", shots=1)
    channels = {"Z": SuperOp(np.eye(4))} | {
        letter: SuperOp(np.asarray(one.data.channel))
        for letter, one in zip("XY", result.results, strict=True)
    }
    # The probabilities of 0 and 1 are (I + Z) / 2 and (I - Z) / 2.
    read = device.readout_probabilities(qubit).T @ np.array([[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]])
    return {"I": np.array([[1.0, 0, 0, 0]])} | {
        letter: read @ PTM(channel).data.real for letter, channel in channels.items()
    }


def rotation(letter: str, basis_gates: Sequence[str] | None) -> QuantumCircuit:
    """Return the circuit, of some gates or any, that turns a measurement of Z into a Pauli's."""
    circuit = QuantumCircuit(1)
    if letter == "Y":
        circuit.sdg(0)
    if letter != "Z":
        circuit.h(0)
    if basis_gates is None:
        return circuit
    return PassManager([Optimize1qGatesDecomposition(basis=list(basis_gates))]).run(circuit)
