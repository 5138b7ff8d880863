"""Where the qubits of a device are drawn: rows as IBM numbers them, else by the coupling alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
_ITERATIONS = 300


def positions(num_qubits: int, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Places of the qubits; coupled ones are about 1 apart.

    Args:
        num_qubits: Number of qubits.
        pairs: Coupled qubits, each pair once.

    Returns:
        Shape (num_qubits, 2), x to the right and y downwards, from 0.
    """
    placed = _in_rows(num_qubits, pairs)
    if placed is None:
        placed = _by_distance(num_qubits, pairs)
    return placed - placed.min(axis=0)


def _in_rows(num_qubits: int, pairs: Sequence[Pair]) -> NDArray[np.float64] | None:
    """Consecutive coupled qubits as a row, each row below what it is coupled to.

    That draws lines, grids and heavy-hexagonal lattices as they are; None where it does not.
    """
    coupled = {frozenset(pair) for pair in pairs}
    neighbours: list[list[int]] = [[] for _ in range(num_qubits)]
    for a, b in pairs:
        neighbours[a].append(b)
        neighbours[b].append(a)
    places: dict[int, tuple[int, int]] = {}
    start = 0
    while start < num_qubits:
        stop = start + 1
        while stop < num_qubits and frozenset((stop - 1, stop)) in coupled:
            stop += 1
        above = [(q, n) for q in range(start, stop) for n in neighbours[q] if n in places]
        if start and not above:
            return None
        x, y = 0, 0
        if above:
            qubit, other = above[0]
            x, y = places[other][0] - (qubit - start), places[other][1] + 1
        places |= {q: (x + q - start, y) for q in range(start, stop)}
        start = stop
    if len(set(places.values())) < num_qubits:
        return None
    if any(
        abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) != 1 for a, b in pairs
    ):
        return None
    return np.array([places[q] for q in range(num_qubits)], dtype=np.float64)


def _by_distance(num_qubits: int, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """As far apart as the couplings between them are many: stress majorisation.

    Source: Gansner, Koren and North, Graph Drawing by Stress Majorization, 2004, eq. 7.
    """
    wanted = _distances(num_qubits, pairs)
    weights = np.zeros_like(wanted)
    np.divide(1.0, wanted**2, out=weights, where=wanted > 0)
    placed = _by_scaling(wanted)
    system = np.diag(weights.sum(axis=1)) - weights
    inverse = np.linalg.pinv(system)
    for _ in range(_ITERATIONS):
        gaps = placed[:, None, :] - placed[None, :, :]
        lengths = np.sqrt((gaps**2).sum(axis=2))
        factors = np.zeros_like(lengths)
        np.divide(weights * wanted, lengths, out=factors, where=lengths > 1e-9)
        moved = np.diag(factors.sum(axis=1)) - factors
        placed = inverse @ (moved @ placed)
    centred = placed - placed.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ axes.T)


def _by_scaling(wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Classical scaling of distances to the plane."""
    count = len(wanted)
    centring = np.eye(count) - 1.0 / count
    values, vectors = np.linalg.eigh(-0.5 * centring @ wanted**2 @ centring)
    largest = np.argsort(values)[::-1][:2]
    placed = vectors[:, largest] * np.sqrt(np.maximum(values[largest], 1e-6))
    if placed.shape[1] < 2:
        placed = np.hstack([placed, np.zeros((count, 1))])
    # Qubits that are equal by the coupling would stay on one point.
    return np.asarray(placed + np.random.default_rng(0).normal(0, 0.03, placed.shape))


def _distances(num_qubits: int, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Couplings between any two qubits; parts that are not connected are 2 beyond the farthest."""
    neighbours: list[set[int]] = [set() for _ in range(num_qubits)]
    for a, b in pairs:
        neighbours[a].add(b)
        neighbours[b].add(a)
    found = np.full((num_qubits, num_qubits), np.inf)
    for start in range(num_qubits):
        found[start, start] = 0
        front, distance = {start}, 0
        while front:
            distance += 1
            front = {n for q in front for n in neighbours[q] if np.isinf(found[start, n])}
            found[start, list(front)] = distance
    known = found[np.isfinite(found)]
    found[np.isinf(found)] = known.max() + 2
    return found
