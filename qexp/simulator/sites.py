"""Noisy circuits as sites: a unitary on one or two qubits, followed by its noise.

Gates on one qubit are multiplied into the next gate on two, and consecutive gates on one pair into
one site, noise included. The noise of a site is split by the Cholesky factor of its chi matrix, in
the basis of Pauli operators with the identity last. The columns are Kraus operators, and the last
one is `sqrt(p)` times the identity, for the largest p there is. So nothing happens to the state
with probability p, whatever the state is: true of every channel, also of relaxation with T2 > T1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CircuitInstruction, Qubit

from qexp.simulator.density_matrix import DensityMatrix, from_unitary, kron, paulis, unitary

Complexes: TypeAlias = NDArray[np.complex128]
Reals: TypeAlias = NDArray[np.float64]

_SWAPPED = [0, 2, 1, 3]
_SWAPPED_PAULIS = [4 * (i % 4) + i // 4 for i in range(16)]

_SMALLEST_PIVOT = 1e-13
"""Pivots below this are rounding, which is about 1e-16 in the entries of a chi matrix."""


class Split(NamedTuple):
    """A channel as one that does nothing, or else one of some Kraus operators."""

    kept: Reals  # probability that nothing happens, shape (...)
    kraus: Complexes  # the operators of what else happens, shape (..., d**2 - 1, d, d)

    def of_set(self, index: int) -> Split:
        """Return the split for one parameter set."""
        return self if self.kraus.ndim == 3 else Split(self.kept[index], self.kraus[index])


@dataclass
class Site:
    """A unitary and its noise, alike for all parameter sets or with a leading axis of them."""

    qubits: tuple[int, ...]  # the first is the least significant
    unitary: Complexes  # (..., d, d)
    transfer: Reals  # Pauli transfer matrix, noise included: (..., d**2, d**2)

    def follow(self, other: Site) -> None:
        """Append a site on the same qubits, or on one of them."""
        later = other.embedded(self.qubits)
        self.unitary = later.unitary @ self.unitary
        self.transfer = later.transfer @ self.transfer

    def embedded(self, qubits: tuple[int, ...]) -> Site:
        """Return the site on these qubits, its own among them."""
        if qubits == self.qubits:
            return self
        if len(qubits) == len(self.qubits):
            matrix = self.unitary[..., _SWAPPED, :][..., _SWAPPED]
            transfer = self.transfer[..., _SWAPPED_PAULIS, :][..., _SWAPPED_PAULIS]
            return Site(qubits, matrix, transfer)
        idle = nothing(qubits[1 - qubits.index(self.qubits[0])])
        low, high = (self, idle) if self.qubits[0] == qubits[0] else (idle, self)
        return _beside(low, high)

    def of_set(self, index: int) -> Site:
        """Return the site for one parameter set."""
        varies = self.unitary.ndim == 3
        return Site(self.qubits, self.unitary[index], self.transfer) if varies else self

    def split(self) -> Split:
        """Split the noise that follows the unitary."""
        return split(self.transfer @ np.swapaxes(from_unitary(self.unitary), -1, -2))


def nothing(qubit: int) -> Site:
    """Return a site that leaves a qubit alone."""
    return Site((qubit,), np.eye(2, dtype=complex), np.eye(4))


def _beside(low: Site, high: Site) -> Site:
    product = high.unitary[..., :, None, :, None] * low.unitary[..., None, :, None, :]
    matrix = product.reshape(*product.shape[:-4], 4, 4)
    return Site((low.qubits[0], high.qubits[0]), matrix, kron(high.transfer, low.transfer))


@dataclass
class SiteList:
    """Sites in the order of a circuit, into which further ones are merged."""

    sites: list[Site] = field(default_factory=list)
    _pending: dict[int, Site] = field(default_factory=dict)
    _last: dict[int, Site] = field(default_factory=dict)

    def add(self, site: Site) -> None:
        """Add a site."""
        if len(site.qubits) == 1:
            qubit = site.qubits[0]
            if qubit in self._pending:
                self._pending[qubit].follow(site)
            else:
                self._pending[qubit] = Site(site.qubits, site.unitary, site.transfer)
            return
        low, high = site.qubits
        if low in self._pending or high in self._pending:
            before = [
                self._pending.pop(qubit) if qubit in self._pending else nothing(qubit)
                for qubit in site.qubits
            ]
            merged = _beside(*before)
            merged.follow(site)
        else:
            merged = Site(site.qubits, site.unitary, site.transfer)
        last = self._last.get(low)
        if last is not None and last is self._last.get(high):
            last.follow(merged)
        else:
            self.sites.append(merged)
            self._last[low] = self._last[high] = merged

    def flush(self) -> list[Site]:
        """Return the sites; what is added later is merged into none of them."""
        for qubit, site in self._pending.items():
            last = self._last.get(qubit)
            if last is None:
                self.sites.append(site)
            else:
                last.follow(site)
        done = self.sites
        self.sites, self._pending, self._last = [], {}, {}
        return done


def to_sites(
    instructions: Iterable[CircuitInstruction],
    physical: Mapping[Qubit, int],
    qubits: Sequence[int],
    columns: Mapping[Any, int],
    values: Reals,
    device: DensityMatrix,
) -> list[Site]:
    """Return gates, resets and delays as merged sites.

    Args:
        instructions: The instructions; barriers and measurements are passed over.
        physical: The device's number of each qubit.
        qubits: The device's qubits that are simulated; sites count these from 0.
        columns: Column of `values` of each parameter.
        values: Parameter sets, shape (sets, parameters).
        device: Gives the transfer matrices.
    """
    local = {qubit: index for index, qubit in enumerate(qubits)}
    merged = SiteList()
    for instruction in instructions:
        if instruction.name in {"barrier", "measure"}:
            continue
        where = tuple([physical[qubit] for qubit in instruction.qubits])
        if not all(qubit in local for qubit in where):
            # A delay on an idle qubit.
            continue
        transfer = device.channel(instruction, where, columns, values)
        matrix = unitary(instruction, columns, values)
        merged.add(Site(tuple([local[qubit] for qubit in where]), matrix, transfer))
    return merged.flush()


def split(transfer: Reals) -> Split:
    """Split channels into "nothing happens" and Kraus operators of the rest.

    Example:
        >>> kept, kraus = split(np.diag([1, 0.9, 0.9, 0.9]))  # depolarizing
        >>> kept
        0.925

    Args:
        transfer: Pauli transfer matrices of channels on one or two qubits, shape (..., d**2, d**2).
    """
    size = transfer.shape[-1]
    basis, to_chi = paulis(round(size**0.5)), _to_chi(size)
    flat = transfer.reshape(*transfer.shape[:-2], size * size)
    # By einsum, because the rounding of BLAS depends on its number of threads.
    chi = np.einsum("ab,...b->...a", to_chi, flat).reshape(transfer.shape)
    # From the identity first to the identity last.
    rest = (chi + np.conj(np.swapaxes(chi, -1, -2)))[..., ::-1, ::-1] / 2
    factor = np.zeros_like(rest)
    for column in range(size):
        pivot = rest[..., column, column].real
        is_large = pivot > _SMALLEST_PIVOT
        scale = np.where(is_large, 1 / np.sqrt(np.where(is_large, pivot, 1.0)), 0.0)
        factor[..., column:, column] = rest[..., column:, column] * scale[..., None]
        lower = factor[..., column]
        rest = rest - lower[..., :, None] * np.conj(lower[..., None, :])
    kraus = np.einsum("...ik,iab->...kab", factor[..., :-1], basis[::-1])
    return Split(np.minimum(factor[..., -1, -1].real ** 2, 1.0), kraus)


@cache
def _to_chi(size: int) -> Complexes:
    """Return the matrix from transfer matrices to chi matrices, both flat.

    R_ab = sum_ij chi_ij tr(P_a P_i P_b P_j) / d, and the inverse of this map is its adjoint over
    d**2.
    """
    basis = paulis(round(size**0.5))
    traces = np.einsum("axy,iyz,bzw,jwx->abij", basis, basis, basis, basis, optimize=True)
    flat = traces.reshape(size * size, size * size)
    return np.asarray(flat.conj().T / basis.shape[1] ** 3)
