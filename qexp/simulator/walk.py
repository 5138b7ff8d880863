"""Shots of noisy circuits as a tree: shots with the same history are evolved together.

Where nothing happens to most shots, most of them share their evolution. The walk goes down the
circuit with a state and a number of shots. At each block of sites the number of shots to which
something happens is drawn, and the Kraus operators from the block's reduced density matrix; each
distinct history goes on by itself with its shots, the smallest group first. The shots are
independent, and their distribution is exact but for the rounding of double precision.

Of the states that wait, each has at least as many shots as all that come after it, so that there
are at most `log2(shots)` of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qexp.simulator.blocks import Block
from qexp.simulator.sites import Complexes, Reals

_COLUMNS = 128
"""Columns that a block is multiplied by at a time. BLAS would use threads for more, and then its
rounding would depend on their number."""


class State(NamedTuple):
    """Amplitudes of qubits in some order."""

    amplitudes: Complexes  # shape (2**qubits,)
    order: tuple[int, ...]  # the qubit of each bit of an index, the most significant first

    @classmethod
    def zeros(cls, num_qubits: int) -> State:
        """Return all qubits in |0>."""
        amplitudes = np.zeros(2**num_qubits, dtype=complex)
        amplitudes[0] = 1.0
        return cls(amplitudes, tuple(reversed(range(num_qubits))))

    def grouped(self, qubits: tuple[int, ...]) -> State:
        """Return the state with some qubits next to each other in its order."""
        places = sorted(self.order.index(qubit) for qubit in qubits)
        if places[-1] - places[0] == len(places) - 1:
            return self
        axes = [*places, *(place for place in range(len(self.order)) if place not in places)]
        amplitudes = self.amplitudes.reshape((2,) * len(axes)).transpose(axes)
        return State(amplitudes.reshape(-1), tuple(self.order[axis] for axis in axes))

    def apply(self, matrix: Complexes, qubits: tuple[int, ...]) -> State:
        """Return a state with qubits next to each other after a matrix on these, ascending."""
        order = [qubit for qubit in self.order if qubit in qubits]
        if order != [*reversed(qubits)]:
            axes = [len(qubits) - 1 - qubits.index(qubit) for qubit in order]
            axes += [len(qubits) + axis for axis in axes]
            split = matrix.reshape((2,) * len(axes)).transpose(axes)
            matrix = split.reshape(matrix.shape)
        product = np.empty_like(self.amplitudes)
        np.matmul(matrix, self._columns(qubits), out=self._columns(qubits, product))
        return State(product, self.order)

    def density(self, qubits: tuple[int, ...]) -> Complexes:
        """Return the reduced density matrix of qubits next to each other, ascending."""
        columns = self._columns(qubits)
        before, _, size, count = columns.shape
        if count < _COLUMNS:
            # Not a product for each few columns.
            step = min(before, _COLUMNS // count)
            columns = columns.reshape(-1, step, size, count).swapaxes(1, 2)
            columns = columns.reshape(-1, 1, size, step * count)
        density = (columns @ np.conj(np.swapaxes(columns, -1, -2))).sum(axis=(0, 1))
        density = density / np.trace(density).real
        order = [qubit for qubit in self.order if qubit in qubits]
        axes = [order.index(qubit) for qubit in reversed(qubits)]
        axes += [len(qubits) + axis for axis in axes]
        split = density.reshape((2,) * len(axes)).transpose(axes)
        return np.asarray(split.reshape(density.shape))

    def _columns(self, qubits: tuple[int, ...], amplitudes: Complexes | None = None) -> Complexes:
        """Return a view with an axis of these qubits: shape (..., ..., 2**k, columns)."""
        amplitudes = self.amplitudes if amplitudes is None else amplitudes
        after = 2 ** (len(self.order) - 1 - max(self.order.index(qubit) for qubit in qubits))
        columns = min(after, _COLUMNS)
        shape = (-1, 2 ** len(qubits), after // columns, columns)
        return amplitudes.reshape(shape).swapaxes(1, 2)

    def sample(self, shots: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Measure all qubits, in the order of their numbers: shape (shots, qubits)."""
        chances = np.cumsum(self.amplitudes.real**2 + self.amplitudes.imag**2)
        drawn = np.searchsorted(chances, rng.random(shots) * chances[-1], side="right")
        drawn = np.minimum(drawn, len(chances) - 1)
        bits = np.empty((shots, len(self.order)), dtype=np.uint8)
        for place, qubit in enumerate(reversed(self.order)):
            bits[:, qubit] = (drawn >> place) & 1
        return bits


class Read(NamedTuple):
    """A measurement after which the circuit goes on."""

    qubits: tuple[int]
    bit: int
    errors: Reals  # probabilities [prepared, read]


class Choice(NamedTuple):
    """Steps that are chosen by the values of all classical bits, a byte for each."""

    choose: Callable[[bytes], Steps]
    bodies: Sequence[Steps]  # all that can be chosen


Step: TypeAlias = Block | Read | Choice
Steps: TypeAlias = Sequence[Step]


class _Branch(NamedTuple):
    """Shots with one history, which are about to enter a step."""

    shots: int
    steps: Steps
    position: int
    bits: bytes  # the classical ones
    matrix: Complexes | None = None  # in place of that of the last step; None: nothing to apply
    ending: int | None = None  # None as long as all endings are open


