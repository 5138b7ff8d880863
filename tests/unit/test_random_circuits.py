"""Whatever passes the plan ends with data, and what ran is what was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import numpy as np
import pytest
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qexp.circuits.broadcast import estimator_pubs, sampler_pubs
from qexp.circuits.efficient_su2 import efficient_su2_pubs
from qexp.circuits.ghz import ghz_circuits
from qexp.circuits.ising import ising_pubs
from qexp.circuits.mirror import mirror_circuits
from qexp.circuits.quantum_volume import quantum_volume_circuits
from qexp.circuits.random import random_circuits
from tests.random_circuits import ends_with_data_or_a_refusal, planned_and_simulated

BACKENDS = (FakeManilaV2(), AerSimulator())
SU2 = {"su2_gates": ["ry", "rz"], "parameter_sets": [2]}


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_random_circuits_end_with_data_or_a_refusal() -> None:
    """The long form, with thousands of circuits, is `python -m tests.random_circuits`."""
    ended = [ends_with_data_or_a_refusal(Random(seed), BACKENDS) for seed in range(40)]
    assert sum(ended) > 20


GENERATORS: dict[str, Callable[..., Iterable[Any]]] = {
    "random": lambda seed: random_circuits(num_circuits=2, seed_sequence=seed),
    "conditional": lambda seed: random_circuits(
        num_circuits=2, conditional=True, reset=True, seed_sequence=seed
    ),
    "ghz": lambda seed: ghz_circuits(num_qubits=[2, 4], seed_sequence=seed),
    "quantum_volume": lambda seed: quantum_volume_circuits(num_circuits=1, seed_sequence=seed),
    "mirror": lambda seed: mirror_circuits(depths=[2], num_circuits=1, seed_sequence=seed),
    "ising": lambda seed: ising_pubs(steps=[2], num_qubits=3, seed_sequence=seed),
    "efficient_su2": lambda seed: efficient_su2_pubs(**SU2, seed_sequence=seed),
    "efficient_su2_measured": lambda seed: efficient_su2_pubs(
        **SU2, measure=True, seed_sequence=seed
    ),
    "broadcast_estimator": lambda seed: estimator_pubs(parameter_sets=[3, 2], seed_sequence=seed),
    "broadcast_sampler": lambda seed: sampler_pubs(parameter_sets=[3, 2], seed_sequence=seed),
}


@pytest.mark.parametrize("level", [0, 2, 3])
@pytest.mark.parametrize("backend", BACKENDS, ids=["manila", "aer"])
@pytest.mark.parametrize("generate", GENERATORS.values(), ids=GENERATORS)
def test_the_circuits_of_all_generators_run_as_they_are_meant(
    generate: Callable[..., Iterable[Any]], backend: BackendV2, level: int
) -> None:
    for pub_like in generate(np.random.SeedSequence(5)):
        given = pub_like if isinstance(pub_like, tuple) else (pub_like, None)
        kind = "sampler" if given[0].cregs else "estimator"
        planned_and_simulated(kind, given, backend, level)
