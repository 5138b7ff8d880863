"""Walks without states, with numbers of shots alone: what a walk costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.simulator.sites import Reals
from qexp.simulator.walk import Choice, Gap, Read, Steps

_MAX_SHOTS = 8192
"""Shots of a walk without states; for more the cost is taken as linear."""

_MAX_BITS = 4
"""Qubits whose outcomes are told apart, each time that some are measured."""


class _Step(NamedTuple):
    """Time of a step: a constant, and a multiple of the number of amplitudes."""

    constant_us: float
    amplitude_us: float

    def us(self, times: Reals) -> float:
        """Return the time of a number of steps with some amplitudes in all."""
        number, amplitudes = times.tolist()
        return self.constant_us * number + self.amplitude_us * amplitudes


_BLOCK = _Step(25.0, 0.005)
_HIT = _Step(100.0, 0.004)
_LEAF = _Step(40.0, 0.006)


def predicted_us(steps: Steps, shots: int, endings: float = 0.0) -> float:
    """Return about how long a walk takes.

    Args:
        steps: What it walks.
        shots: Number of shots.
        endings: Further steps for each final state.
    """
    walked = min(shots, _MAX_SHOTS)
    blocks, hits, leaves = count_visits(steps, walked)
    us = _BLOCK.us(blocks + endings * leaves) + _HIT.us(hits) + _LEAF.us(leaves)
    return us * shots / walked


def count_visits(steps: Steps, shots: int) -> NDArray[np.float64]:
    """Walk without states, to tell what a walk costs.

    Outcomes of measurements are taken as equally probable, and of what is chosen the longest.

    Returns:
        Rows of steps that are applied, of densities that are computed, and of final states: their
        number, and that of their amplitudes.
    """
    rng = np.random.default_rng(0)
    counts, held = np.array([shots]), np.array([0])
    visited = np.zeros((3, 2))
    begun: set[int] = set()
    gap, kept = None, 0
    remaining = list(reversed(steps))
    while remaining:
        step = remaining.pop()
        if isinstance(step, Choice):
            remaining += reversed(max(step.bodies, key=len, default=()))
            continue
        if isinstance(step, Gap):
            gap, kept = step, len(begun - step.done)
            splits = (held > kept) & step.is_worth_measuring(counts, held)
            if splits.any():
                ways = 2 ** min(int(held[splits].min()) - kept, _MAX_BITS)
                split = rng.multinomial(counts[splits], np.full(ways, 1 / ways)).ravel()
                held = np.concatenate([held[~splits], np.full(len(split), kept)])
                counts = np.concatenate([counts[~splits], split])
                counts, held = counts[counts > 0], held[counts > 0]
            continue
        if isinstance(step, Read):
            happening, ways = counts, step.errors.ravel() / 2
        else:
            happening, ways = rng.binomial(counts, step.loss), step.outcomes
        fresh = len(set(step.qubits) - begun)
        begun.update(step.qubits)
        is_hit = happening > 0
        is_apart = is_hit & (held > kept)
        is_apart &= gap is not None and gap.is_worth_measuring(happening, held)
        is_together = is_hit & ~is_apart
        split = rng.multinomial(happening[is_together], ways)
        # Of those that are measured first, each is taken as different.
        alone = np.ones(happening[is_apart].sum(), dtype=int)
        _add(visited[1], held[is_together] + fresh)
        _add(visited[1], held[is_apart])
        _add(visited[1], kept + fresh + 0 * alone)
        split_held = np.repeat(held[is_together], len(ways))
        counts = np.concatenate([counts - happening, split.ravel(), alone])
        held = np.concatenate([held, split_held, kept + 0 * alone])[counts > 0] + fresh
        counts = counts[counts > 0]
        _add(visited[0], held)
    _add(visited[2], held)
    return visited


def _add(row: Reals, qubits: NDArray[np.intp]) -> None:
    row += len(qubits), (2.0**qubits).sum()
