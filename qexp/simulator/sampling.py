"""Shots of Sampler PUBs, as packed bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.simulator.aer import GivenSimulator, Outcomes, max_circuits, num_seeds, sample_circuits
from qexp.simulator.density_matrix import DensityMatrix, PlainCircuit
from qexp.simulator.methods import Choice, Method, choose_for_sampling
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.seeds import as_int, child

Bytes: TypeAlias = NDArray[np.uint8]

_NUM_SEEDS = 2**31

# Size of one call to Aer: bounds the memory for its circuits and counts.
_MAX_CIRCUITS = 200
_MAX_SHOTS = 500_000


class Sampling:
    """Samples PUBs on a device.

    Args:
        device: A noisy device, or an Aer simulator that is used as it is.
    """

    def __init__(self, device: NoisyDevice | GivenSimulator) -> None:
        self._device = device
        self._density_matrix = DensityMatrix(device) if isinstance(device, NoisyDevice) else None

    def run(self, pubs: Sequence[SamplerPub], seed: int) -> PrimitiveResult[SamplerPubResult]:
        """Sample PUBs.

        Shots are drawn one by one, or as counts that are put in a random order. Both have the same
        distribution, because the shots of one circuit are exchangeable.

        Args:
            pubs: PUBs with shots.
            seed: Decides every bit. PUBs and parameter sets have streams of their own.

        Returns:
            Data and metadata as `BackendSamplerV2` returns them.

        Raises:
            SimulationError: Aer reports a failure.
        """
        sequence = np.random.SeedSequence(seed)
        shots = [_Shots(pub, child(sequence, index)) for index, pub in enumerate(pubs)]
        on_aer: list[tuple[_Shots, Choice]] = []
        for one in shots:
            choice = choose_for_sampling(one.pub, self._device)
            if choice.plain is None:
                on_aer.append((one, choice))
            else:
                self._sample_state(one, choice.plain)
        self._sample_on_aer(on_aer, as_int(child(sequence, len(pubs))))
        return PrimitiveResult([one.result() for one in shots], metadata={"version": 2})

    def _sample_state(self, shots: _Shots, plain: PlainCircuit) -> None:
        """Draw the counts of every parameter set from the exact distribution."""
        assert self._density_matrix is not None
        index_of = {clbit: index for index, clbit in enumerate(shots.pub.circuit.clbits)}
        bits = _all_outcomes([index_of[bit] for bit in plain.bits], len(index_of))
        for first, table in self._density_matrix.probabilities(plain, shots.values):
            for index, probabilities in enumerate(table, start=first):
                counts = shots.rng.multinomial(shots.pub.shots, probabilities)
                seen = np.flatnonzero(counts)
                shots.add(index, Outcomes(bits[seen], counts[seen]))

    def _sample_on_aer(self, pubs: Sequence[tuple[_Shots, Choice]], seed: int) -> None:
        for call in _calls(pubs):
            outcomes = sample_circuits(
                self._device,
                [shots.bind(circuit, index) for shots, circuit, index in call.targets],
                call.qubits,
                shots=call.shots,
                seed=seed % _NUM_SEEDS,
                **({} if call.method == "given" else {"method": call.method}),
            )
            for (shots, _, index), one in zip(call.targets, outcomes, strict=True):
                shots.add(index, one)
            # The calls of a job share no random numbers.
            seed += num_seeds(call.shots, len(call.targets))


@dataclass(frozen=True)
class _Call:
    """One call to Aer: PUBs, their restricted circuits and the index of a parameter set each."""

    qubits: tuple[int, ...]
    method: Method
    shots: int
    targets: Sequence[tuple[_Shots, QuantumCircuit, int]]


def _calls(pubs: Sequence[tuple[_Shots, Choice]]) -> Iterator[_Call]:
    """Put PUBs with equal qubits, shots and method into as few calls as the limits allow."""
    groups: dict[tuple[tuple[int, ...], Method, int], list[tuple[_Shots, QuantumCircuit]]] = {}
    for shots, choice in pubs:
        key = (choice.active.qubits, choice.method, shots.pub.shots)
        groups.setdefault(key, []).append((shots, choice.active.circuit))
    for (qubits, method, num_shots), members in groups.items():
        targets = [(one, circuit, i) for one, circuit in members for i in range(one.num_sets)]
        shots_per_call = min(num_shots, _MAX_SHOTS)
        size = max_circuits(shots_per_call, _MAX_CIRCUITS)
        for start in range(0, len(targets), size):
            for first in range(0, num_shots, shots_per_call):
                left = min(shots_per_call, num_shots - first)
                yield _Call(qubits, method, left, targets[start : start + size])


@dataclass(frozen=True)
class _Register:
    """A classical register, and the indices of its bits among those of the circuit."""

    name: str
    indices: NDArray[np.intp]

    @property
    def num_bytes(self) -> int:
        return -(-len(self.indices) // 8)

    def pack(self, bits: Bytes) -> Bytes:
        """Pack outcomes as `BitArray` has them: big-endian, padded on the left."""
        chosen = bits[:, self.indices[::-1]]
        padding = np.zeros((len(chosen), -chosen.shape[1] % 8), np.uint8)
        return np.packbits(np.hstack([padding, chosen]), axis=1)


class _Shots:
    """The shots of one PUB, collected per parameter set."""

    def __init__(self, pub: SamplerPub, sequence: np.random.SeedSequence) -> None:
        self.pub = pub
        self.rng = np.random.default_rng(sequence)
        self.num_sets = pub.parameter_values.size
        index_of = {clbit: index for index, clbit in enumerate(pub.circuit.clbits)}
        self._registers = [
            _Register(creg.name, np.array([index_of[clbit] for clbit in creg], dtype=np.intp))
            for creg in pub.circuit.cregs
        ]
        self._arrays = {
            register.name: np.empty((self.num_sets, pub.shots, register.num_bytes), np.uint8)
            for register in self._registers
        }
        self._filled = np.zeros(self.num_sets, dtype=np.int64)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Parameter sets, shape (sets, parameters), in the order of the circuit's parameters."""
        values = self.pub.parameter_values.as_array(self.pub.circuit.parameters)
        return np.asarray(values, dtype=float).reshape(self.num_sets, -1)

    def bind(self, circuit: QuantumCircuit, index: int) -> QuantumCircuit:
        """Bind one parameter set to the PUB's circuit, perhaps restricted to some qubits."""
        if not circuit.parameters:
            return circuit
        values = dict(zip(self.pub.circuit.parameters, self.values[index], strict=True))
        return circuit.assign_parameters({name: values[name] for name in circuit.parameters})

    def add(self, index: int, outcomes: Outcomes) -> None:
        """Add shots of one parameter set, in a random order."""
        kind = np.uint16 if len(outcomes.counts) < 2**16 else np.uint32
        order = np.repeat(np.arange(len(outcomes.counts), dtype=kind), outcomes.counts)
        self.rng.shuffle(order)
        start = int(self._filled[index])
        self._filled[index] = stop = start + len(order)
        for register in self._registers:
            self._arrays[register.name][index, start:stop] = register.pack(outcomes.bits)[order]

    def result(self) -> SamplerPubResult:
        shape = self.pub.parameter_values.shape
        data = {
            register.name: BitArray(
                self._arrays[register.name].reshape(*shape, self.pub.shots, register.num_bytes),
                len(register.indices),
            )
            for register in self._registers
        }
        return SamplerPubResult(
            DataBin(**data, shape=shape),
            metadata={"shots": self.pub.shots, "circuit_metadata": self.pub.circuit.metadata},
        )


def _all_outcomes(indices: Sequence[int], num_bits: int) -> Bytes:
    """Return the bits of every outcome: bit i of the outcome has the index `indices[i]`."""
    numbers = np.arange(2 ** len(indices))
    table = np.zeros((len(numbers), num_bits), np.uint8)
    for bit, index in enumerate(indices):
        table[:, index] = (numbers >> bit) & 1
    return table
