"""Blocks of sites that a walk applies at once, and what may happen in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from qexp.simulator.sites import Complexes, Reals, Site, Split

BLOCK_QUBITS = 4
"""Qubits of a block: wider ones cost more arithmetic, narrower ones more passes over the state."""

FREE_QUBITS = 12
"""Qubits up to which a step costs its calls rather than its arithmetic."""

_MAX_GROUPED_QUBITS = 32
"""Qubits up to which the largest of all blocks is looked for: the search takes their square."""

_NEGLIGIBLE = 1e-14
"""Rounding in the place of a 0. It would become denormal numbers, with which arithmetic is slow."""


class Block:
    """Consecutive sites on a few qubits.

    Args:
        qubits: Its qubits, ascending.
        sites: Its sites, in order.
        splits: Their noise.
    """

    def __init__(
        self, qubits: tuple[int, ...], sites: Sequence[Site], splits: Sequence[Split]
    ) -> None:
        self.qubits = qubits
        self._sites = sites
        self._splits = splits
        matrix = np.eye(2 ** len(qubits), dtype=complex)
        self._until = []
        for site in sites:
            matrix = self._embed(site.unitary, site) @ matrix
            self._until.append(matrix)
        matrix = matrix.copy()
        matrix.real[np.abs(matrix.real) < _NEGLIGIBLE] = 0.0
        matrix.imag[np.abs(matrix.imag) < _NEGLIGIBLE] = 0.0
        self.matrix = matrix
        kept = np.array([one.kept for one in splits])
        survival = np.concatenate([[1.0], np.cumprod(kept)])
        self.loss = float(1 - survival[-1])  # probability that anything happens
        self._first = survival[:-1] * (1 - kept)
        self._chances = [self._chances_from(kept[start:]) for start in range(len(sites) + 1)]
        self._kraus: dict[int, tuple[Complexes, Complexes]] = {}

    def histories(
        self, density: Complexes, shots: int, rng: np.random.Generator
    ) -> list[tuple[int, Complexes]]:
        """Draw what happens to shots to which something happens.

        Args:
            density: Reduced density matrix of the block's qubits before the block.
            shots: Number of shots.
            rng: Draws.

        Returns:
            Numbers of shots, and the normalized matrix that takes their states through the block.
        """
        counts = rng.multinomial(shots, self._first / self._first.sum())
        found = self._happening(density, np.eye(len(density), dtype=complex), counts, 0, rng)
        return [(number, self.matrix @ each) for number, each in found]

    def _happening(
        self,
        density: Complexes,
        before: Complexes,
        counts: NDArray[np.int64],
        start: int,
        rng: np.random.Generator,
    ) -> Iterator[tuple[int, Complexes]]:
        """Yield histories, in the interaction picture, of shots with a next event at each site."""
        for site in np.flatnonzero(counts):
            index = start + int(site)
            kraus, gram = self._operators(index)
            weights = np.maximum(np.einsum("kab,ba->k", gram, density).real, 0.0)
            weights /= weights.sum()
            for chosen, number in enumerate(rng.multinomial(counts[site], weights).tolist()):
                if not number:
                    continue
                after = kraus[chosen] @ density @ kraus[chosen].conj().T
                norm = np.trace(after).real
                history = kraus[chosen] @ before / math.sqrt(norm)
                further = rng.multinomial(number, self._chances[index + 1])
                if further[-1]:
                    yield int(further[-1]), history
                if further[-1] < number:
                    yield from self._happening(after / norm, history, further[:-1], index + 1, rng)

    def _operators(self, index: int) -> tuple[Complexes, Complexes]:
        """Return the Kraus operators of a site before the block, and their squares."""
        if index not in self._kraus:
            until = self._until[index]
            kraus = self._embed(self._splits[index].kraus, self._sites[index])
            kraus = until.conj().T @ kraus @ until
            self._kraus[index] = kraus, np.conj(np.swapaxes(kraus, -1, -2)) @ kraus
        return self._kraus[index]

    def _embed(self, matrices: Complexes, site: Site) -> Complexes:
        """Return matrices of a site, shape (..., d, d), on all qubits of the block."""
        width, lead = len(self.qubits), matrices.shape[:-2]
        places = [self.qubits.index(qubit) for qubit in reversed(site.qubits)]
        places += [place for place in reversed(range(width)) if place not in places]
        idle = np.eye(2 ** (width - len(site.qubits)))
        product = matrices[..., :, None, :, None] * idle[:, None, :]
        order = [places.index(place) for place in reversed(range(width))]
        axes = [*order, *(width + axis for axis in order)]
        product = product.reshape(*lead, *(2,) * (2 * width))
        product = product.transpose(*range(len(lead)), *(len(lead) + axis for axis in axes))
        return product.reshape(*lead, 2**width, 2**width)

    @cached_property
    def outcomes(self) -> Reals:
        """Probabilities of what happens, if anything does, in a state of which nothing is known."""
        weights = [
            (abs(split.kraus) ** 2).sum(axis=(-1, -2)) / split.kraus.shape[-1]
            for split in self._splits
        ]
        scales = [
            first / max(weight.sum(), _NEGLIGIBLE)
            for first, weight in zip(self._first, weights, strict=True)
        ]
        flat = np.concatenate([s * weight for s, weight in zip(scales, weights, strict=True)])
        return np.asarray(flat / flat.sum())

    @staticmethod
    def _chances_from(kept: Reals) -> Reals:
        """Return the probabilities of the next event at each site, and of none."""
        survival = np.concatenate([[1.0], np.cumprod(kept)])
        return np.append(survival[:-1] * (1 - kept), survival[-1])


def to_blocks(sites: Sequence[Site]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Group sites into few blocks of a few qubits; sites that share no qubit may change places.

    Returns:
        Qubits and indices of the sites of each block.
    """
    return _grouped(sites, range(len(sites)), candidates=None)


