from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit import Parameter
from qiskit.circuit.library import CXGate, ECRGate, RZGate, UGate
from qiskit.quantum_info import PTM, SuperOp

from qexp.simulator.density_matrix import _angles, from_unitary, rz


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


def test_an_angle_does_not_depend_on_the_parameter_sets_around_it() -> None:
    parameters = [Parameter(f"p{index}") for index in range(5)]
    expression = sum((0.3 * (k + 1) * one for k, one in enumerate(parameters)), 0.1)
    columns = {parameter: index for index, parameter in enumerate(parameters)}
    values = np.random.default_rng(1).uniform(-3, 3, (150, 5))
    angles = _angles(expression, columns, values)
    for first in range(150):
        part = _angles(expression, columns, values[first : first + 50])
        np.testing.assert_array_equal(part, angles[first : first + 50])
