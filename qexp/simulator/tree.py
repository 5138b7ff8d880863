"""The method of trajectory trees: noisy circuits whose density matrix is too large.

Qubits that nothing connects are walked apart. A walk serves all shots of a parameter set in all
bases: they share their evolution up to the rotations at the end.

Reference: K. Molmer, Y. Castin, J. Dalibard, "Monte Carlo wave-function method in quantum optics",
J. Opt. Soc. Am. B 10, 524 (1993), whose trajectories these are, a shot for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property, partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.simulator.aer import Outcomes, child
from qexp.simulator.blocks import Block, sweep, to_blocks, to_swept_blocks, widths
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.dry_walk import predicted_us
from qexp.simulator.feed_forward import (
    Bits,
    Decision,
    Gates,
    Reading,
    UnknownFlowError,
    flow_of,
    pairs_of,
)
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import Basis, Moments, moments
from qexp.simulator.protocols import Cost, Measurement, Work
from qexp.simulator.sites import Site, Split, to_sites
from qexp.simulator.states import rotation
from qexp.simulator.walk import (
    MAX_QUBITS,
    Choice,
    Read,
    Step,
    Steps,
    walk,
    with_gaps,
)

_CHUNK_SETS = 16
"""Parameter sets whose noise is kept at a time."""

_MAX_GATES = 12
"""Gates on two qubits, for each qubit, up to which few may be in use at a time: so many layers on a
line use `MAX_QUBITS`."""

_SITE_US = 500.0
"""Time of the noise of a site."""


class _Segment(NamedTuple):
    """Gates between two measurements or decisions, for some parameter sets."""

    sites: list[Site]
    splits: list[Split]
    layout: list[tuple[tuple[int, ...], list[int]]]  # qubits and sites of each block
    is_whole: bool  # all of a circuit that is sampled

    @classmethod
    def of(cls, sites: list[Site], *, is_whole: bool = False) -> _Segment:
        layout = to_swept_blocks(sites) if is_whole else to_blocks(sites)
        return cls(sites, [site.split() for site in sites], layout, is_whole)

    def steps(self, index: int) -> Steps:
        """Return the blocks for one parameter set, with gaps if nothing comes after them."""
        blocks = [
            Block(
                qubits,
                [self.sites[site].of_set(index) for site in members],
                [self.splits[site].of_set(index) for site in members],
            )
            for qubits, members in self.layout
        ]
        return with_gaps(blocks) if self.is_whole else blocks


class _Part(NamedTuple):
    """Qubits that are connected with one another and with no others."""

    places: tuple[int, ...]  # among the work's qubits
    steps: list[Any]  # `_Segment`, `Read` and `Decision`

    @property
    def width(self) -> int:
        """The most qubits of a state."""
        if len(self.places) <= MAX_QUBITS:
            return len(self.places)
        return max(widths([qubits for segment in self.steps for qubits, _ in segment.layout]))

    def of_set(self, index: int) -> Steps:
        """Return the steps for one parameter set."""
        return _of_set(self.steps, index)


def _of_set(steps: Sequence[Any], index: int) -> Steps:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, _Segment):
            found += step.steps(index)
        elif isinstance(step, Decision):
            bodies = [_of_set(body, index) for body in step.bodies]
            found.append(Choice(partial(_chosen, step.choose, bodies), bodies))
        else:
            found.append(step)
    return found


def _chosen(choose: Callable[[Bits], int | None], bodies: Sequence[Steps], bits: Bits) -> Steps:
    index = choose(bits)
    return () if index is None else bodies[index]


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
        try:
            components = _components(work, pairs_of(work))
        except UnknownFlowError as error:
            return str(error)
        widest = max((_width(work, component) for component in components), default=0)
        if widest > MAX_QUBITS:
            return (
                f"it has {widest} qubits in use at a time, and at most {MAX_QUBITS} can be walked"
            )
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
        assert work.shots is not None
        self._method = method
        self._work = work
        self._shots = work.shots
        self._flow = flow_of(work)
        self._place = {qubit: place for place, qubit in enumerate(work.qubits)}
        is_plain = work.plain is not None
        self._num_bits = 0 if is_plain else work.circuit.num_clbits
        self._components = _components(work, pairs_of(work))
        if not is_plain:
            # Classical bits may connect all.
            self._components = [tuple(chain.from_iterable(self._components))]

    @cached_property
    def cost(self) -> Cost:
        """The cost by a walk without states, of the first parameter set."""
        shots = math.ceil(self._shots * self._work.bases)
        us, size = 0.0, 0
        for part in self._parts(self._work.values[:1]):
            # Rotations into the bases are blocks of four qubits, too.
            endings = (self._work.bases - 1) * len(part.places) / 4
            num_sites = _count_sites(part.steps)
            us += predicted_us(part.of_set(0), shots, endings) + _SITE_US * num_sites
            # States, and the Kraus operators of each site on its block.
            width = 2**part.width
            size = max(size, 16 * width * (4 + shots.bit_length()) + num_sites * 2**17)
        size += shots * len(self._work.qubits) * 3
        return Cost(us * 1e-6 * len(self._work.values), size)

    def sample(
        self, generator: Callable[[int], np.random.Generator], sets: range
    ) -> Iterator[Outcomes]:
        """Yield the outcomes of each parameter set, every shot by itself."""
        for index, parts in self._of_sets(sets):
            rng = generator(index)
            (bits,) = self._walk(parts, [None], rng)
            num_qubits, num_clbits = len(self._work.qubits), self._work.circuit.num_clbits
            read = np.zeros((self._shots, num_clbits), dtype=np.uint8)
            read[:, : self._num_bits] = bits[:, num_qubits:]
            for qubit, clbit in self._flow.final:
                read[:, clbit] = self._read(bits, self._place[qubit], rng)
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
        parts: Sequence[tuple[tuple[int, ...], Steps]],
        bases: Sequence[str | None],
        rng: np.random.Generator,
    ) -> list[NDArray[np.uint8]]:
        """Return the shots in each basis; None is without rotations.

        Returns:
            Qubits and then classical bits, shape (shots, qubits + bits).
        """
        num_qubits = len(self._work.qubits)
        shape = (self._shots, num_qubits + self._num_bits)
        found = [np.empty(shape, dtype=np.uint8) for _ in bases]
        for number, (places, steps) in enumerate(parts):
            endings = [self._ending(places, letters) for letters in bases]
            walked = walk(len(places), steps, endings, self._shots, rng, self._num_bits)
            for bits, drawn in zip(found, walked, strict=True):
                # The parts are independent, so that the order within all but one is random.
                shuffled = rng.permutation(drawn) if number else drawn
                bits[:, places] = shuffled[:, : len(places)]
                bits[:, num_qubits:] = shuffled[:, len(places) :]
        return found

    def _ending(self, places: Sequence[int], letters: str | None) -> Steps:
        """Return the rotations of qubits into a basis, with their noise."""
        if letters is None:
            return ()
        rotations = [
            Site((number,), site.unitary, site.transfer)
            for number, place in enumerate(places)
            if letters[place] in "XY"
            for site in self._method.rotation(self._work.qubits[place], letters[place])
        ]
        return _Segment.of(rotations).steps(0)

    def _read(
        self, bits: NDArray[np.uint8], place: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Read out a qubit, with its errors."""
        chances = self._method.device.readout_probabilities(self._work.qubits[place])[:, 1]
        return rng.random(len(bits)) < chances[bits[:, place]]

    def _of_sets(
        self, sets: Sequence[int]
    ) -> Iterator[tuple[int, list[tuple[tuple[int, ...], Steps]]]]:
        """Yield parameter sets with the places and the steps of each part."""
        for first in range(0, len(sets), _CHUNK_SETS):
            chunk = list(sets[first : first + _CHUNK_SETS])
            parts = self._parts(self._work.values[chunk])
            for row, index in enumerate(chunk):
                yield index, [(part.places, part.of_set(row)) for part in parts]

    def _parts(self, values: NDArray[np.float64]) -> list[_Part]:
        """Return the steps of each part, for some parameter sets at once."""
        return [
            _Part(places, self._compile(self._flow.steps, places, values))
            for places in self._components
        ]

    def _compile(
        self, steps: Sequence[Any], places: tuple[int, ...], values: NDArray[np.float64]
    ) -> list[Any]:
        """Return steps with gates as sites, on some of the qubits."""
        work, method = self._work, self._method
        qubits = [work.qubits[place] for place in places]
        found: list[Any] = []
        for step in steps:
            if isinstance(step, Gates):
                args = step.instructions, step.physical, qubits, work.columns, values
                sites = to_sites(*args, method.channels)
                found.append(_Segment.of(sites, is_whole=work.is_plainly_sampled))
            elif isinstance(step, Reading):
                errors = method.device.readout_probabilities(step.qubit)
                found.append(Read((qubits.index(step.qubit),), step.bit, errors))
            else:
                bodies = [self._compile(body, places, values) for body in step.bodies]
                found.append(Decision(step.choose, bodies))
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


