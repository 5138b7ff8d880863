from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import CXGate, ECRGate, RZGate, UGate
from qiskit.quantum_info import PTM, SuperOp, random_quantum_channel
from qiskit_aer.noise import (
    QuantumError,
    amplitude_damping_error,
    depolarizing_error,
    pauli_error,
    reset_error,
    thermal_relaxation_error,
)

from qexp.engines.local.backends import fake
from qexp.simulator.density_matrix import from_quantum_error, from_unitary, rz
from qexp.simulator.noise import NoisyDevice


def by_qiskit(channel: object) -> np.ndarray:
    return PTM(SuperOp(channel)).data.real


def three_qubits() -> QuantumError:
    circuit = QuantumCircuit(3)
    circuit.x(1)
    circuit.cx(2, 0)
    return QuantumError([(circuit, 0.25), (QuantumCircuit(3), 0.75)])


@pytest.mark.parametrize(
    "error",
    [
        thermal_relaxation_error(100.0, 120.0, 30.0, 0.1),
        thermal_relaxation_error(100.0, 180.0, 30.0),
        thermal_relaxation_error(100.0, 80.0, 30.0).tensor(thermal_relaxation_error(9.0, 8.0, 3.0)),
        depolarizing_error(0.1, 2).compose(
            thermal_relaxation_error(9.0, 8.0, 3.0).expand(
                thermal_relaxation_error(100.0, 120.0, 30.0)
            )
        ),
        amplitude_damping_error(0.2),
        reset_error(0.1, 0.2),
        pauli_error([("XYZ", 0.25), ("ZII", 0.75)]),
        QuantumError(random_quantum_channel(4, seed=3)),
        three_qubits(),
    ],
)
def test_errors_as_qiskit_has_them(error: QuantumError) -> None:
    np.testing.assert_allclose(from_quantum_error(error), by_qiskit(error), atol=1e-12)


@pytest.mark.parametrize("name", ["FakeManilaV2", "FakeTorino"])
def test_the_errors_of_a_device(name: str) -> None:
    backend = fake(name)
    device = NoisyDevice(backend)
    gates = [
        (gate, where)
        for gate in backend.target.operation_names
        for where in list(backend.target[gate] or ())[:3]
        if where is not None
    ]
    errors = [error for gate in gates if (error := device.gate_error(*gate)) is not None]
    assert errors
    for error in errors:
        np.testing.assert_allclose(
            from_quantum_error(error.error), by_qiskit(error.error), atol=1e-12
        )


@pytest.mark.parametrize("gate", [CXGate(), ECRGate(), UGate(0.1, 0.2, 0.3)])
def test_unitaries_as_qiskit_has_them(gate: object) -> None:
    np.testing.assert_allclose(from_unitary(gate.to_matrix()), by_qiskit(gate), atol=1e-12)


def test_rz_of_one_angle_and_of_many() -> None:
    angles = np.array([0.0, 0.3, -2.0])
    expected = [by_qiskit(RZGate(angle)) for angle in angles]
    np.testing.assert_allclose(rz(angles), expected, atol=1e-12)
    np.testing.assert_allclose(rz(0.3), expected[1], atol=1e-12)
