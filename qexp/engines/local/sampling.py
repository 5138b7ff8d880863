"""Sampler jobs on Aer: shots of all PUBs of a job, as packed bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qexp.core.seeds import as_int, child
from qexp.engines.local.exact import ExactDevice, as_final
from qexp.engines.local.methods import is_exact_cheaper, trajectories
from qexp.engines.local.reduced import Reduced, ReducedDevice, reduce_circuit, run_aer

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives import PrimitiveResult
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit.providers import BackendV2
    from qiskit.result import Result

Bytes: TypeAlias = NDArray[np.uint8]

# Aer seeds circuit k of a run with seed + 2113 k and, where it simulates shot by shot, shot j of
# that circuit with seed + 2113 k + j (src/controllers/controller_execute.hpp of Qiskit Aer).
_AER_SEED_STRIDE = 2113
_NUM_SEEDS = 2**31

# What goes to Aer in one call: bounds the memory that its circuits and counts take.
_MAX_CIRCUITS = 200
_MAX_SHOTS = 500_000


@dataclass(frozen=True)
class _Register:
    """A classical register: its name and where its bits are among those of the circuit."""

    name: str
    places: NDArray[np.intp]

    @property
    def num_bytes(self) -> int:
        return -(-len(self.places) // 8)


class Sampling:
    """Samples PUBs with the noise of a device, or on a simulator as it is.

    Args:
        simulator: What runs the circuits: an `AerSimulator`, used with its own method, or a
            device that is simulated by the method that is cheapest for each circuit.
    """

    def __init__(self, simulator: BackendV2 | ReducedDevice) -> None:
        self._simulator = simulator
        self._exact = ExactDevice(simulator) if isinstance(simulator, ReducedDevice) else None

    def run(self, pubs: Sequence[SamplerPub], seed: int) -> PrimitiveResult[Any]:
        """Sample all PUBs of one job.

        The shots of one circuit are drawn independently, or drawn as counts and put in a random
        order. Both have the same distribution: independent shots are exchangeable.

        Args:
            pubs: PUBs with shots.
            seed: Decides every bit. Circuits and parameter sets have streams of their own.

        Returns:
            What `BackendSamplerV2` would return, data and metadata.

        Raises:
            EngineError: The simulator reports a failure.
        """
        from qiskit.primitives import PrimitiveResult

        sequence = np.random.SeedSequence(seed)
        shots = [_Shots(pub, child(sequence, index)) for index, pub in enumerate(pubs)]
        rest = [one for one in shots if not self._sample_exactly(one)]
        # The seeds of all shots of a job are apart, see `_Call.num_seeds`.
        next_seed = as_int(child(sequence, len(pubs)))
        for call in self._calls(rest):
            self._sample_with_aer(call, next_seed % _NUM_SEEDS)
            next_seed += call.num_seeds
        return PrimitiveResult([one.result() for one in shots], metadata={"version": 2})

    def _sample_exactly(self, shots: _Shots) -> bool:
        if self._exact is None:
            return False
        final = as_final(shots.pub.circuit)
        if final is None or not is_exact_cheaper(final, shots.pub.shots):
            return False
        places = {clbit: i for i, clbit in enumerate(shots.pub.circuit.clbits)}
        outcomes = _outcomes([places[bit] for bit in final.bits], len(places))
        for first, table in self._exact.probabilities(final, shots.values):
            for index, probabilities in enumerate(table, start=first):
                counts = shots.rng.multinomial(shots.pub.shots, probabilities)
                seen = np.flatnonzero(counts)
                shots.add(index, outcomes[seen], counts[seen])
        return True

    def _calls(self, pubs: Sequence[_Shots]) -> Iterator[_Call]:
        """What goes to Aer in one call each: equal shots, qubits and method."""
        groups: dict[tuple[Any, ...], list[_Shots]] = {}
        for shots in pubs:
            reduced = self._reduced(shots.pub.circuit)
            key = (
                reduced.qubits,
                shots.pub.shots,
                trajectories(reduced.circuit) if self._exact else "",
            )
            shots.circuit = reduced.circuit
            groups.setdefault(key, []).append(shots)
        for (qubits, num_shots, method), members in groups.items():
            targets = [(one, index) for one in members for index in range(one.num_sets)]
            call_shots = min(num_shots, _MAX_SHOTS)
            size = max(1, _MAX_CIRCUITS // _stride(call_shots))
            for start in range(0, len(targets), size):
                part = targets[start : start + size]
                for first in range(0, num_shots, call_shots):
                    yield _Call(qubits, min(call_shots, num_shots - first), method, part)

    def _sample_with_aer(self, call: _Call, seed: int) -> None:
        circuits = _spaced([shots.bound(index) for shots, index in call.targets], call.stride)
        result = self._run(call, circuits, {"shots": call.shots, "seed_simulator": seed})
        for (shots, index), one in zip(call.targets, result.results[:: call.stride], strict=True):
            # A circuit that measures nothing has no counts.
            seen = getattr(one.data, "counts", {"0x0": call.shots})
            bits = _from_hex(seen, shots.pub.circuit.num_clbits)
            shots.add(index, bits, np.fromiter(seen.values(), np.int64))

    def _run(
        self, call: _Call, circuits: Sequence[QuantumCircuit], options: dict[str, Any]
    ) -> Result:
        if isinstance(self._simulator, ReducedDevice):
            # Worker processes are what runs in parallel here, not threads.
            options |= {"method": call.method, "max_parallel_threads": 1}
            return self._simulator.run(circuits, call.qubits, **options)
        return run_aer(self._simulator, circuits, **options)

    def _reduced(self, circuit: QuantumCircuit) -> Reduced:
        if isinstance(self._simulator, ReducedDevice):
            return reduce_circuit(circuit)
        return Reduced(circuit, ())


@dataclass(frozen=True)
class _Call:
    """One call to Aer: PUBs and the index of one of their parameter sets each."""

    qubits: tuple[int, ...]
    shots: int
    method: str
    targets: Sequence[tuple[_Shots, int]]

    @property
    def stride(self) -> int:
        """Distance of the circuits in the call, see `_spaced`."""
        return _stride(self.shots)

    @property
    def num_seeds(self) -> int:
        """Size of the interval from which Aer seeds its shots, beginning with the call's seed."""
        return _AER_SEED_STRIDE * self.stride * len(self.targets)