def to_swept_blocks(sites: Sequence[Site]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Group sites into blocks so that few qubits are in use at a time, or into few blocks.

    Returns:
        As `to_blocks`, whichever costs less if qubits are measured once they are done.
    """
    swept = _grouped(sites, sweep([site.qubits for site in sites]), candidates=1)
    if len({qubit for site in sites for qubit in site.qubits}) > _MAX_GROUPED_QUBITS:
        return swept
    return min(swept, to_blocks(sites), key=lambda blocks: _swept_cost([one[0] for one in blocks]))


def sweep(sites: Sequence[tuple[int, ...]]) -> list[int]:
    """Return an order of sites in which few qubits are in use at a time.

    One qubit after the other is taken to its end, with all that this needs: the one for which the
    fewest others have to begin, and of these the last that has begun.

    Args:
        sites: The qubits of each site.
    """
    needs: dict[int, int] = {}  # sites that a qubit's end depends on, as bits
    touches: dict[int, int] = {}  # and their qubits
    for index, qubits in enumerate(sites):
        need, touched = 1 << index, 0
        for qubit in qubits:
            need |= needs.get(qubit, 0)
            touched |= touches.get(qubit, 0) | 1 << qubit
        for qubit in qubits:
            needs[qubit], touches[qubit] = need, touched
    order: list[int] = []
    begun: dict[int, int] = {}  # when qubits begin
    done = using = 0
    remaining = sorted(needs)
    while remaining:
        fresh = [
            ((touches[qubit] & ~using).bit_count(), -begun.get(qubit, -1)) for qubit in remaining
        ]
        qubit = remaining.pop(fresh.index(min(fresh)))
        missing = needs[qubit] & ~done
        while missing:
            index = (missing & -missing).bit_length() - 1
            missing &= missing - 1
            order.append(index)
            for each in sites[index]:
                begun.setdefault(each, len(begun))
        done |= needs[qubit]
        using |= touches[qubit]
    return order


def widths(steps: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the number of qubits in use at each step, from its first to its last one."""
    last = {qubit: index for index, qubits in enumerate(steps) for qubit in qubits}
    found, using = [], set[int]()
    for index, qubits in enumerate(steps):
        using.update(qubits)
        found.append(len(using))
        using.difference_update(qubit for qubit in qubits if last[qubit] == index)
    return found


def _swept_cost(steps: Sequence[tuple[int, ...]]) -> float:
    """Return what steps cost for a single shot, in steps of few amplitudes."""
    return sum(1 + 2.0 ** (width - FREE_QUBITS) for width in widths(steps))


def _grouped(
    sites: Sequence[Site], order: Sequence[int], candidates: int | None
) -> list[tuple[tuple[int, ...], list[int]]]:
    """Group sites into the largest blocks that begin with one of the first free sites."""
    blocks = []
    remaining = list(order)
    while remaining:
        free = islice(_free(sites, remaining), candidates)
        members = max((_grow(sites, remaining, first) for first in free), key=len)
        qubits = {qubit for index in members for qubit in sites[index].qubits}
        blocks.append((tuple(sorted(qubits)), members))
        taken = set(members)
        remaining = [index for index in remaining if index not in taken]
    return blocks


def _free(sites: Sequence[Site], remaining: Sequence[int]) -> Iterator[int]:
    """Yield the sites before which no other has to come."""
    blocked: set[int] = set()
    for index in remaining:
        if blocked.isdisjoint(sites[index].qubits):
            yield index
        blocked.update(sites[index].qubits)


def _grow(sites: Sequence[Site], remaining: Sequence[int], first: int) -> list[int]:
    """Return a block that begins with a site and takes all that fit, in order."""
    taken: set[int] = set()
    blocked: set[int] = set()
    members = []
    for index in remaining:
        qubits = sites[index].qubits
        if not taken:
            fits = index == first
        else:
            fits = not taken.isdisjoint(qubits) and len(taken.union(qubits)) <= BLOCK_QUBITS
        if fits and blocked.isdisjoint(qubits):
            taken.update(qubits)
            members.append(index)
        else:
            blocked.update(qubits)
            if blocked >= taken and len(taken) == BLOCK_QUBITS:
                break
    return members
