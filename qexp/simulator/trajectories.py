"""Measurement of circuits shot by shot, in each basis anew: any circuit, of any width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Clbit, Parameter

from qexp.simulator.aer import Outcomes, as_int, child, sample_circuits
from qexp.simulator.devices import Device
from qexp.simulator.methods import Choice
from qexp.simulator.observables import Basis, Moments, moments
from qexp.simulator.states import rotation

_CHUNK_CIRCUITS = 32
_CHUNK_SHOTS = 500_000
"""Size of one call to Aer."""


class SampledCircuits:
    """A circuit that Aer runs for every shot, with rotations and measurements at its end.

    Args:
        choice: The circuit on the qubits that are simulated, and Aer's method.
        values: Values of its parameters (and perhaps of others), each of shape `(sets,)`.
        device: Simulates it.
        shots: Shots per basis and parameter set.
        sequence: Decides the samples of all parameter sets.
    """

    def __init__(
        self,
        choice: Choice,
        values: Mapping[Parameter, NDArray[np.float64]],
        device: Device,
        shots: int,
        sequence: np.random.SeedSequence,
    ) -> None:
        self._circuit, qubits = choice.active.circuit, choice.active.qubits
        self._values = {parameter: values[parameter] for parameter in self._circuit.parameters}
        self._run = partial(device.run, qubits=qubits, **choice.aer_options)
        model = device.noise_model(qubits)
        basis_gates = None if model.is_ideal() else model.basis_gates
        self._rotations = {letter: rotation(letter, basis_gates) for letter in "XYZ"}
        self._shots = shots
        self._sequence = sequence

    @property
    def chunk(self) -> int:
        """Number of parameter sets for which one call has few circuits and shots."""
        return max(1, min(_CHUNK_CIRCUITS, _CHUNK_SHOTS // self._shots))

    def prepare(self, sets: NDArray[np.intp]) -> None:
        """Do nothing: each basis is another circuit."""

    def measure(self, sets: NDArray[np.intp], bases: Sequence[Basis]) -> list[Moments]:
        """Measure all parameter sets in all bases in one call."""
        measured = [basis for basis in bases if basis.measured]
        circuits = [
            self._measured_in(basis, bound)
            for bound in map(self._bind, sets.tolist())
            for basis in measured
        ]
        seed = as_int(child(self._sequence, int(sets[0])))
        outcomes = iter(sample_circuits(self._run, circuits, shots=self._shots, seed=seed))
        found = [np.empty((2, len(sets), len(basis.terms))) for basis in bases]
        for row in range(len(sets)):
            for basis, moment in zip(bases, found, strict=True):
                weights, bits = self._outcomes(basis, outcomes)
                moment[:, row : row + 1] = moments(weights, bits, basis)
        return [(means, variances) for means, variances in found]

    def _outcomes(
        self, basis: Basis, outcomes: Iterator[Outcomes]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return counts `(1, outcomes)` and bits `(outcomes, qubits)` of the next circuit."""
        if not basis.measured:
            return np.array([[self._shots]]), np.zeros((1, len(basis.letters)), dtype=np.uint8)
        seen = next(outcomes)
        bits = np.zeros((len(seen.bits), len(basis.letters)), dtype=np.uint8)
        # The circuit's own classical bits come first.
        bits[:, basis.measured] = seen.bits[:, self._circuit.num_clbits :]
        return seen.counts[None], bits

    def _bind(self, index: int) -> QuantumCircuit:
        values = {parameter: column[index] for parameter, column in self._values.items()}
        return self._circuit.assign_parameters(values)

    def _measured_in(self, basis: Basis, bound: QuantumCircuit) -> QuantumCircuit:
        circuit = bound.copy()
        for qubit in basis.measured:
            bit = Clbit()
            circuit.add_bits([bit])
            circuit.compose(self._rotations[basis.letters[qubit]], [qubit], inplace=True)
            circuit.measure(qubit, bit)
        return circuit
