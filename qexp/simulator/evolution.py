"""The method of density matrices: the noisy state is evolved once for each parameter set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np

from qexp.simulator.aer import Outcomes
from qexp.simulator.circuits import PlainCircuit
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import all_outcomes
from qexp.simulator.protocols import Cost, Measurement, Work
from qexp.simulator.states import EvolvedStates, evolve_noisy, noisy_operators

MAX_NOISY_QUBITS = 11
"""A density matrix of 32 MiB, of which there are a few copies."""

_MAX_BITS = 20
"""A qubit may be read into any number of bits; there is a probability for each of their values."""


class Evolution:
    """Evolves density matrices, and samples or measures them."""

    name = "density_matrix"

    def __init__(self, device: NoisyDevice, channels: DensityMatrix) -> None:
        self.channels = channels
        self.operators = cache(partial(noisy_operators, device))

    def objection(self, work: Work) -> str | None:
        """Return why a circuit has no density matrix here, or None."""
        if work.plain is None:
            return "it is dynamic, has a delay of a parameter, or a gate on more than two qubits"
        if len(work.qubits) > MAX_NOISY_QUBITS:
            return f"it acts on {len(work.qubits)} qubits, and at most {MAX_NOISY_QUBITS} fit"
        if len(work.plain.bits) > _MAX_BITS:
            return f"it reads {len(work.plain.bits)} bits, and at most {_MAX_BITS} have a table"
        return None

    def simulation(self, work: Work) -> EvolvedCircuit:
        """Return a circuit that is evolved."""
        return EvolvedCircuit(self, work)


class EvolvedCircuit:
    """A circuit whose density matrix is evolved."""

    def __init__(self, method: Evolution, work: Work) -> None:
        assert work.plain is not None
        self._method = method
        self._work = work
        self._plain = work.plain

    @property
    def cost(self) -> Cost:
        """The cost of one evolution for each parameter set."""
        evolution_s = 1e-6 * evolution_us(self._plain, len(self._work.qubits))
        return Cost(
            evolution_s * len(self._work.values), 4 * max(2**26, 8 * 4 ** len(self._work.qubits))
        )

    def sample(
        self, generator: Callable[[int], np.random.Generator], sets: range
    ) -> Iterator[Outcomes]:
        """Draw the counts of each parameter set from the exact distribution."""
        circuit, plain, shots = self._work.circuit, self._plain, self._work.shots
        assert shots is not None
        index_of = {clbit: index for index, clbit in enumerate(circuit.clbits)}
        bits = all_outcomes([index_of[bit] for bit in plain.bits], len(index_of))
        values = self._work.values[sets.start : sets.stop]
        for first, table in self._method.channels.probabilities(plain, values):
            for index, probabilities in enumerate(table, start=sets.start + first):
                counts = generator(index).multinomial(shots, probabilities)
                seen = np.flatnonzero(counts)
                yield Outcomes(bits[seen], counts[seen])

    def measurement(self, sequence: np.random.SeedSequence) -> Measurement:
        """Return the circuit as one that is measured in bases."""
        operators = [self._method.operators(qubit) for qubit in self._work.qubits]
        evolve = evolve_noisy(self._plain, self._work.values, self._method.channels)
        return EvolvedStates(evolve, operators, self._work.shots, sequence)


def evolution_us(plain: PlainCircuit, width: int) -> float:
    """Return the time of one evolution on one core."""
    return 6 * plain.gates + (plain.pair_gates + width) * (25 + 0.004 * 4**width)
