"""The method of trajectory trees: noisy circuits whose density matrix is too large.

Qubits that nothing connects are walked apart. A walk serves all shots of a parameter set in all
bases: they share their evolution up to the rotations at the end.

Reference: K. Molmer, Y. Castin, J. Dalibard, "Monte Carlo wave-function method in quantum optics",
J. Opt. Soc. Am. B 10, 524 (1993), whose trajectories these are, a shot for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee

from qexp.simulator.aer import Outcomes, child
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import Basis, Moments, moments
from qexp.simulator.protocols import Cost, Measurement, Work
from qexp.simulator.sites import Site, Split, to_sites
from qexp.simulator.states import rotation
from qexp.simulator.walk import Block, Blocks, count_visits, to_blocks, walk

MAX_TREE_QUBITS = 24
"""Connected qubits: a state of 256 MiB, of which there may be a dozen."""

_CHUNK_SETS = 16
"""Parameter sets whose noise is kept at a time."""

_MAX_DRY_SHOTS = 8192
"""Shots of the walk without states that predicts the cost; for more it is taken as linear."""


@dataclass(frozen=True)
class _Part:
    """Qubits that are connected with one another and with no others."""

    places: tuple[int, ...]  # among the work's qubits
    sites: list[Site]
    layout: list[tuple[tuple[int, ...], list[int]]]  # qubits and sites of each block

    def blocks(self, splits: Sequence[Split], index: int) -> list[Block]:
        """Return the blocks for one parameter set."""
        return [
            Block(
                qubits,
                [self.sites[site].of_set(index) for site in members],
                [splits[site].of_set(index) for site in members],
            )
            for qubits, members in self.layout
        ]


class TrajectoryTree:
    """Samples circuits whose shots mostly share their evolution.

    Args:
        device: The device to simulate.
        channels: Its channels.
    """

    name = "trajectory_tree"

    def __init__(self, device: NoisyDevice, channels: DensityMatrix) -> None:
        self.device = device
        self.channels = channels
        self.rotation = cache(self._rotation)

    def objection(self, work: Work) -> str | None:
        """Return why a circuit cannot be walked, or None."""
        if work.shots is None:
            return "trajectories give samples, not exact expectation values"
        if work.plain is None:
            return "it is dynamic, has a delay of a parameter, or a gate on more than two qubits"
        widest = max(map(len, _components(work)), default=0)
        if widest > MAX_TREE_QUBITS:
            return f"it connects {widest} qubits, and at most {MAX_TREE_QUBITS} can be walked"
        return None

    def simulation(self, work: Work) -> TreeSimulation:
        """Return a circuit as a tree."""
        return TreeSimulation(self, work)

    def _rotation(self, qubit: int, letter: str) -> tuple[Site, ...]:
        """Return the rotation of one of the device's qubits into the basis of a Pauli."""
        circuit = rotation(letter, self.device.noise_model((qubit,)).basis_gates)
        return tuple(
            to_sites(
                circuit.data,
                {circuit.qubits[0]: qubit},
                (qubit,),
                {},
                np.zeros((1, 0)),
                self.channels,
            )
        )


