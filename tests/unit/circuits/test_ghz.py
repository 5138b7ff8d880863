from __future__ import annotations

from math import ceil, log2
from typing import Any

import numpy as np
import pytest
from qiskit.quantum_info import Statevector

from qexp.circuits.ghz import ghz_circuits


@pytest.mark.parametrize("method", ["linear", "log"])
@pytest.mark.parametrize("num_qubits", [2, 3, 4, 5, 7, 8, 9])
def test_the_state_is_ghz(
    method: Any, num_qubits: int, seed_sequence: np.random.SeedSequence
) -> None:
    (circuit,) = ghz_circuits(num_qubits=num_qubits, method=method, seed_sequence=seed_sequence)
    bare = circuit.remove_final_measurements(inplace=False)
    ideal = np.zeros(2**num_qubits)
    ideal[[0, -1]] = 2**-0.5
    assert np.allclose(Statevector(bare).data, ideal)
    entangling = num_qubits - 1 if method == "linear" else ceil(log2(num_qubits))
    assert bare.depth() == 1 + entangling


def test_sizes_alternate_within_each_repetition(seed_sequence: np.random.SeedSequence) -> None:
    circuits = list(ghz_circuits(num_qubits=[2, 4], num_circuits=2, seed_sequence=seed_sequence))
    assert [circuit.num_qubits for circuit in circuits] == [2, 4, 2, 4]
    assert [circuit.metadata["repetition"] for circuit in circuits] == [0, 0, 1, 1]
    assert [circuit.name for circuit in circuits][-1] == "ghz_0003"
