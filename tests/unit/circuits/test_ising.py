from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector

from qexp.circuits.ising import ising_pubs

COUPLING, FIELD = 0.7, 1.3


def hamiltonian(num_qubits: int, periodic: bool) -> SparsePauliOp:
    bonds = [(qubit, qubit + 1) for qubit in range(num_qubits - 1)]
    if periodic:
        bonds.append((num_qubits - 1, 0))
    terms = [("ZZ", [*bond], -COUPLING) for bond in bonds]
    terms += [("X", [qubit], -FIELD) for qubit in range(num_qubits)]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=num_qubits)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("order", [1, 2])
def test_the_error_at_a_fixed_time_falls_with_the_order(
    order: Any, periodic: bool, seed_sequence: np.random.SeedSequence
) -> None:
    energies, states = np.linalg.eigh(hamiltonian(3, periodic).to_matrix())
    exact = states @ np.diag(np.exp(-1j * energies)) @ states.conj().T
    errors = []
    for steps in (20, 40):
        ((circuit, _),) = ising_pubs(
            steps=[steps],
            num_qubits=3,
            coupling=COUPLING,
            field=FIELD,
            dt=1 / steps,
            order=order,
            periodic=periodic,
            seed_sequence=seed_sequence,
        )
        assert circuit.metadata["time"] == pytest.approx(1)
        errors.append(np.linalg.norm(Operator(circuit).data - exact))
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.1)


def test_observables_are_the_magnetisation_and_one_correlator_per_bond(
    seed_sequence: np.random.SeedSequence,
) -> None:
    pubs = list(ising_pubs(steps=[0, 2], num_qubits=4, seed_sequence=seed_sequence))
    for item in pubs:
        pub = EstimatorPub.coerce(item)
        assert pub.shape == (4,)
        assert pub.circuit.metadata["observables"] == [
            "magnetisation",
            "zz_0_1",
            "zz_2_3",
            "zz_1_2",
        ]
    circuit, observables = pubs[0]
    state = Statevector(circuit)
    assert [state.expectation_value(item).real for item in observables] == pytest.approx([1] * 4)
    assert observables[1] == SparsePauliOp("IIZZ")
    assert observables[2] == SparsePauliOp("ZZII")


def test_two_qubits_have_one_bond_even_as_a_ring(seed_sequence: np.random.SeedSequence) -> None:
    ((circuit, observables),) = ising_pubs(
        steps=[1], num_qubits=2, periodic=True, seed_sequence=seed_sequence
    )
    assert circuit.count_ops()["rzz"] == 1
    assert len(observables) == 2