class TreeSimulation:
    """A circuit as a tree.

    Args:
        method: Has the device.
        work: The circuit.
    """

    def __init__(self, method: TrajectoryTree, work: Work) -> None:
        assert work.plain is not None
        assert work.shots is not None
        self._method = method
        self._work = work
        self._shots = work.shots
        index = {qubit: number for number, qubit in enumerate(work.circuit.qubits)}
        # Each measured qubit's place among those simulated, and its bits.
        self._reads = [
            (work.qubits.index(index[qubit]), [work.circuit.find_bit(bit).index for bit in bits])
            for qubit, bits in work.plain.measured
        ]

    @cached_property
    def cost(self) -> Cost:
        """The cost by a walk without states, of the first parameter set."""
        shots = math.ceil(self._shots * self._work.bases)
        dry_shots = min(shots, _MAX_DRY_SHOTS)
        us, size = 0.0, 0
        parts = self._parts(self._work.values[:1])
        for part, splits in parts:
            width = 2 ** len(part.places)
            blocks = part.blocks(splits, 0)
            visits, hits, leaves = count_visits(blocks, dry_shots)
            # Rotations into the bases are blocks of four qubits, too.
            endings = leaves * (self._work.bases - 1) * len(part.places) / 4
            walk_us = _BLOCK.us(width) * (visits + endings) + _HIT.us(width) * hits
            walk_us += _LEAF.us(width) * leaves
            us += walk_us * shots / dry_shots + _SITE_US * len(part.sites)
            size = max(size, 16 * width * (4 + shots.bit_length()))
        size += shots * len(self._work.qubits) * 3
        return Cost(us * 1e-6 * len(self._work.values), size)

    def sample(self, generator: Callable[[int], np.random.Generator]) -> Iterator[Outcomes]:
        """Yield the outcomes of each parameter set, every shot by itself."""
        for index, parts in self._of_sets(range(len(self._work.values))):
            rng = generator(index)
            (bits,) = self._walk(parts, [None], rng)
            read = np.zeros((self._shots, self._work.circuit.num_clbits), dtype=np.uint8)
            for place, clbits in self._reads:
                for clbit in clbits:
                    read[:, clbit] = self._read(bits, place, rng)
            yield Outcomes(read, np.ones(self._shots, dtype=np.int64))

    def measurement(self, sequence: np.random.SeedSequence) -> Measurement:
        """Return the circuit as one that is measured in bases."""
        return _MeasuredTree(self, sequence)

    def measure(
        self, sets: Sequence[int], bases: Sequence[Basis], sequence: np.random.SeedSequence
    ) -> Iterator[list[Moments]]:
        """Yield the moments of each basis, for one parameter set after the other."""
        measured = [basis for basis in bases if basis.measured]
        for index, parts in self._of_sets(sets):
            rng = np.random.default_rng(child(sequence, index))
            samples = iter(self._walk(parts, [basis.letters for basis in measured], rng))
            found = []
            for basis in bases:
                bits = np.zeros((self._shots, len(basis.letters)), dtype=np.uint8)
                if basis.measured:
                    drawn = next(samples)
                    for place in basis.measured:
                        bits[:, place] = self._read(drawn, place, rng)
                found.append(moments(np.ones((1, self._shots)), bits, basis))
            yield found

    def _walk(
        self,
        parts: Sequence[tuple[_Part, list[Block]]],
        bases: Sequence[str | None],
        rng: np.random.Generator,
    ) -> list[NDArray[np.uint8]]:
        """Return the shots in each basis, shape (shots, qubits); None is without rotations."""
        found = [np.empty((self._shots, len(self._work.qubits)), dtype=np.uint8) for _ in bases]
        for number, (part, blocks) in enumerate(parts):
            endings = [self._ending(part, letters) for letters in bases]
            for bits, drawn in zip(
                found, walk(len(part.places), blocks, endings, self._shots, rng), strict=True
            ):
                # The parts are independent, so that the order within all but one is random.
                bits[:, part.places] = rng.permutation(drawn) if number else drawn
        return found

    def _ending(self, part: _Part, letters: str | None) -> Blocks:
        """Return the rotations of a part's qubits into a basis, with their noise."""
        if letters is None:
            return ()
        rotations = [
            Site((number,), site.unitary, site.transfer)
            for number, place in enumerate(part.places)
            if letters[place] in "XY"
            for site in self._method.rotation(self._work.qubits[place], letters[place])
        ]
        ending = _Part(part.places, rotations, to_blocks(rotations))
        return ending.blocks([site.split() for site in rotations], 0)

    def _read(
        self, bits: NDArray[np.uint8], place: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Read out a qubit, with its errors."""
        chances = self._method.device.readout_probabilities(self._work.qubits[place])[:, 1]
        return rng.random(len(bits)) < chances[bits[:, place]]

    def _of_sets(
        self, sets: Sequence[int]
    ) -> Iterator[tuple[int, list[tuple[_Part, list[Block]]]]]:
        """Yield parameter sets with the blocks of each part."""
        for first in range(0, len(sets), _CHUNK_SETS):
            chunk = list(sets[first : first + _CHUNK_SETS])
            parts = self._parts(self._work.values[chunk])
            for row, index in enumerate(chunk):
                yield index, [(part, part.blocks(splits, row)) for part, splits in parts]

    def _parts(self, values: NDArray[np.float64]) -> list[tuple[_Part, list[Split]]]:
        """Return the sites of each part and their noise, for some parameter sets at once."""
        work = self._work
        index = {qubit: number for number, qubit in enumerate(work.circuit.qubits)}
        found = []
        for places in _components(work):
            qubits = tuple(work.qubits[place] for place in places)
            sites = to_sites(
                work.circuit.data, index, qubits, work.columns, values, self._method.channels
            )
            part = _Part(places, sites, to_blocks(sites))
            found.append((part, [site.split() for site in sites]))
        return found


class _MeasuredTree:
    def __init__(self, tree: TreeSimulation, sequence: np.random.SeedSequence) -> None:
        self._tree = tree
        self._sequence = sequence

    @property
    def chunk(self) -> int:
        """Number of parameter sets whose noise is kept at a time."""
        return _CHUNK_SETS

    def prepare(self, sets: NDArray[np.intp]) -> None:
        """Do nothing: all bases are sampled in one walk."""

    def measure(self, sets: NDArray[np.intp], bases: Sequence[Basis]) -> list[Moments]:
        """Sample all bases of each parameter set in one walk."""
        rows = list(self._tree.measure(sets.tolist(), bases, self._sequence))
        return [
            (np.concatenate([mean for mean, _ in one]), np.concatenate([var for _, var in one]))
            for one in zip(*rows, strict=True)
        ]


class _Step(NamedTuple):
    """Time of a step: a constant, and a multiple of the number of amplitudes."""

    constant_us: float
    amplitude_us: float

    def us(self, amplitudes: int) -> float:
        return self.constant_us + self.amplitude_us * amplitudes


_BLOCK = _Step(12.0, 0.005)
_HIT = _Step(100.0, 0.004)
_LEAF = _Step(40.0, 0.006)
_SITE_US = 500.0


def _components(work: Work) -> list[tuple[int, ...]]:
    """Return the places of connected qubits among those of the work, neighbours close together."""
    place = {work.circuit.qubits[qubit]: number for number, qubit in enumerate(work.qubits)}
    pairs = {
        (place[instruction.qubits[0]], place[instruction.qubits[1]])
        for instruction in work.circuit.data
        if len(instruction.qubits) == 2 and instruction.name != "barrier"
    }
    first, second = np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2).T
    shape = (len(place), len(place))
    graph = csr_array(
        (np.ones(2 * len(first)), (np.r_[first, second], np.r_[second, first])), shape
    )
    _, labels = connected_components(graph)
    found: dict[int, list[int]] = {}
    for number in reverse_cuthill_mckee(graph, symmetric_mode=True).tolist():
        found.setdefault(labels[number], []).append(number)
    return [tuple(members) for members in found.values()]
