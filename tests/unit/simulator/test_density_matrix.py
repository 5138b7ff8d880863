from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit.library import CXGate, ECRGate, RZGate, UGate
from qiskit.quantum_info import PTM, SuperOp

from qexp.simulator.density_matrix import from_unitary, rz


def by_qiskit(channel: object) -> np.ndarray:
    return PTM(SuperOp(channel)).data.real


@pytest.mark.parametrize("gate", [CXGate(), ECRGate(), UGate(0.1, 0.2, 0.3)])
def test_unitaries_as_qiskit_has_them(gate: object) -> None:
    np.testing.assert_allclose(from_unitary(gate.to_matrix()), by_qiskit(gate), atol=1e-12)


def test_rz_of_one_angle_and_of_many() -> None:
    angles = np.array([0.0, 0.3, -2.0])
    expected = [by_qiskit(RZGate(angle)) for angle in angles]
    np.testing.assert_allclose(rz(angles), expected, atol=1e-12)
    np.testing.assert_allclose(rz(0.3), expected[1], atol=1e-12)