def _count_sites(steps: Sequence[Any]) -> int:
    return sum(
        len(step.sites)
        if isinstance(step, _Segment)
        else sum(map(_count_sites, step.bodies))
        if isinstance(step, Decision)
        else 0
        for step in steps
    )


def _width(work: Work, component: Sequence[int]) -> int:
    """Return the most qubits that are in use at a time, among connected places of the work."""
    plain = work.plain if work.is_plainly_sampled else None
    most_gates = _MAX_GATES * len(component)
    if len(component) <= MAX_QUBITS or plain is None or plain.pair_gates > most_gates:
        return len(component)
    places = {work.circuit.qubits[work.qubits[place]]: place for place in component}
    gates = [item.qubits for item in work.circuit.data if item.name != "barrier"]
    on_two = [qubits for qubits in gates if len(qubits) == 2 and qubits[0] in places]
    steps = [(places[one], places[other]) for one, other in on_two]
    return max(widths([steps[index] for index in sweep(steps)]))


def _components(work: Work, near_pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return the places of connected qubits among those of the work, neighbours close together."""
    # Narrow circuits do without.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee

    place = {qubit: number for number, qubit in enumerate(work.qubits)}
    near = sorted({(place[low], place[high]) for low, high in near_pairs})
    first, second = np.array(near, dtype=np.intp).reshape(-1, 2).T
    both = np.r_[first, second], np.r_[second, first]
    graph = csr_array((np.ones(2 * len(first)), both), (len(place), len(place)))
    _, labels = connected_components(graph)
    found: dict[int, list[int]] = {}
    for number in reverse_cuthill_mckee(graph, symmetric_mode=True).tolist():
        found.setdefault(labels[number], []).append(number)
    return [tuple(members) for members in found.values()]
