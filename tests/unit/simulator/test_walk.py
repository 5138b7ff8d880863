"""Walks down trees of histories."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import (
    PTM,
    DensityMatrix,
    Operator,
    Statevector,
    SuperOp,
    partial_trace,
    random_unitary,
)
from scipy.stats import chisquare

from qexp.simulator.blocks import Block, sweep, to_blocks, to_swept_blocks, widths
from qexp.simulator.dry_walk import count_visits
from qexp.simulator.sites import Site, split
from qexp.simulator.walk import Gap, State, walk, with_gaps

DEPOLARIZING = np.diag([1, *(0.97,) * 15])


def sites(num_qubits: int, layers: int, seed: int = 1) -> list[Site]:
    return [
        Site((qubit, qubit + 1), random_unitary(4, seed=seed + 20 * layer + qubit).data, np.eye(16))
        for layer in range(layers)
        for qubit in range(layer % 2, num_qubits - 1, 2)
    ]


def blocks_of(
    some: list[Site], noise: NDArray[np.float64], layout: Callable[..., Any] = to_blocks
) -> list[Block]:
    return [
        Block(qubits, [some[site] for site in members], [split(noise)] * len(members))
        for qubits, members in layout(some)
    ]


@pytest.mark.parametrize("layout", [to_blocks, to_swept_blocks])
def test_blocks_are_the_circuit(layout: Callable[..., Any]) -> None:
    some = sites(6, 5)
    circuit, state = QuantumCircuit(6), State.zeros(0)
    for site in some:
        circuit.unitary(site.unitary, site.qubits)
    for block in blocks_of(some, np.eye(16), layout):
        state = state.including(block.qubits).grouped(block.qubits)
        state = state.apply(block.matrix, block.qubits)
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


@pytest.mark.parametrize(("width", "is_swept"), [(8, False), (15, True)])
def test_visits_are_predicted(width: int, is_swept: bool) -> None:
    some = sites(width, 8)
    blocks = blocks_of(some, DEPOLARIZING, to_swept_blocks if is_swept else to_blocks)
    steps = with_gaps(blocks) if is_swept else blocks
    applied = 0
    apply = State.apply

    def count(self: State, matrix: NDArray[np.complex128], qubits: tuple[int, ...]) -> State:
        nonlocal applied
        applied += 1
        return apply(self, matrix, qubits)

    visits, _, leaves = count_visits(steps, 1000)[:, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "apply", count)
        walk(width, steps, [[]], 1000, np.random.default_rng(5))
    # Several events in one block are not predicted.
    assert 0.5 < visits / applied < 1.1
    assert len(blocks) < leaves < 1000


def test_a_sweep_has_few_qubits_in_use() -> None:
    pairs = [site.qubits for site in sites(40, 6)]
    order = sweep(pairs)
    assert sorted(order) == list(range(len(pairs)))
    for qubit in range(40):
        mine = [index for index in order if qubit in pairs[index]]
        assert mine == sorted(mine)
    assert max(widths(pairs)) > 30
    assert max(widths([pairs[index] for index in order])) <= 8
    assert max(widths([qubits for qubits, _ in to_swept_blocks(sites(40, 6))])) <= 10


def test_a_sweep_follows_a_branch_to_its_end() -> None:
    pairs = [((qubit - 1) // 2, qubit) for qubit in range(1, 127)]
    assert max(widths(pairs)) == 33
    assert max(widths([pairs[index] for index in sweep(pairs)])) == 7


@pytest.mark.parametrize("is_early", [False, True])
def test_qubits_may_be_measured_once_they_are_done(
    is_early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gap, "is_worth_measuring", lambda *_: is_early)
    width, shots, some = 7, 50_000, sites(7, 3)
    error = SuperOp(PTM(DEPOLARIZING))
    density = DensityMatrix.from_label("0" * width)
    for site in some:
        density = density.evolve(Operator(site.unitary), list(site.qubits))
        density = density.evolve(error, list(site.qubits))
    steps = with_gaps(blocks_of(some, DEPOLARIZING, to_swept_blocks))
    assert any(isinstance(step, Gap) for step in steps)
    (bits,) = walk(width, steps, [()], shots, np.random.default_rng(8))
    observed = np.bincount(bits @ (1 << np.arange(width)), minlength=2**width)
    assert chisquare(observed, shots * density.probabilities()).pvalue > 1e-3


def test_a_long_chain_is_walked_on_few_qubits() -> None:
    """A GHZ state of 100 qubits: the amplitudes of all would fit no memory."""
    hadamard = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    cx = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=complex)
    some = [Site((qubit, qubit + 1), cx, np.eye(16)) for qubit in range(99)]
    some[0] = Site((0, 1), cx @ np.kron(np.eye(2), hadamard), np.eye(16))
    steps = with_gaps(blocks_of(some, np.eye(16), to_swept_blocks))
    (bits,) = walk(100, steps, [()], 1000, np.random.default_rng(9))
    assert bits.shape == (1000, 100)
    assert (bits == bits[:, :1]).all()
    assert 400 < bits[:, 0].sum() < 600


DIGEST = """
import hashlib
import numpy as np
from tests.unit.simulator.test_walk import DEPOLARIZING, blocks_of, sites
from qexp.simulator.blocks import to_swept_blocks
from qexp.simulator.walk import walk, with_gaps
some = sites(15, 6)
bits, = walk(15, blocks_of(some, DEPOLARIZING), [[]], 40, np.random.default_rng(6))
print(hashlib.sha256(bits.tobytes()).hexdigest())
swept = with_gaps(blocks_of(some, DEPOLARIZING, to_swept_blocks))
bits, = walk(15, swept, [[]], 400, np.random.default_rng(6))
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
