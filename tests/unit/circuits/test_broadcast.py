from __future__ import annotations

import numpy as np
import pytest
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator

from qexp.circuits.broadcast import estimator_pubs, sampler_pubs
from qexp.errors import ConfigError


@pytest.mark.parametrize(
    ("parameter_sets", "shape"),
    [([3, 2], (3, 2)), ([2], (3, 2)), ([1, 5], (3, 5)), ([4, 3, 2], (4, 3, 2)), ([], (3, 1))],
)
def test_estimator_values_broadcast_with_three_observables(
    parameter_sets: list[int], shape: tuple[int, ...], seed_sequence: np.random.SeedSequence
) -> None:
    (item,) = estimator_pubs(parameter_sets=parameter_sets, seed_sequence=seed_sequence)
    pub = EstimatorPub.coerce(item)
    assert pub.shape == shape
    assert pub.observables.shape == (3, 1)
    assert pub.parameter_values.shape == tuple(parameter_sets)


def test_values_that_do_not_broadcast_are_refused(seed_sequence: np.random.SeedSequence) -> None:
    with pytest.raises(ConfigError, match=r"circuits\.parameter_sets: got \[2, 2\].*\[3, 1\]"):
        next(estimator_pubs(parameter_sets=[2, 2], seed_sequence=seed_sequence))


def test_the_sampler_circuit_has_two_registers_that_agree_without_noise(
    seed_sequence: np.random.SeedSequence,
) -> None:
    (item,) = sampler_pubs(parameter_sets=[3, 2], seed_sequence=seed_sequence)
    pub = SamplerPub.coerce(item, shots=100)
    assert pub.shape == (3, 2)
    assert [register.name for register in pub.circuit.cregs] == ["meas", "meas_again"]
    bound = pub.circuit.assign_parameters(item[1][2, 1])
    counts = AerSimulator(seed_simulator=1).run(bound, shots=100).result().get_counts()
    halves = [key.split() for key in counts]
    assert all(first == second for first, second in halves)
