"""Decays whose parameters are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit

from qexp.analysis.survival import fit, means, survival
from qexp.errors import AnalysisError
from tests.unit.analysis.runs import measured, run_of, sampled

LAYERS = np.array([0.0, 4, 8, 16, 32])


@pytest.mark.parametrize(("floor", "base"), [("uniform", 1 / 8), ("zero", 0.0), ("free", 0.2)])
def test_an_exact_decay_is_found(floor, base: float) -> None:
    mean = 0.7 * 0.95**LAYERS + base
    found = fit(LAYERS, mean, np.full(5, 0.01), 3, floor)
    assert (found.p, found.amplitude, found.floor) == pytest.approx((0.95, 0.7, base), abs=1e-4)
    assert found.reduced_chi2 == pytest.approx(0, abs=1e-4)
    assert found.p_std > 0
    assert (found.floor_std > 0) == (floor == "free")


def test_standard_errors_are_the_scatter_of_repeated_fits() -> None:
    rng = np.random.default_rng(0)
    exact = 0.8 * 0.97**LAYERS + 1 / 8
    fits = [
        fit(LAYERS, exact + rng.normal(0, 0.01, 5), np.full(5, 0.01), 3, "uniform")
        for _ in range(300)
    ]
    p = np.array([each.p for each in fits])
    assert p.mean() == pytest.approx(0.97, abs=4 * p.std() / np.sqrt(300))
    assert np.mean([each.p_std for each in fits]) == pytest.approx(p.std(), rel=0.15)
    assert np.mean([each.reduced_chi2 for each in fits]) == pytest.approx(1, rel=0.2)


def test_too_few_depths_give_no_fit() -> None:
    few = fit(LAYERS[:2], np.array([0.9, 0.8]), np.full(2, 0.01), 3, "free")
    assert np.isnan(few.p)
    just = fit(LAYERS[:2], np.array([0.9, 0.8]), np.full(2, 0.01), 3, "zero")
    assert just.p == pytest.approx((0.8 / 0.9) ** 0.25)
    assert np.isnan(just.reduced_chi2)


def test_means_have_the_larger_of_two_errors() -> None:
    number, mean, error = means(
        np.array([0, 0, 2, 2]), np.array([90, 70, 50, 50]), np.array([100] * 4)
    ).T
    assert number.tolist() == [0, 2]
    assert mean == pytest.approx([0.8, 0.5])
    assert error == pytest.approx([0.1, 0.5 / np.sqrt(200)])
    # Never 0, as a fit weights by it.
    assert means(np.array([0]), np.array([100]), np.array([100]))[0, 2] > 0


def mirrors(p: float, shots: int = 2000, qubits: int = 2):
    for depth in (0, 1, 2, 4, 8):
        hits = round(shots * (0.7 * p ** (2 * depth) + 0.25))
        circuit = measured(QuantumCircuit(qubits), family="mirror", depth=depth)
        circuit.metadata["ideal_bitstring"] = "1" + "0" * (qubits - 1)
        counts = {"1" + "0" * (qubits - 1): hits, "0" * qubits: shots - hits}
        yield circuit, sampled({key: number for key, number in counts.items() if number})


def test_a_run_is_fitted(tmp_path: Path) -> None:
    found = survival(run_of(tmp_path, {"main": [*mirrors(0.9)]}))
    assert float(found.p) == pytest.approx(0.9, abs=0.002)
    assert float(found.amplitude) == pytest.approx(0.7, abs=0.002)
    assert float(found.floor) == 0.25
    assert float(found.error_per_layer) == pytest.approx(15 / 16 * (1 - float(found.p)))
    assert found.layers.values.tolist() == [0, 2, 4, 8, 16]
    assert found.survival.values[0] == pytest.approx(0.95)
    assert found.fitted.values == pytest.approx(found.mean_survival.values, abs=0.002)
    assert found.attrs["summary"].startswith("p = 0.900")


def test_a_perfect_run_does_not_decay(tmp_path: Path) -> None:
    pairs = [(circuit, sampled({"10": 100})) for circuit, _ in mirrors(0.9)]
    found = survival(run_of(tmp_path, {"main": pairs}))
    assert float(found.p) == pytest.approx(1, abs=1e-6)
    assert float(found.p_std) < 0.01


def test_a_run_that_cannot_be_fitted_says_why(tmp_path: Path) -> None:
    single = survival(run_of(tmp_path / "1", {"main": [*mirrors(0.9)][:1]}))
    assert np.isnan(single.p)
    assert single.attrs["summary"].startswith("no fit: there are fewer different depths")
    mixed = {"a": [*mirrors(0.9)], "b": [*mirrors(0.9, qubits=3)]}
    with pytest.raises(AnalysisError, match="circuits of 2, 3 qubits do not decay alike"):
        survival(run_of(tmp_path / "2", mixed))
    unknown = {"main": [(measured(QuantumCircuit(1)), sampled({"0": 1}))]}
    with pytest.raises(AnalysisError, match="PUB 0 of 'main' has no known ideal outcome"):
        survival(run_of(tmp_path / "3", unknown), workload="main")
