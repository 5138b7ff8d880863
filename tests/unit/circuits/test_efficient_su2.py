from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qexp.circuits.efficient_su2 import efficient_su2_pubs
from qexp.errors import ConfigError

KNOBS: dict[str, Any] = {"num_qubits": 2, "reps": 1, "su2_gates": ["ry"]}


def pub_of(seed_sequence: np.random.SeedSequence, **knobs: Any) -> EstimatorPub:
    (item,) = efficient_su2_pubs(**{**KNOBS, **knobs}, seed_sequence=seed_sequence)
    return EstimatorPub.coerce(item)


@pytest.mark.parametrize(
    ("observables", "parameter_sets", "shape"),
    [
        (None, [], ()),
        (None, [3, 2], (3, 2)),
        (["ZZ"], [3, 2], (3, 2)),
        (["ZZ", "XI"], [], (2,)),
        (["ZZ", "XI"], [2], (2, 2)),
        (["ZZ", {"XI": 0.5, "IX": 0.5}, "YY"], [3, 2], (3, 3, 2)),
    ],
)
def test_every_observable_meets_every_parameter_set(
    observables: Any,
    parameter_sets: list[int],
    shape: tuple[int, ...],
    seed_sequence: np.random.SeedSequence,
) -> None:
    pub = pub_of(seed_sequence, observables=observables, parameter_sets=parameter_sets)
    assert pub.shape == shape
    assert pub.parameter_values.shape == tuple(parameter_sets)


def test_the_default_is_the_critical_ising_chain(seed_sequence: np.random.SeedSequence) -> None:
    pub = pub_of(seed_sequence, num_qubits=3, parameter_sets=[])
    assert pub.observables[()] == {"IZZ": -1, "ZZI": -1, "IIX": -1, "IXI": -1, "XII": -1}


def test_coefficients_are_kept(seed_sequence: np.random.SeedSequence) -> None:
    pub = pub_of(seed_sequence, observables=[{"XI": 0.5, "IZ": -2.0}], parameter_sets=[2])
    assert pub.observables[()] == {"XI": 0.5, "IZ": -2.0}


def test_each_pub_has_values_of_its_own(seed_sequence: np.random.SeedSequence) -> None:
    pubs = efficient_su2_pubs(
        **KNOBS, num_circuits=2, parameter_sets=[4], seed_sequence=seed_sequence
    )
    first, second = (values for _, _, values in pubs)
    assert first.shape == (4, 4)
    assert not np.array_equal(first, second)
    assert np.all(np.abs(first) <= np.pi)


@pytest.mark.parametrize("pauli", ["Z", "ZZZ", "ZA", "zz", ""])
def test_an_observable_that_does_not_fit_is_refused(
    pauli: str, seed_sequence: np.random.SeedSequence
) -> None:
    with pytest.raises(ConfigError, match=rf"circuits\.observables: got '{pauli}'.*2 qubits"):
        pub_of(seed_sequence, observables=[pauli], parameter_sets=[])


def test_an_observable_without_terms_is_refused(seed_sequence: np.random.SeedSequence) -> None:
    with pytest.raises(ConfigError, match="empty map"):
        pub_of(seed_sequence, observables=[{}], parameter_sets=[])


def test_observables_of_a_measured_circuit_are_refused(
    seed_sequence: np.random.SeedSequence,
) -> None:
    with pytest.raises(ConfigError, match=r"circuits\.measure=true"):
        pub_of(seed_sequence, observables=["ZZ"], parameter_sets=[], measure=True)
