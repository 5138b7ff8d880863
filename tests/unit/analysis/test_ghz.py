"""Bounds of the fidelity of GHZ states, against states whose fidelity is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, random_density_matrix, state_fidelity

from qexp.analysis.ghz import fidelity_bounds, ghz
from qexp.errors import AnalysisError
from tests.unit.analysis.runs import measured, run_of, sampled


def state(size: int) -> QuantumCircuit:
    circuit = QuantumCircuit(size)
    circuit.h(0)
    for qubit in range(size - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


@given(st.integers(0, 2**31), st.floats(0, 1))
def test_every_state_is_within_the_bounds(seed: int, weight: float) -> None:
    target = DensityMatrix(state(3))
    noise = random_density_matrix(8, seed=seed, rank=1 + seed % 8)
    mixed = DensityMatrix(weight * target.data + (1 - weight) * noise.data)
    populations = mixed.probabilities()
    lower, upper = fidelity_bounds(populations[0], populations[-1])
    assert lower - 1e-9 <= state_fidelity(mixed, target, validate=False) <= upper + 1e-9


def test_the_bounds_are_reached() -> None:
    assert fidelity_bounds(0.5, 0.5) == pytest.approx((0, 1))
    # |0...0> alone has fidelity 1/2.
    assert fidelity_bounds(1, 0) == pytest.approx((0.5, 0.5))


def test_populations_and_their_errors(tmp_path: Path) -> None:
    pairs = [
        (measured(state(3), family="ghz"), sampled({"000": 450, "111": 350, "010": 200})),
        (measured(state(2), family="ghz"), sampled({"00": 50, "11": 50})),
        (measured(state(3), family="ghz"), sampled({"000": 500, "111": 500})),
    ]
    found = ghz(run_of(tmp_path, {"main": pairs}))
    assert found.population.values == pytest.approx([0.8, 1, 1])
    assert found.population_std.values == pytest.approx([np.sqrt(0.16 / 1000), 0, 0])
    assert found.population_zeros.values == pytest.approx([0.45, 0.5, 0.5])
    assert found.fidelity_upper.values[0] == pytest.approx(0.4 + np.sqrt(0.45 * 0.35))
    assert found.fidelity_lower.values[0] == pytest.approx(0.4 - np.sqrt(0.45 * 0.35))
    assert found["width"].values.tolist() == [2, 3]
    assert found.pooled_population.values == pytest.approx([1, 0.9])
    assert "3 qubits: population 0.9000 ± 0.0067" in found.attrs["summary"]


def test_the_error_of_the_upper_bound_is_the_scatter() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(1000, [0.45, 0.35, 0.2], size=4000) / 1000
    upper = np.array([fidelity_bounds(zeros, ones)[1] for zeros, ones, _ in drawn])
    expected = fidelity_bounds(0.45, 0.35)[1]
    stated = np.sqrt(expected * (1 - expected) / 1000)
    assert upper.std() == pytest.approx(stated, rel=0.05)


def test_other_workloads_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"main": [(measured(state(2)), sampled({"00": 1}))]})
    with pytest.raises(
        AnalysisError, match=r"sampler workload of ghz circuits .* its workloads: '"
    ):
        ghz(run)
    assert float(ghz(run, workload="main").population[0]) == 1
