"""Sampler PUBs on a simulated device: shots as packed bits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import (
    BackendSamplerV2,
    BaseSamplerV2,
    BitArray,
    DataBin,
    PrimitiveJob,
    PrimitiveResult,
    SamplerPubResult,
)
from qiskit.primitives.containers.sampler_pub import SamplerPub, SamplerPubLike
from qiskit.providers import BackendV2

from qexp.simulator.aer import (
    Outcomes,
    as_int,
    child,
    max_circuits,
    num_seeds,
    sample_circuits,
)
from qexp.simulator.devices import Device, SelfRunning, make_device
from qexp.simulator.methods import KEPT_CHOICES, Choice, Methods
from qexp.simulator.parts import PART, Part
from qexp.simulator.protocols import Prediction

_NUM_SEEDS = 2**31

_SETS_PER_GENERATOR = 50
"""Parameter sets whose draws come from one stream, so that blocks of them can be drawn apart."""

_MAX_CIRCUITS = 200
_MAX_SHOTS = 500_000
"""Size of one call to Aer, which bounds the memory for its circuits and counts."""


class NoisySampler(BaseSamplerV2):
    """Samples circuits with the noise of a backend, with the semantics of `BackendSamplerV2`.

    Example:
        >>> sampler = NoisySampler(FakeManilaV2(), seed=7)
        >>> counts = sampler.run([isa_circuit], shots=1000).result()[0].data.meas.get_counts()

    Args:
        backend: See `make_device`; or a device, which keeps the noise that was made for it.
        default_shots: Shots of PUBs that carry none, where `run` has none either.
        seed: Decides every bit, the same in each `run`; None: another seed each time.
        method: The only method for circuits with the noise of a device, one of `methodnames()`;
            None: the cheapest for each circuit.
    """

    def __init__(
        self,
        backend: BackendV2 | Device | SelfRunning,
        *,
        default_shots: int = 1024,
        seed: int | None = None,
        method: str | None = None,
    ) -> None:
        self._device = make_device(backend)
        self._method = method
        self._default_shots = default_shots
        self._seed = seed
        # By the very PUB: whoever asks for the cost of a job samples it next.
        if not isinstance(self._device, SelfRunning):
            self._methods = Methods(self._device, method)
            self._choose = lru_cache(maxsize=KEPT_CHOICES)(self._methods.for_sampling)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle device and arguments, without the noise, which is made again as it was."""
        make = partial[Any](type(self), self._device, default_shots=self._default_shots)
        return partial(make, seed=self._seed, method=self._method), ()

    def run(
        self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None
    ) -> PrimitiveJob[PrimitiveResult[SamplerPubResult]]:
        """Sample PUBs in a thread.

        Args:
            pubs: ISA PUBs.
            shots: Shots of the PUBs that carry none.

        Returns:
            A job. Its `result()` raises `SimulationError` where the simulation fails.
        """
        shots = self._default_shots if shots is None else shots
        coerced = [SamplerPub.coerce(pub, shots) for pub in pubs]
        seed = as_int(np.random.SeedSequence()) if self._seed is None else self._seed
        job = PrimitiveJob(self.sample, coerced, shots=shots, seed=seed)
        job._submit()
        return job

    def sample(
        self,
        pubs: Iterable[SamplerPubLike],
        *,
        shots: int,
        seed: int,
        only: range | None = None,
        sets: range | None = None,
    ) -> PrimitiveResult[SamplerPubResult]:
        """Sample PUBs in this thread.

        Shots are drawn one by one, or as counts that are put in a random order. Both have the same
        distribution, because the shots of one circuit are exchangeable.

        Args:
            pubs: ISA PUBs.
            shots: Shots of the PUBs that carry none.
            seed: Decides every bit. PUBs and parameter sets have streams of their own, so that
                equal circuits get different shots.
            only: Indices of the PUBs to sample; None: all. They get the shots that they have in a
                sample of all PUBs.
            sets: Indices of the parameter sets to sample, if `only` has one PUB; see `block_sets`.
                The result is a part, see `parts`. None: all.

        Raises:
            SimulationError: The simulator reports a failure, or the only method cannot do this.
        """
        coerced = [SamplerPub.coerce(pub, shots) for pub in pubs]
        wanted = range(len(coerced)) if only is None else only
        device, sequence = self._device, np.random.SeedSequence(seed)
        if isinstance(device, SelfRunning):
            done = BackendSamplerV2(backend=device.seeded(seed)).run(coerced).result()
            return PrimitiveResult([done[index] for index in wanted], metadata=done.metadata)
        collected: dict[int, _Shots] = {}
        on_aer: list[tuple[_Shots, Choice]] = []
        choices = {index: self._choose(coerced[index]) for index in wanted}
        if any(choice.simulation is None for choice in choices.values()):
            # Seeds of circuits on Aer depend on the PUBs before them.
            choices = dict(enumerate(map(self._choose, coerced)))
        for index, choice in choices.items():
            pub = coerced[index]
            every = range(pub.parameter_values.size) if sets is None else sets
            one = _Shots(pub, child(sequence, index), every if index in wanted else range(0))
            if choice.simulation is None:
                on_aer.append((one, choice))
            else:
                sampled = choice.simulation.sample(one.generator, one.sets)
                for number, outcomes in zip(one.sets, sampled, strict=True):
                    one.add(number, outcomes)
                one.metadata |= choice.approximated_noise
            collected[index] = one
        _sample_on_aer(device, on_aer, as_int(child(sequence, len(coerced))))
        results = [collected[index].result() for index in wanted]
        return PrimitiveResult(results, metadata={"version": 2})

    def predict(self, pub: SamplerPubLike, *, shots: int) -> Prediction:
        """Predict by which method a PUB is sampled, and what that costs.

        Example:
            >>> NoisySampler(FakeTorino()).predict(isa_circuit, shots=4096).cost.seconds
            0.36

        Raises:
            SimulationError: The only method cannot do this.
        """
        if isinstance(self._device, SelfRunning):
            return Prediction("own", None, on_aer=True)
        return self._choose(SamplerPub.coerce(pub, shots)).prediction

    def block_sets(self, pub: SamplerPub) -> int:
        """Return of how many parameter sets the blocks are of which a PUB can be sampled apart."""
        is_divisible = not isinstance(self._device, SelfRunning)
        return _SETS_PER_GENERATOR if is_divisible else pub.parameter_values.size

    def objection(self, pub: SamplerPub) -> str | None:
        """Return why the only method cannot sample a PUB, as a clause about it, or None."""
        return None if isinstance(self._device, SelfRunning) else self._methods.objection(pub)