class _Shots:
    """The shots of one PUB, as they come."""

    def __init__(self, pub: SamplerPub, sequence: np.random.SeedSequence) -> None:
        self.pub = pub
        self.rng = np.random.default_rng(sequence)
        self.circuit = pub.circuit
        self.num_sets = pub.parameter_values.size
        index = {clbit: i for i, clbit in enumerate(pub.circuit.clbits)}
        self._registers = [
            _Register(creg.name, np.array([index[clbit] for clbit in creg], dtype=np.intp))
            for creg in pub.circuit.cregs
        ]
        self._arrays = {
            register.name: np.empty((self.num_sets, pub.shots, register.num_bytes), np.uint8)
            for register in self._registers
        }
        self._filled = np.zeros(self.num_sets, dtype=np.int64)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The parameter sets, shape (sets, parameters), in the order of the circuit's."""
        values = self.pub.parameter_values.as_array(self.pub.circuit.parameters)
        return np.asarray(values, dtype=float).reshape(self.num_sets, -1)

    def bound(self, index: int) -> QuantumCircuit:
        """The circuit with one of its parameter sets."""
        if not self.circuit.parameters:
            return self.circuit
        return self.circuit.assign_parameters(self.values[index])

    def add(self, index: int, outcomes: Bytes, counts: NDArray[np.int64]) -> None:
        """Take the counts of one parameter set, in a random order.

        Args:
            index: The parameter set.
            outcomes: Bits of each distinct outcome, shape (distinct, clbits).
            counts: How often each was seen.
        """
        kind = np.uint16 if len(counts) < 2**16 else np.uint32
        order = np.repeat(np.arange(len(counts), dtype=kind), counts)
        self.rng.shuffle(order)
        start = int(self._filled[index])
        self._filled[index] = stop = start + len(order)
        for register in self._registers:
            self._arrays[register.name][index, start:stop] = _packed(outcomes, register)[order]

    def result(self) -> Any:
        """The PUB's result."""
        from qiskit.primitives import BitArray, DataBin, SamplerPubResult

        shape = self.pub.parameter_values.shape
        data = {
            register.name: BitArray(
                self._arrays[register.name].reshape(*shape, self.pub.shots, register.num_bytes),
                len(register.places),
            )
            for register in self._registers
        }
        return SamplerPubResult(
            DataBin(**data, shape=shape),
            metadata={"shots": self.pub.shots, "circuit_metadata": self.pub.circuit.metadata},
        )


def _packed(outcomes: Bytes, register: _Register) -> Bytes:
    """The bits of one register, packed as `BitArray` has them: big-endian, padded on the left."""
    bits = outcomes[:, register.places[::-1]]
    padding = np.zeros((len(bits), -bits.shape[1] % 8), np.uint8)
    return np.packbits(np.hstack([padding, bits]), axis=1)


def _outcomes(places: Sequence[int], num_bits: int) -> Bytes:
    """Bits of every outcome of a measurement: bit i of the outcome is at place i."""
    numbers = np.arange(2 ** len(places))
    table = np.zeros((len(numbers), num_bits), np.uint8)
    for bit, place in enumerate(places):
        table[:, place] = (numbers >> bit) & 1
    return table


def _from_hex(keys: Mapping[str, int], num_bits: int) -> Bytes:
    """Bits of Aer's outcomes, which are hexadecimal numbers: bit i is classical bit i."""
    num_bytes = -(-num_bits // 8)
    data = b"".join(int(key, 16).to_bytes(num_bytes, "little") for key in keys)
    packed = np.frombuffer(data, np.uint8).reshape(len(keys), num_bytes)
    return np.unpackbits(packed, axis=1, count=num_bits, bitorder="little")


def _stride(shots: int) -> int:
    return math.ceil(shots / _AER_SEED_STRIDE)


def _spaced(circuits: Sequence[QuantumCircuit], stride: int) -> list[QuantumCircuit]:
    """The circuits with empty ones between them, which keep the seeds of their shots apart.

    Without them, shot 2113 of a circuit equals shot 0 of the next one, where both are the same
    circuit and Aer simulates shot by shot. They cost next to nothing.
    """
    from qiskit import QuantumCircuit

    empty = [QuantumCircuit(1)] * (stride - 1)
    return [circuit for real in circuits for circuit in (*empty, real)][stride - 1 :]
