"""Shots of noisy circuits as a tree: shots with the same history are evolved together.

Where nothing happens to most shots, most of them share their evolution. The walk goes down the
circuit with a state and a number of shots. At each block of sites the number of shots to which
something happens is drawn, and the Kraus operators from the block's reduced density matrix; each
distinct history goes on by itself with its shots, the smallest group first. The shots are
independent, and their distribution is exact but for the rounding of double precision.

Of the states that wait, each has at least as many shots as all that come after it, so that there
are at most `log2(shots)` of them.

A state has only the qubits that are in use: those with a step behind them, but not those that were
measured because nothing more is done to them. Where a `Gap` lets the walk measure, it does so once
the shots cost less apart, on few qubits, than together on many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qexp.simulator.blocks import FREE_QUBITS, Block, widths
from qexp.simulator.sites import Complexes, Reals

_COLUMNS = 128
"""Columns that a block is multiplied by at a time. BLAS would use threads for more, and then its
rounding would depend on their number."""

MAX_QUBITS = 24
"""Qubits of a state: one of 256 MiB, of which there may be a dozen."""

_MEASURING = 4
"""Steps of few amplitudes that take as long as measuring qubits."""


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

    def including(self, qubits: tuple[int, ...]) -> State:
        """Return the state with some qubits in |0>, unless it has them."""
        fresh = [qubit for qubit in reversed(qubits) if qubit not in self.order]
        if not fresh:
            return self
        amplitudes = np.zeros(len(self.amplitudes) << len(fresh), dtype=complex)
        amplitudes[: len(self.amplitudes)] = self.amplitudes
        return State(amplitudes, (*fresh, *self.order))

    def outcomes(
        self, qubits: tuple[int, ...], shots: int, rng: np.random.Generator
    ) -> Iterator[tuple[int, int]]:
        """Measure qubits next to each other: yield outcomes and their numbers of shots."""
        split = self._split(qubits)
        drawn = _draw((split.real**2 + split.imag**2).sum(axis=(0, 2)), shots, rng)
        values, counts = np.unique(drawn, return_counts=True)
        yield from zip(values.tolist(), counts.tolist(), strict=True)

    def project(self, qubits: tuple[int, ...], outcome: int) -> State:
        """Return the state of the other qubits after an outcome of qubits next to each other."""
        amplitudes = self._split(qubits)[:, outcome].reshape(-1)
        norm = math.sqrt((amplitudes.real**2 + amplitudes.imag**2).sum())
        order = tuple([qubit for qubit in self.order if qubit not in qubits])
        return State(amplitudes / norm, order)

    def _split(self, qubits: tuple[int, ...]) -> Complexes:
        """Return a view with an axis of qubits next to each other: (..., 2**k, ...)."""
        before = min(self.order.index(qubit) for qubit in qubits)
        return self.amplitudes.reshape(2**before, 2 ** len(qubits), -1)

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

    def sample(self, bits: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """Measure all qubits: set their columns of `bits`, shape (shots, qubits)."""
        drawn = _draw(self.amplitudes.real**2 + self.amplitudes.imag**2, len(bits), rng)
        for place, qubit in enumerate(reversed(self.order)):
            bits[:, qubit] = (drawn >> place) & 1


def _draw(weights: Reals, shots: int, rng: np.random.Generator) -> NDArray[np.intp]:
    chances = np.cumsum(weights)
    drawn = np.searchsorted(chances, rng.random(shots) * chances[-1], side="right")
    return np.minimum(drawn, len(chances) - 1)


class Read(NamedTuple):
    """A measurement after which the circuit goes on."""

    qubits: tuple[int]
    bit: int
    errors: Reals  # probabilities [prepared, read]


class Gap(NamedTuple):
    """A place between steps where qubits that are done may be measured."""

    done: frozenset[int]  # the qubits to which nothing more is done
    ahead: int  # number of qubits to which nothing is done before
    width: int  # most qubits in use at a time from here on, if those that are done are measured
    steps: int  # number of steps from here on

    def is_worth_measuring(self, shots: Any, held: Any) -> Any:
        """Return whether shots cost less apart than on all qubits, of which some are held."""
        whole = held + self.ahead
        apart = _MEASURING + self.steps * (1 + 2.0 ** (self.width - FREE_QUBITS))
        together = self.steps * (1 + 2.0 ** (whole - FREE_QUBITS))
        return (whole > MAX_QUBITS) | (shots * apart < together)


class Choice(NamedTuple):
    """Steps that are chosen by the values of all classical bits, a byte for each."""

    choose: Callable[[bytes], Steps]
    bodies: Sequence[Steps]  # all that can be chosen


Step: TypeAlias = Block | Read | Choice | Gap
Steps: TypeAlias = Sequence[Step]


class _Branch(NamedTuple):
    """Shots with one history, which are about to enter a step."""

    shots: int
    steps: Steps
    position: int
    bits: bytes  # the classical ones
    matrix: Complexes | None = None  # in place of that of the last step; None: nothing to apply
    ending: int | None = None  # None as long as all endings are open
    measured: tuple[tuple[tuple[int, ...], int], ...] = ()  # qubits, and their outcome
    is_projected: bool = True  # False: the last of those outcomes is still to come
    is_hit: bool = False  # something happens in the next block


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
    waiting = [(State.zeros(0), [whole])]
    while waiting:
        state, branches = waiting[-1]
        branch = branches.pop()
        if not branches:
            waiting.pop()
        if branch.matrix is not None:
            before = branch.steps[branch.position - 1]
            assert isinstance(before, Block | Read)
            state = state.including(before.qubits).grouped(before.qubits)
            state = state.apply(branch.matrix, before.qubits)
        if not branch.is_projected:
            state = state.project(*branch.measured[-1])
        state, branch, following = _advance(state, branch, rng)
        if following:
            waiting.append((state, sorted(following, key=lambda one: -one.shots)))
        elif branch.ending is None:
            each = rng.multivariate_hypergeometric(remaining, branch.shots, method="marginals")
            remaining -= each
            following = [
                branch._replace(
                    shots=int(each[index]), steps=endings[index], position=0, ending=index
                )
                for index in np.flatnonzero(each).tolist()
            ]
            waiting.append((state, sorted(following, key=lambda one: -one.shots)))
        else:
            bits = np.zeros((branch.shots, num_qubits + num_bits), dtype=np.uint8)
            for qubits, outcome in branch.measured:
                bits[:, qubits] = [outcome >> place & 1 for place in range(len(qubits))]
            state.sample(bits[:, :num_qubits], rng)
            bits[:, num_qubits:] = np.frombuffer(branch.bits, dtype=np.uint8)
            found[branch.ending].append(bits)
    return [np.concatenate(some) for some in found]


def _advance(
    state: State, branch: _Branch, rng: np.random.Generator
) -> tuple[State, _Branch, list[_Branch]]:
    """Take a branch to where it divides, or to the end of its steps.

    Returns:
        The state there, the branch there, and the branches it divides into.
    """
    count, steps, position, bits = branch[:4]
    is_hit = branch.is_hit
    branch = branch._replace(matrix=None, is_projected=True, is_hit=False)
    while position < len(steps):
        step = steps[position]
        position += 1
        if isinstance(step, Choice):
            steps, position = (*step.choose(bits), *steps[position:]), 0
            continue
        if isinstance(step, Gap):
            done = [qubit for qubit in state.order if qubit in step.done]
            if not done or not step.is_worth_measuring(count, len(state.order)):
                continue
            state = state.grouped(tuple(done))
            done = [qubit for qubit in state.order if qubit in step.done]
            branch = branch._replace(position=position, is_hit=is_hit, is_projected=False)
            qubits = tuple(reversed(done))
            parts = [
                branch._replace(shots=number, measured=(*branch.measured, (qubits, outcome)))
                for outcome, number in state.outcomes(qubits, count, rng)
            ]
            return state, branch, parts
        hit = 0
        if isinstance(step, Block):
            hit = count if is_hit else int(rng.binomial(count, step.loss))
            if hit and not is_hit and _is_measured_before(state, steps, position - 1, hit):
                parts = [branch._replace(shots=hit, position=position - 2, is_hit=True)]
                if hit < count:
                    left = count - hit
                    parts += [branch._replace(shots=left, position=position, matrix=step.matrix)]
                return state, branch, parts
        state = state.including(step.qubits).grouped(step.qubits)
        if isinstance(step, Read):
            drawn = _read(step, state, count, bits, rng)
        elif hit:
            drawn = [
                (number, history, bits)
                for number, history in step.histories(state.density(step.qubits), hit, rng)
            ]
            drawn += [(count - hit, step.matrix, bits)] if hit < count else []
        else:
            state = state.apply(step.matrix, step.qubits)
            continue
        branch = branch._replace(steps=steps, position=position)
        parts = [
            branch._replace(shots=number, bits=seen, matrix=matrix)
            for number, matrix, seen in drawn
        ]
        return state, branch, parts
    return state, branch, []


def _is_measured_before(state: State, steps: Steps, position: int, shots: int) -> bool:
    """Return whether shots measure the qubits that are done before they enter a step."""
    gap = steps[position - 1] if position else None
    return (
        isinstance(gap, Gap)
        and not gap.done.isdisjoint(state.order)
        and gap.is_worth_measuring(shots, len(state.order))
    )


def with_gaps(blocks: Sequence[Block]) -> Steps:
    """Return blocks with gaps between them, for a circuit in which all measurements come last."""
    qubits = [block.qubits for block in blocks]
    using, last = widths(qubits), {one: index for index, some in enumerate(qubits) for one in some}
    steps: list[Step] = []
    done: set[int] = set()
    begun: set[int] = set()
    for index, block in enumerate(blocks):
        if done:
            ahead, left = len(last) - len(begun), len(blocks) - index
            steps.append(Gap(frozenset(done), ahead, max(using[index:]), left))
        steps.append(block)
        begun.update(block.qubits)
        done.update(qubit for qubit in block.qubits if last[qubit] == index)
    return steps


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
