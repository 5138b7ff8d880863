from __future__ import annotations

from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import PauliList

from qexp.simulator.observables import (
    Basis,
    all_outcomes,
    broadcast,
    count_circuits,
    group_into_bases,
    moments,
    restricted_observables,
    selections,
    shots_for,
    support,
)

SHAPES = [
    ((), ()),
    ((), (3,)),
    ((3,), ()),
    ((3,), (3,)),
    ((3, 1), (4,)),
    ((4,), (3, 1)),
    ((2, 1, 3), (4, 1)),
    ((1,), (1, 1)),
    ((2, 2), (2, 2)),
]


def pub_of(observables: Any, values_shape: tuple[int, ...] = (), num_qubits: int = 2) -> Any:
    circuit = QuantumCircuit(num_qubits)
    circuit.rx(Parameter("a"), 0)
    return EstimatorPub.coerce((circuit, observables, np.zeros((*values_shape, 1))))


@pytest.mark.parametrize(("observables", "values"), SHAPES)
def test_sets_and_observables_are_paired_by_broadcasting(
    observables: tuple[int, ...], values: tuple[int, ...]
) -> None:
    pub = pub_of(np.full(observables, "ZZ").tolist(), values)
    which_observable = np.arange(pub.observables.size).reshape(observables)
    which_set = np.arange(pub.parameter_values.size).reshape(values)
    expected = [(int(s), int(o)) for s, o in np.broadcast(which_set, which_observable)]
    paired = broadcast(pub)
    assert paired[0].shape == paired[1].shape == pub.shape
    assert list(zip(*(one.ravel().tolist() for one in paired), strict=True)) == expected
    selected = selections(pub)
    found: list[Any] = [None] * pub.size
    for number, (row, places) in enumerate(zip(selected.of_set, selected.positions, strict=True)):
        for observable, place in zip(selected.observables[row], places, strict=True):
            found[place] = (number, int(observable))
    assert found == expected
    assert len(np.unique(selected.observables, axis=0)) == len(selected.observables)


@pytest.mark.parametrize(
    ("observables", "values", "circuits"),
    [
        ("ZZ", (), 1),
        (["ZZ", "IZ", "XX"], (), 2),
        # Each of four sets meets all three bases.
        ([[{"ZZ": 1, "XX": 1, "IZ": 1}, "YY"]], (4, 1), 12),
        # Each of three sets has an observable of its own; the last one needs two bases.
        (["ZZ", "XX", {"ZI": 1, "XI": 1}], (3,), 4),
        (["01", "+Z", "rl", "0-", "1I"], (), 4),
    ],
)
def test_circuits_are_the_bases_of_every_parameter_set(
    observables: Any, values: tuple[int, ...], circuits: int
) -> None:
    assert count_circuits(pub_of(observables, values)) == circuits


def test_precision_becomes_shots() -> None:
    assert [shots_for(precision) for precision in (1.0, 0.1, 0.03, 1 / 64)] == [1, 100, 1112, 4096]


def test_observables_are_cut_to_the_qubits_on_which_they_act() -> None:
    pub = pub_of([{"ZIIIX": 0.5, "IIIII": 2}, "IIIYI"], num_qubits=5)
    assert support(pub) == {0, 1, 4}
    assert restricted_observables(pub, (0, 1, 4)) == [{"XIZ": 0.5, "III": 2.0}, {"IYI": 1.0}]


@given(st.sets(st.text("IXYZ", min_size=4, max_size=4), min_size=1, max_size=20))
def test_every_term_is_in_one_basis_that_measures_it(terms: set[str]) -> None:
    found = group_into_bases(frozenset(terms))
    assert sorted(term for basis in found for term in basis.terms) == sorted(terms)
    for basis in found:
        for term in basis.terms:
            assert all(letter in {"I", at} for letter, at in zip(term, basis.letters, strict=True))
        # Nothing is measured in vain.
        for qubit, letter in enumerate(basis.letters):
            assert letter in {term[qubit] for term in basis.terms}
    assert len(found) == len(PauliList(sorted(terms)).group_commuting(qubit_wise=True))


def test_projectors_share_the_basis_of_their_pauli() -> None:
    (basis,) = group_into_bases(frozenset({"0+", "1I", "ZX", "I-"}))
    assert basis.letters == "ZX"


def test_outcomes_count_up_from_the_first_measured_qubit() -> None:
    table = all_outcomes(Basis("XIZ", ()).measured, 3)
    assert table.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]]


OPERATORS = {
    "I": np.eye(2),
    "Z": np.diag([1, -1]),
    "0": np.diag([1, 0]),
    "1": np.diag([0, 1]),
}


@given(
    st.sets(st.text("IZ01", min_size=3, max_size=3), min_size=1, max_size=5),
    st.lists(st.integers(0, 50), min_size=8, max_size=8).filter(any),
)
def test_moments_are_those_of_diagonal_operators(terms: set[str], counts: list[int]) -> None:
    basis = Basis("ZZZ", tuple(sorted(terms)))
    means, variances = moments(
        np.array([counts]), all_outcomes(basis.measured, len(basis.letters)), basis
    )
    chances = np.array(counts) / sum(counts)
    for term, mean, variance in zip(basis.terms, means[0], variances[0], strict=True):
        # Qubit 0 is the first letter, and the least significant bit.
        diagonal = reduce(np.kron, [OPERATORS[letter] for letter in reversed(term)]).diagonal()
        assert mean == pytest.approx(chances @ diagonal)
        assert variance == pytest.approx(
            chances @ diagonal**2 - (chances @ diagonal) ** 2, abs=1e-9
        )


def test_letters_of_x_and_y_are_read_as_those_of_z() -> None:
    weights = np.array([[10, 20, 30, 40]])
    found = []
    for letters, projectors in (("ZZ", "01"), ("XY", "+l"), ("YX", "r-")):
        basis = Basis(letters, (letters, projectors))
        found.append(
            np.array(moments(weights, all_outcomes(basis.measured, len(basis.letters)), basis))
        )
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    assert found[0][0].tolist() == [[0.0, 0.3]]


def test_every_projector_has_a_value() -> None:
    for first, second in product("01+-rl", repeat=2):
        assert group_into_bases(frozenset({first + second}))