def _sample_on_aer(device: Device, pubs: Sequence[tuple[_Shots, Choice]], seed: int) -> None:
    """Sample PUBs with equal qubits, shots and method in as few calls as the limits allow."""
    groups: dict[tuple[Any, ...], list[tuple[_Shots, Choice]]] = {}
    for shots, choice in pubs:
        key = (choice.active.qubits, shots.pub.shots, choice.method)
        groups.setdefault(key, []).append((shots, choice))
    for (qubits, num_shots, _), members in groups.items():
        run = partial(device.run, qubits=qubits, **members[0][1].aer_options)
        targets = [
            (shots, choice.active.circuit, index)
            for shots, choice in members
            for index in range(shots.num_sets)
        ]
        shots_per_call = min(num_shots, _MAX_SHOTS)
        size = max_circuits(shots_per_call, _MAX_CIRCUITS)
        for start in range(0, len(targets), size):
            part = targets[start : start + size]
            first, stop = _span([index in shots.sets for shots, _, index in part])
            wanted = part[first:stop]
            circuits = [shots.bind(circuit, index) for shots, circuit, index in wanted]
            for done in range(0, num_shots, shots_per_call):
                count = min(shots_per_call, num_shots - done)
                # As if the circuits before the first wanted one were in the call, too.
                begin = seed % _NUM_SEEDS + num_seeds(count, first)
                outcomes = sample_circuits(run, circuits, shots=count, seed=begin)
                for (shots, _, index), one in zip(wanted, outcomes, strict=True):
                    shots.add(index, one)
                # The calls of a job share no random numbers.
                seed += num_seeds(count, len(part))


def _span(flags: Sequence[bool]) -> tuple[int, int]:
    """Return the first and one past the last index of a true flag; `(0, 0)` if there is none."""
    indices = [index for index, flag in enumerate(flags) if flag]
    return (indices[0], indices[-1] + 1) if indices else (0, 0)


class _Shots:
    """The shots of one PUB, collected for some of its parameter sets."""

    def __init__(self, pub: SamplerPub, sequence: np.random.SeedSequence, sets: range) -> None:
        self.pub = pub
        self.sets = sets
        self._sequence = sequence
        self._generators: dict[int, np.random.Generator] = {}
        self.num_sets = pub.parameter_values.size
        index_of = {clbit: index for index, clbit in enumerate(pub.circuit.clbits)}
        # The indices of each register's bits among those of the circuit.
        self._indices = {
            creg.name: np.array([index_of[clbit] for clbit in creg], dtype=np.intp)
            for creg in pub.circuit.cregs
        }
        self._shots = {
            creg.name: BitArray(
                np.empty((len(sets), pub.shots, -(-creg.size // 8)), np.uint8), creg.size
            )
            for creg in pub.circuit.cregs
        }
        self._filled = np.zeros(len(sets), dtype=np.int64)
        self.metadata: dict[str, Any] = {
            "shots": pub.shots,
            "circuit_metadata": pub.circuit.metadata,
        }

    def generator(self, index: int) -> np.random.Generator:
        """Return the generator of a parameter set, which a fixed block of sets share."""
        block = index // _SETS_PER_GENERATOR
        if block not in self._generators:
            sequence = child(self._sequence, block) if block else self._sequence
            self._generators[block] = np.random.default_rng(sequence)
        return self._generators[block]

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
        self.generator(index).shuffle(order)
        row = index - self.sets.start
        start = int(self._filled[row])
        self._filled[row] = stop = start + len(order)
        for name, indices in self._indices.items():
            packed = BitArray.from_bool_array(outcomes.bits[:, indices], order="little").array
            self._shots[name].array[row, start:stop] = packed[order]

    def result(self) -> SamplerPubResult:
        """Return the PUB's result, or the part of its sets, once all shots are there."""
        shape = self.pub.parameter_values.shape
        is_whole = len(self.sets) == self.num_sets
        own = shape if is_whole else (len(self.sets),)
        data = {name: bits.reshape(own) for name, bits in self._shots.items()}
        if not is_whole:
            self.metadata[PART] = Part(shape, self.sets)
        return SamplerPubResult(DataBin(**data, shape=own), metadata=self.metadata)
