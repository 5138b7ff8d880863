from __future__ import annotations

import numpy as np
import pytest

from qexp.circuits.quantum_volume import quantum_volume_circuits


@pytest.mark.parametrize(("depth", "layers"), [(None, 4), (1, 1), (6, 6)])
def test_layers_of_two_qubit_unitaries(
    depth: int | None, layers: int, seed_sequence: np.random.SeedSequence
) -> None:
    circuits = quantum_volume_circuits(
        num_circuits=2, num_qubits=4, depth=depth, seed_sequence=seed_sequence
    )
    for circuit in circuits:
        assert circuit.count_ops()["unitary"] == layers * 2
        assert circuit.count_ops()["measure"] == 4
        assert circuit.metadata["depth"] == layers
