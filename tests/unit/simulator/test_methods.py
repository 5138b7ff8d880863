from __future__ import annotations

import pytest
from qiskit import QuantumCircuit

from qexp.simulator.circuits import as_plain
from qexp.simulator.methods import cheapest_trajectories, is_density_matrix_cheaper


@pytest.mark.parametrize(("width", "shots", "exact"), [(5, 100, True), (11, 1, False)])
def test_the_density_matrix_is_for_narrow_circuits_with_many_shots(
    width: int, shots: int, exact: bool
) -> None:
    circuit = QuantumCircuit(width)
    for qubit in range(width - 1):
        circuit.cz(qubit, qubit + 1)
    circuit.measure_all()
    plain = as_plain(circuit)
    assert plain is not None
    assert is_density_matrix_cheaper(plain, shots) is exact


def test_wide_circuits_of_little_entanglement_are_matrix_product_states() -> None:
    chain = QuantumCircuit(20)
    for qubit in range(19):
        chain.cz(qubit, qubit + 1)
    dense = QuantumCircuit(20)
    for _ in range(20):
        for qubit in range(19):
            dense.cz(qubit, qubit + 1)
    assert cheapest_trajectories(chain) == "matrix_product_state"
    assert cheapest_trajectories(dense) == "statevector"
    assert cheapest_trajectories(QuantumCircuit(100)) == "matrix_product_state"
    assert cheapest_trajectories(QuantumCircuit(1)) == "statevector"