def walk(
    num_qubits: int,
    steps: Steps,
    endings: Sequence[Steps],
    shots: int,
    rng: np.random.Generator,
    num_bits: int = 0,
) -> list[NDArray[np.uint8]]:
    """Sample a circuit with several endings, such as rotations into measurement bases.

    Args:
        num_qubits: Number of qubits.
        steps: What all shots begin with.
        endings: What each of them ends with; an empty one for the circuit itself.
        shots: Shots of each ending.
        rng: Draws.
        num_bits: Number of classical bits, 0 at first.

    Returns:
        For each ending all qubits at the end and then all classical bits, shape
        (shots, qubits + bits), in no random order.
    """
    found: list[list[NDArray[np.uint8]]] = [[] for _ in endings]
    remaining = np.full(len(endings), shots)
    whole = _Branch(shots * len(endings), steps, 0, bytes(num_bits))
    waiting = [(State.zeros(num_qubits), [whole])]
    while waiting:
        state, branches = waiting[-1]
        branch = branches.pop()
        if not branches:
            waiting.pop()
        if branch.matrix is not None:
            before = branch.steps[branch.position - 1]
            assert not isinstance(before, Choice)
            state = state.apply(branch.matrix, before.qubits)
        state, branch, following = _advance(state, branch, rng)
        if following:
            waiting.append((state, sorted(following, key=lambda one: -one.shots)))
        elif branch.ending is None:
            each = rng.multivariate_hypergeometric(remaining, branch.shots, method="marginals")
            remaining -= each
            following = [
                _Branch(int(each[index]), endings[index], 0, branch.bits, None, index)
                for index in np.flatnonzero(each).tolist()
            ]
            waiting.append((state, sorted(following, key=lambda one: -one.shots)))
        else:
            drawn = state.sample(branch.shots, rng)
            bits = np.frombuffer(branch.bits, dtype=np.uint8)
            bits = np.broadcast_to(bits, (branch.shots, num_bits))
            found[branch.ending].append(np.concatenate([drawn, bits], axis=1))
    return [np.concatenate(some) for some in found]


def _advance(
    state: State, branch: _Branch, rng: np.random.Generator
) -> tuple[State, _Branch, list[_Branch]]:
    """Take a branch to where it divides, or to the end of its steps.

    Returns:
        The state there, the branch there, and the branches it divides into.
    """
    count, steps, position, bits, _, ending = branch
    while position < len(steps):
        step = steps[position]
        position += 1
        if isinstance(step, Choice):
            steps, position = (*step.choose(bits), *steps[position:]), 0
            continue
        state = state.grouped(step.qubits)
        if isinstance(step, Read):
            drawn = _read(step, state, count, bits, rng)
        elif hit := int(rng.binomial(count, step.loss)):
            drawn = [
                (number, history, bits)
                for number, history in step.histories(state.density(step.qubits), hit, rng)
            ]
            drawn += [(count - hit, step.matrix, bits)] if hit < count else []
        else:
            state = state.apply(step.matrix, step.qubits)
            continue
        parts = [
            _Branch(number, steps, position, seen, matrix, ending) for number, matrix, seen in drawn
        ]
        return state, branch, parts
    return state, branch._replace(bits=bits), []


def _read(
    step: Read, state: State, shots: int, bits: bytes, rng: np.random.Generator
) -> list[tuple[int, Complexes, bytes]]:
    """Measure a qubit: numbers of shots, projectors, and the bits with what was read."""
    chances = np.maximum(np.diag(state.density(step.qubits)).real, 0.0)
    chances /= chances.sum()
    drawn = []
    for outcome, number in enumerate(rng.multinomial(shots, chances).tolist()):
        projector = np.zeros((2, 2), dtype=complex)
        projector[outcome, outcome] = 1 / math.sqrt(chances[outcome] or 1.0)
        for value, part in enumerate(rng.multinomial(number, step.errors[outcome]).tolist()):
            if part:
                seen = bits[: step.bit] + bytes([value]) + bits[step.bit + 1 :]
                drawn.append((part, projector, seen))
    return drawn


def count_visits(steps: Steps, shots: int) -> tuple[int, int, int]:
    """Walk without states, to tell what a walk costs.

    Outcomes of measurements are taken as equally probable, and of what is chosen the longest.

    Returns:
        Numbers of steps that are applied, of densities that are computed, and of final states.
    """
    rng = np.random.default_rng(0)
    counts = np.array([shots])
    visits = hits = 0
    remaining = list(reversed(steps))
    while remaining:
        step = remaining.pop()
        if isinstance(step, Choice):
            remaining += reversed(max(step.bodies, key=len, default=()))
            continue
        visits += len(counts)
        if isinstance(step, Read):
            happening, split = counts, rng.multinomial(counts, step.errors.ravel() / 2).ravel()
        else:
            happening = rng.binomial(counts, step.loss)
            split = rng.multinomial(happening[happening > 0], step.outcomes).ravel()
        hits += int(np.count_nonzero(happening))
        counts = np.concatenate([counts - happening, split])
        counts = counts[counts > 0]
    return visits, hits, len(counts)
