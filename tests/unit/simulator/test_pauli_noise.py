from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import PTM, Choi, Operator, SuperOp
from qiskit_aer.noise import QuantumError, depolarizing_error, thermal_relaxation_error

from qexp.engines.local.backends import fake
from qexp.engines.local.lattice import lattice
from qexp.simulator.density_matrix import RESET, DensityMatrix, from_pauli, kron
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.pauli_noise import LETTERS, Mixture, PauliNoise, as_mixture, reset_masks

CHANNELS = [*map(from_pauli, "IXYZ"), RESET]
PAIRS = [kron(high, low) for high, low in product(CHANNELS, CHANNELS)]


def from_quantum_error(error: QuantumError) -> np.ndarray:
    """Transfer matrix of an error of Aer's, by Qiskit."""
    return PTM(SuperOp(error)).data.real


def matrix_of(mixture: Mixture) -> np.ndarray:
    """Transfer matrix of a mixture."""
    channels = CHANNELS if len(mixture.probabilities) == 5 else PAIRS
    return sum(p * one for p, one in zip(mixture.probabilities, channels, strict=True))


def test_depolarisation_is_a_mixture_of_paulis() -> None:
    noise = PauliNoise(DensityMatrix(NoisyDevice(lattice(2, 2, error_1q=1e-3, error_2q=1e-2))))
    single, pair = noise.of_gate("sx", (0,)), noise.of_gate("cz", (2, 3))
    assert single is not None
    assert pair is not None
    # An average infidelity e is e (d + 1) / d over all Paulis.
    np.testing.assert_allclose(single.probabilities, [1 - 1.5e-3, 5e-4, 5e-4, 5e-4, 0], atol=1e-15)
    np.testing.assert_allclose(pair.probabilities[0], 1 - 1.25e-2)
    table = pair.probabilities.reshape(5, 5)
    np.testing.assert_allclose(table[:4, :4].ravel()[1:], 1.25e-2 / 15)
    assert not table[4].any()
    assert not table[:, 4].any()
    assert single.deviation == pair.deviation == 0
    assert noise.of_gate("rz", (0,)) is None


@pytest.mark.parametrize("t2_us", [20.0, 60.0, 100.0])
def test_relaxation_with_t2_up_to_t1_is_exact(t2_us: float) -> None:
    first = thermal_relaxation_error(100.0, t2_us, 3.0)
    second = thermal_relaxation_error(80.0, t2_us / 2, 3.0)
    for error in (first, second.expand(first).compose(depolarizing_error(0.02, 2))):
        matrix = from_quantum_error(error)
        mixture = as_mixture(matrix)
        assert mixture.deviation == 0
        assert (mixture.probabilities >= 0).all()
        np.testing.assert_allclose(mixture.probabilities.sum(), 1)
        np.testing.assert_allclose(matrix_of(mixture), matrix, atol=1e-13)


def test_a_reset_is_one_of_the_first_qubit() -> None:
    error = thermal_relaxation_error(100.0, 100.0, 5.0)
    mixture = as_mixture(kron(np.eye(4), from_quantum_error(error)))
    resets = np.flatnonzero(reset_masks(2) & (mixture.probabilities > 0))
    assert [divmod(int(entry), 5) for entry in resets] == [(0, LETTERS.index("R"))]
    np.testing.assert_allclose(mixture.probabilities[resets], 1 - np.exp(-0.05))
    assert reset_masks(2)[resets].tolist() == [1]


@pytest.mark.parametrize("depolarisation", [0.0, 0.004])
def test_relaxation_with_t2_beyond_t1_is_approximated_within_the_deviation(
    depolarisation: float,
) -> None:
    error = thermal_relaxation_error(100.0, 180.0, 3.0)
    error = error.compose(depolarizing_error(depolarisation, 1))
    matrix = from_quantum_error(error)
    mixture = as_mixture(matrix)
    assert 0 < mixture.deviation < 0.01
    assert (mixture.probabilities >= 0).all()
    # Half the diamond norm bounds the change of every probability. For a difference of Paulis it is
    # the trace norm of the normalized Choi matrix.
    difference = Choi(SuperOp(PTM(matrix_of(mixture))) - SuperOp(PTM(matrix))).data / 2
    trace_norm = np.abs(np.linalg.eigvalsh(difference)).sum()
    assert trace_norm / 2 == pytest.approx(mixture.deviation)
    if not depolarisation:
        # The nearest has T2 = T1.
        expected = from_quantum_error(thermal_relaxation_error(100.0, 100.0, 3.0))
        np.testing.assert_allclose(matrix_of(mixture), expected, atol=1e-13)


def test_enough_depolarisation_makes_it_exact() -> None:
    relaxed = thermal_relaxation_error(100.0, 180.0, 3.0)
    assert (
        as_mixture(from_quantum_error(relaxed.compose(depolarizing_error(0.04, 1)))).deviation == 0
    )


def test_a_coherent_error_is_none() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(0.1, 0)
    with pytest.raises(ValueError, match="no combination of Paulis and resets"):
        as_mixture(PTM(SuperOp(Operator(circuit))).data.real)


@pytest.mark.parametrize(
    ("name", "gate", "exact", "all_gates"), [("FakeSherbrooke", "sx", 116, 127)]
)
def test_errors_of_a_real_device(name: str, gate: str, exact: int, all_gates: int) -> None:
    device = NoisyDevice(fake(name))
    noise = PauliNoise(DensityMatrix(device))
    mixtures = [noise.of_gate(gate, qubits) for qubits in device.target[gate]]
    assert len(mixtures) == all_gates
    assert sum(one is not None and one.deviation == 0 for one in mixtures) == exact


def test_a_delay_relaxes() -> None:
    device = NoisyDevice(fake("FakeManilaV2"))
    channels = DensityMatrix(device)
    noise = PauliNoise(channels)
    circuit = QuantumCircuit(1)
    circuit.delay(1000, 0, unit="dt")
    circuit.delay(1000 * device.target.dt * 1e6, 0, unit="us")
    found = [noise.of_delay(instruction, 3) for instruction in circuit.data]
    expected = channels.channel(circuit.data[0], (3,), {}, np.empty((1, 0)))
    for one in found:
        assert 0 < one.probabilities[0] < 1
        np.testing.assert_allclose(matrix_of(one), expected, atol=2 * one.deviation + 1e-12)
    still = PauliNoise(DensityMatrix(NoisyDevice(lattice(1, 2))))
    assert still.of_delay(circuit.data[0], 0).probabilities[0] == 1
