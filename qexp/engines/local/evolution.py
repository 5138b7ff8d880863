"""Circuits that are measured in several bases, simulated in the cheapest way that is faithful."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qexp.core.seeds import as_int, child
from qexp.engines.local.observables import Basis, moments, outcomes

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter
    from qiskit.result import Result
    from qiskit_aer.noise import NoiseModel

    from qexp.engines.local.exact import ExactDevice, Final

_CHUNK_BYTES = 1 << 26
"""Size of the states that are held at a time."""

_CHUNK_SETS = 256
"""Parameter sets at a time where the states are small: Aer's results are not."""

# Of what is measured shot by shot in one basis and one call.
_CHUNK_CIRCUITS = 32
_CHUNK_SHOTS = 500_000

# Aer seeds circuit k of a run with seed + 2113 k and, where it simulates shot by shot, shot j of
# that circuit with seed + 2113 k + j (src/controllers/controller_execute.hpp of Qiskit Aer).
_AER_SEED_STRIDE = 2113

TO_Z: Mapping[str, NDArray[Any]] = {
    "X": np.array([[1, 1], [1, -1]]) / math.sqrt(2),
    "Y": np.array([[1, -1j], [1, 1j]]) / math.sqrt(2),
    "Z": np.eye(2),
    "I": np.eye(2),
}
"""What turns a measurement of Z into one of the Pauli, on state vectors."""


class Device(Protocol):
    """What simulates circuits on some of a device's qubits."""

    def run(
        self, circuits: Sequence[QuantumCircuit], qubits: tuple[int, ...], **options: Any
    ) -> Result:
        """Run circuits in one call to Aer, with its options."""
        ...

    def noise_model(self, qubits: tuple[int, ...]) -> NoiseModel:
        """The noise of these qubits, renumbered from 0."""
        ...


