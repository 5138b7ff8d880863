"""Channels are split into "nothing happens" and what else may happen, and add up again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import PTM, Kraus, SuperOp, random_quantum_channel
from qiskit_aer.noise import (
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    thermal_relaxation_error,
)

from qexp.engines.local.backends import fake
from qexp.simulator.density_matrix import RESET, DensityMatrix
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.sites import split, to_sites


def transfer(channel: Any) -> NDArray[np.float64]:
    return np.asarray(PTM(SuperOp(channel)).data.real)


def sum_of(kept: Any, kraus: NDArray[np.complex128]) -> NDArray[np.float64]:
    """The transfer matrix of the parts of a channel."""
    size = kraus.shape[-1]
    return transfer(Kraus([math.sqrt(kept) * np.eye(size), *kraus]))


def assert_adds_up(matrix: NDArray[np.float64], atol: float = 1e-7) -> float:
    kept, kraus = split(matrix)
    np.testing.assert_allclose(sum_of(kept, kraus), matrix, atol=atol)
    # What else happens does so with probability 1 - kept in every state.
    happening = np.einsum("kba,kbc->ac", kraus.conj(), kraus)
    np.testing.assert_allclose(happening, (1 - kept) * np.eye(kraus.shape[-1]), atol=atol)
    return float(kept)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4]), st.integers(1, 8), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_channels_add_up(seed: int, size: int, rank: int, share: float) -> None:
    random = transfer(random_quantum_channel(size, size, rank=min(rank, size**2), seed=seed))
    kept = assert_adds_up(share * np.eye(size**2) + (1 - share) * random)
    assert share - 1e-7 <= kept <= 1


TWO_QUBITS = thermal_relaxation_error(1e-4, 1.8e-4, 1e-6).tensor(
    thermal_relaxation_error(2e-4, 1e-4, 1e-6)
)


@pytest.mark.parametrize(
    ("channel", "kept"),
    [
        (depolarizing_error(0.1, 1), 0.925),
        (depolarizing_error(0.1, 2), 1 - 0.1 * 15 / 16),
        (depolarizing_error(4 / 3, 1), 0.0),
        (amplitude_damping_error(0.3), None),
        (thermal_relaxation_error(1e-4, 2e-4, 1e-5), None),
        (thermal_relaxation_error(1e-4, 1.5e-4, 1e-5), None),
        (TWO_QUBITS.compose(depolarizing_error(0.01, 2)), None),
        (coherent_unitary_error(np.diag([1, np.exp(0.1j)])), 0.0),
        (Kraus(np.eye(4)), 1.0),
    ],
)
def test_known_errors(channel: Any, kept: float | None) -> None:
    found = assert_adds_up(transfer(channel))
    assert kept is None or found == pytest.approx(kept, abs=1e-7)


def test_a_reset_always_happens() -> None:
    assert assert_adds_up(RESET) == pytest.approx(0, abs=1e-12)


def test_no_larger_probability_would_do() -> None:
    matrix = transfer(thermal_relaxation_error(1e-4, 1.7e-4, 1e-5))
    kept, _ = split(matrix)
    rest = (matrix - (kept + 1e-4) * np.eye(4)) / (1 - kept - 1e-4)
    assert (
        np.linalg.eigvalsh(
            SuperOp(PTM(rest)).data.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
        ).min()
        < 0
    )


def test_many_channels_are_split_at_once() -> None:
    matrices = np.array([transfer(depolarizing_error(p, 2)) for p in (0.0, 0.1, 0.3)])
    kept, kraus = split(matrices)
    for index, matrix in enumerate(matrices):
        alone = split(matrix)
        assert kept[index] == alone.kept
        np.testing.assert_array_equal(kraus[index], alone.kraus)


@pytest.mark.parametrize("name", ["FakeManilaV2", "FakeTorino"])
def test_sites_are_the_circuit(name: str) -> None:
    backend = fake(name)
    gate = "cx" if name == "FakeManilaV2" else "cz"
    angle = Parameter("a")
    circuit = QuantumCircuit(backend.num_qubits)
    for _ in range(2):
        circuit.sx([0, 1])
        circuit.rz(angle, 1)
        getattr(circuit, gate)(0, 1)
        circuit.x(0)
        getattr(circuit, gate)(1, 0)
        circuit.delay(500, 1)
    circuit.reset(0)
    channels = DensityMatrix(NoisyDevice(backend))
    physical = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    values = np.array([[0.3], [1.2]])
    columns = {angle: 0}
    (site,) = to_sites(circuit.data, physical, (0, 1), columns, values, channels)
    assert site.qubits in {(0, 1), (1, 0)}
    expected = np.eye(16)
    for instruction in circuit.data:
        where = tuple(physical[qubit] for qubit in instruction.qubits)
        matrix = channels.channel(instruction, where, columns, values)
        matrix = np.broadcast_to(matrix, (2, *matrix.shape[-2:]))
        if len(where) == 1:
            idle = np.eye(4)
            matrix = np.array(
                [np.kron(idle, m) if where == (0,) else np.kron(m, idle) for m in matrix]
            )
        elif where == (1, 0):
            order = [4 * (i % 4) + i // 4 for i in range(16)]
            matrix = matrix[:, order][:, :, order]
        expected = matrix @ expected
    np.testing.assert_allclose(site.embedded((0, 1)).transfer, expected, atol=1e-12)
