"""Walks down trees of histories."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, Statevector, partial_trace, random_unitary

from qexp.simulator.blocks import Block, to_blocks
from qexp.simulator.sites import Site, split
from qexp.simulator.walk import State, count_visits, walk

DEPOLARIZING = np.diag([1, *(0.97,) * 15])


def sites(num_qubits: int, layers: int, seed: int = 1) -> list[Site]:
    return [
        Site((qubit, qubit + 1), random_unitary(4, seed=seed + 20 * layer + qubit).data, np.eye(16))
        for layer in range(layers)
        for qubit in range(layer % 2, num_qubits - 1, 2)
    ]


def blocks_of(some: list[Site], noise: NDArray[np.float64]) -> list[Block]:
    return [
        Block(qubits, [some[site] for site in members], [split(noise)] * len(members))
        for qubits, members in to_blocks(some)
    ]


def test_blocks_are_the_circuit() -> None:
    some = sites(6, 5)
    circuit, state = QuantumCircuit(6), State.zeros(6)
    for site in some:
        circuit.unitary(site.unitary, site.qubits)
    for block in blocks_of(some, np.eye(16)):
        state = state.grouped(block.qubits).apply(block.matrix, block.qubits)
    axes = [state.order.index(qubit) for qubit in reversed(range(6))]
    amplitudes = state.amplitudes.reshape((2,) * 6).transpose(axes).reshape(-1)
    np.testing.assert_allclose(amplitudes, Statevector(circuit).data, atol=1e-12)


@pytest.mark.parametrize("num_qubits", [4, 9, 12])
@pytest.mark.parametrize("qubits", [(0, 1), (1, 3), (0, 1, 2, 3), (3,)])
def test_states(num_qubits: int, qubits: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    amplitudes = rng.normal(size=2**num_qubits) + 1j * rng.normal(size=2**num_qubits)
    amplitudes /= np.linalg.norm(amplitudes)
    order = tuple(rng.permutation(num_qubits).tolist())
    axes = [order.index(qubit) for qubit in reversed(range(num_qubits))]

    def vector(state: State) -> Statevector:
        places = [state.order.index(qubit) for qubit in reversed(range(num_qubits))]
        return Statevector(state.amplitudes.reshape((2,) * num_qubits).transpose(places).ravel())

    before = Statevector(amplitudes.reshape((2,) * num_qubits).transpose(axes).reshape(-1))
    state = State(amplitudes, order).grouped(qubits)
    np.testing.assert_array_equal(vector(state).data, before.data)
    others = [qubit for qubit in range(num_qubits) if qubit not in qubits]
    expected = partial_trace(before, others).data
    np.testing.assert_allclose(state.density(qubits), expected, atol=1e-12)
    matrix = random_unitary(2 ** len(qubits), seed=3).data
    after = before.evolve(Operator(matrix), list(qubits))
    np.testing.assert_allclose(vector(state.apply(matrix, qubits)).data, after.data, atol=1e-12)


def test_every_ending_has_its_shots() -> None:
    blocks = blocks_of(sites(5, 6), DEPOLARIZING)
    flip = Block((2,), [Site((2,), np.array([[0, 1], [1, 0]]), np.eye(4))], [split(np.eye(4))])
    found = walk(5, blocks, [[], [flip]], 20_000, np.random.default_rng(4))
    assert [bits.shape for bits in found] == [(20_000, 5)] * 2
    plain, flipped = (bits.mean(axis=0) for bits in found)
    flipped[2] = 1 - flipped[2]
    np.testing.assert_allclose(plain, flipped, atol=6 * 0.5 * (2 / 20_000) ** 0.5)


def test_visits_are_predicted() -> None:
    blocks = blocks_of(sites(8, 8), DEPOLARIZING)
    applied = 0
    apply = State.apply

    def count(self: State, matrix: NDArray[np.complex128], qubits: tuple[int, ...]) -> State:
        nonlocal applied
        applied += 1
        return apply(self, matrix, qubits)

    visits, _, leaves = count_visits(blocks, 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "apply", count)
        walk(8, blocks, [[]], 1000, np.random.default_rng(5))
    # Several events in one block are not predicted.
    assert 0.5 < visits / applied < 1.1
    assert len(blocks) < leaves < 1000


DIGEST = """
import hashlib
import numpy as np
from tests.unit.simulator.test_walk import DEPOLARIZING, blocks_of, sites
from qexp.simulator.walk import walk
bits, = walk(15, blocks_of(sites(15, 6), DEPOLARIZING), [[]], 40, np.random.default_rng(6))
print(hashlib.sha256(bits.tobytes()).hexdigest())
"""


def test_threads_change_no_bit() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for count in ("1", "2", "3")
    }
    assert len(digests) == 1