class Measured(Protocol):
    """A circuit with parameter sets that can be measured in any basis."""

    @property
    def chunk(self) -> int:
        """How many parameter sets to take at a time."""
        ...

    def take(self, sets: NDArray[np.intp]) -> None:
        """Get ready to measure these parameter sets."""
        ...

    def measure(
        self, sets: NDArray[np.intp], bases: Sequence[Basis]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Means and variances of each basis' terms, for some sets of those taken.

        Returns:
            Two arrays of shape `(sets, terms)` per basis.
        """
        ...


class Evolved:
    """A circuit that is evolved once per parameter set, whatever is measured, and then sampled.

    Its state is exact: Pauli expectation values with noise, the state vector without. To rotate a
    qubit into a basis and to read it out, with the errors of both, acts on that qubit alone:
    together they are a measurement operator per qubit, which is contracted with the state. That
    gives the exact distribution of the outcomes, and shots drawn from it have the statistics of
    shots.

    Args:
        evolve: Gives the states of parameter sets, shape `(sets, d**n)`: axes of d from the last
            qubit to the first, where d is 2 (amplitudes) or 4 (I, X, Y, Z).
        readers: Of each qubit, what turns an axis of the states into one of outcomes, by Pauli.
        shots: Shots per basis and parameter set; None for the limit of infinitely many.
        sequence: Decides the samples of all parameter sets.
    """

    def __init__(
        self,
        evolve: Callable[[NDArray[np.intp]], NDArray[Any]],
        readers: Sequence[Mapping[str, NDArray[Any]]],
        shots: int | None,
        sequence: np.random.SeedSequence,
    ) -> None:
        self._evolve = evolve
        self._readers = readers
        self._pure = readers[0]["Z"].shape[1] == 2
        self._shots = shots
        self._sequence = sequence
        self._rows: dict[int, int] = {}
        self._states: NDArray[Any] = np.empty((0, 0))
        self._generators: list[np.random.Generator] = []

    @property
    def chunk(self) -> int:
        """As many as fit the memory that is set aside for states."""
        size: int = 16 * 2 ** len(self._readers) if self._pure else 8 * 4 ** len(self._readers)
        return max(1, min(_CHUNK_SETS, _CHUNK_BYTES // size))

    def take(self, sets: NDArray[np.intp]) -> None:
        """Evolve the circuit with these parameter sets."""
        self._rows = {number: row for row, number in enumerate(sets.tolist())}
        self._states = self._evolve(sets)
        self._generators = [
            np.random.default_rng(child(self._sequence, number)) for number in sets.tolist()
        ]

    def measure(
        self, sets: NDArray[np.intp], bases: Sequence[Basis]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Draw shots from the exact distribution in each basis, or use it as it is."""
        rows = [self._rows[number] for number in sets.tolist()]
        states = self._states[rows]
        found = []
        for basis in bases:
            weights: NDArray[Any] = self._distribution(states, basis.letters)
            if self._shots is not None:
                weights = np.array(
                    [
                        self._generators[row].multinomial(self._shots, chances)
                        for row, chances in zip(rows, weights, strict=True)
                    ]
                )
            found.append(moments(weights, outcomes(basis), basis))
        return found

    def _distribution(self, states: NDArray[Any], letters: str) -> NDArray[np.float64]:
        """Probabilities of shape `(sets, outcomes)`, the first measured qubit least significant."""
        count = len(states)
        for qubit in reversed(range(len(letters))):
            reader = self._readers[qubit][letters[qubit]]
            states = states.reshape(count, reader.shape[1], -1)
            # Takes the leading axis off and puts the outcomes behind the others. Not by BLAS,
            # whose rounding depends on its number of threads.
            states = np.einsum("od,sdr->sro", reader, states).reshape(count, -1)
        if self._pure:
            idle = tuple(1 + axis for axis, letter in enumerate(reversed(letters)) if letter == "I")
            chances = (np.abs(states) ** 2).reshape(count, *(2,) * len(letters)).sum(axis=idle)
            chances = chances.reshape(count, -1)
        else:
            chances = np.maximum(states, 0.0)
        normal: NDArray[np.float64] = chances / chances.sum(axis=1, keepdims=True)
        return normal


def state_vectors(
    circuit: QuantumCircuit, values: Mapping[Parameter, NDArray[np.float64]], device: Device
) -> Callable[[NDArray[np.intp]], NDArray[np.complex128]]:
    """What evolves a circuit without noise, all parameter sets in one call to Aer.

    Args:
        circuit: The circuit, of nothing but gates.
        values: Values of its parameters, each of shape `(sets,)`.
        device: Simulates it.
    """
    import qiskit_aer  # noqa: F401 - gives circuits their save instructions

    saved = circuit.copy()
    # It changes nothing that is measured, but it is one more expression to bind.
    saved.global_phase = 0
    needed = of_parameters(saved, values)
    saved.save_statevector(label="state")

    def evolve(sets: NDArray[np.intp]) -> NDArray[np.complex128]:
        result = device.run(
            [saved],
            tuple(range(saved.num_qubits)),
            method="statevector",
            shots=1,
            parameter_binds=[{name: column[sets].tolist() for name, column in needed.items()}],
            max_parallel_threads=1,
        )
        states = np.array([np.asarray(one.data.state) for one in result.results])
        # Without parameters there is one state for all.
        return np.broadcast_to(states, (len(sets), states.shape[1]))

    return evolve


def pauli_states(
    final: Final, values: NDArray[np.float64], device: ExactDevice
) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
    """What evolves a circuit with noise.

    Args:
        final: The circuit.
        values: Parameter sets, shape `(sets, parameters)`.
        device: Simulates it.
    """

    def evolve(sets: NDArray[np.intp]) -> NDArray[np.float64]:
        states = device.paulis(final, values[sets])
        axes = range(len(final.qubits), 0, -1)
        return states.transpose(0, *axes).reshape(len(sets), -1)

    return evolve


class Readers:
    """Measurement operators of the qubits of a noisy device, made once for each qubit.

    An operator has a row per outcome: its product with a qubit's expectation values (I, X, Y, Z)
    is the probability of the outcome. "I" stands for not looking.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[int, dict[str, NDArray[Any]]] = {}

    def of(self, qubit: int) -> Mapping[str, NDArray[Any]]:
        """The operators of one of the device's qubits, by Pauli."""
        if qubit not in self._known:
            self._known[qubit] = self._learn(qubit)
        return self._known[qubit]

    def _learn(self, qubit: int) -> dict[str, NDArray[Any]]:
        from qiskit.quantum_info import PTM, SuperOp

        model = self._device.noise_model((qubit,))
        circuits = [rotation(letter, model.basis_gates) for letter in "XY"]
        for circuit in circuits:
            circuit.save_superop(label="channel")
        result = self._device.run(
            circuits, (qubit,), method="superop", shots=1, max_parallel_threads=1
        )
        channels = {"Z": SuperOp(np.eye(4))} | {
            letter: SuperOp(np.asarray(one.data.channel))
            for letter, one in zip("XY", result.results, strict=True)
        }
        # The probabilities of 0 and 1 are (I + Z) / 2 and (I - Z) / 2.
        read = readout(model).T @ np.array([[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]])
        return {"I": np.array([[1.0, 0, 0, 0]])} | {
            letter: read @ PTM(channel).data.real for letter, channel in channels.items()
        }


class Sampled:
    """A circuit that is measured shot by shot in each basis: any circuit, of any width.

    Args:
        circuit: The circuit on the qubits that take part.
        values: Values of its parameters (and perhaps of others), each of shape `(sets,)`.
        qubits: The qubits that take part.
        device: Simulates them.
        options: Further options of Aer.
        basis_gates: What it can do to rotate a qubit; None: anything.
        shots: Shots per basis and parameter set.
        sequence: Decides the samples of all parameter sets.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        values: Mapping[Parameter, NDArray[np.float64]],
        qubits: tuple[int, ...],
        device: Device,
        options: Mapping[str, Any],
        basis_gates: Sequence[str] | None,
        shots: int,
        sequence: np.random.SeedSequence,
    ) -> None:
        self._circuit = circuit
        self._values = of_parameters(circuit, values)
        self._qubits = qubits
        self._device = device
        self._options = options
        self._rotations = {letter: rotation(letter, basis_gates) for letter in "XYZ"}
        self._shots = shots
        self._sequence = sequence

    @property
    def chunk(self) -> int:
        """As many as keep the counts of one call small."""
        return max(1, min(_CHUNK_CIRCUITS, _CHUNK_SHOTS // self._shots))

    def take(self, sets: NDArray[np.intp]) -> None:
        """Nothing: every basis is another circuit."""

    def measure(
        self, sets: NDArray[np.intp], bases: Sequence[Basis]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Measure all parameter sets in all bases in one call."""
        measured = [basis for basis in bases if set(basis.letters) != {"I"}]
        circuits = [
            self._in_basis(bound, basis)
            for bound in map(self._bound, sets.tolist())
            for basis in measured
        ]
        counts = iter(self._counts(circuits, as_int(child(self._sequence, int(sets[0])))))
        found = [np.empty((2, len(sets), len(basis.terms))) for basis in bases]
        for row in range(len(sets)):
            for basis, moment in zip(bases, found, strict=True):
                seen = next(counts) if basis in measured else {"0x0": self._shots}
                weights, bits = self._outcomes(seen, basis)
                moment[:, row : row + 1] = moments(weights, bits, basis)
        return [(means, variances) for means, variances in found]

    def _bound(self, number: int) -> QuantumCircuit:
        values = {parameter: column[number] for parameter, column in self._values.items()}
        return self._circuit.assign_parameters(values)

    def _in_basis(self, bound: QuantumCircuit, basis: Basis) -> QuantumCircuit:
        from qiskit.circuit import Clbit

        circuit = bound.copy()
        for qubit, letter in enumerate(basis.letters):
            if letter != "I":
                bit = Clbit()
                circuit.add_bits([bit])
                circuit.compose(self._rotations[letter], [qubit], inplace=True)
                circuit.measure(qubit, bit)
        return circuit

    def _counts(self, circuits: Sequence[QuantumCircuit], seed: int) -> list[dict[str, int]]:
        from qiskit import QuantumCircuit

        if not circuits:
            return []
        # Empty circuits between them keep the seeds of the shots of two circuits apart.
        spacing = [QuantumCircuit(1)] * ((self._shots - 1) // _AER_SEED_STRIDE)
        result = self._device.run(
            [circuit for real in circuits for circuit in (real, *spacing)],
            self._qubits,
            shots=self._shots,
            seed_simulator=seed,
            **self._options,
        )
        return [one.data.counts for one in result.results[:: 1 + len(spacing)]]

    def _outcomes(
        self, counts: Mapping[str, int], basis: Basis
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Numbers of shots `(1, outcomes)` and bits `(outcomes, qubits)`."""
        qubits = [qubit for qubit, letter in enumerate(basis.letters) if letter != "I"]
        # The circuit's own classical bits come first.
        ours = [int(key, 16) >> self._circuit.num_clbits for key in counts]
        num_bytes = -(-len(qubits) // 8) or 1
        packed = b"".join(outcome.to_bytes(num_bytes, "little") for outcome in ours)
        table = np.frombuffer(packed, dtype=np.uint8).reshape(len(ours), num_bytes)
        bits = np.zeros((len(ours), len(basis.letters)), dtype=np.uint8)
        bits[:, qubits] = np.unpackbits(table, axis=1, bitorder="little")[:, : len(qubits)]
        return np.array([list(counts.values())]), bits


def of_parameters(
    circuit: QuantumCircuit, values: Mapping[Parameter, NDArray[np.float64]]
) -> dict[Parameter, NDArray[np.float64]]:
    """The values of a circuit's parameters, of those that are given."""
    return {parameter: values[parameter] for parameter in circuit.parameters}


def rotation(letter: str, basis_gates: Sequence[str] | None) -> QuantumCircuit:
    """The circuit on one qubit that turns a measurement of Z into one of a Pauli.

    Args:
        letter: X, Y or Z.
        basis_gates: The gates to make it of; None: any.
    """
    from qiskit import QuantumCircuit
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import Optimize1qGatesDecomposition

    circuit = QuantumCircuit(1)
    if letter == "Y":
        circuit.sdg(0)
    if letter != "Z":
        circuit.h(0)
    if basis_gates is None:
        return circuit
    return PassManager([Optimize1qGatesDecomposition(basis=list(basis_gates))]).run(circuit)


def readout(model: NoiseModel) -> NDArray[np.float64]:
    """Probabilities `[prepared, read]` of the only qubit of a noise model."""
    for error in model.to_dict()["errors"]:
        if error["type"] == "roerror":
            return np.array(error["probabilities"], dtype=np.float64)
    return np.eye(2)
