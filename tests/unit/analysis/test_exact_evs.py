"""Expectation values against exact ones that are known, and that Qiskit's own Estimator gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorEstimator
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qexp.analysis.exact_evs import exact_evs, exact_values
from qexp.errors import AnalysisError
from tests.unit.analysis.runs import estimated, measured, run_of, sampled


def swept(shape: tuple[int, ...], observables: object) -> EstimatorPub:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    circuit.ry(Parameter("b"), 1)
    circuit.cx(0, 1)
    values = np.random.default_rng(0).uniform(-3, 3, (*shape, 2))
    return EstimatorPub.coerce((circuit, observables, values))


@pytest.mark.parametrize(
    ("shape", "observables"),
    [
        ((), "ZZ"),
        ((3,), "XY"),
        ((3, 2), [[{"ZZ": 0.5, "IX": -1.0}], ["YY"], ["II"]]),
        ((2,), [["ZZ"], ["XI"], [{"ZI": 2.0}]]),
    ],
)
def test_values_are_those_of_qiskit(shape: tuple[int, ...], observables: object) -> None:
    pub = swept(shape, observables)
    expected = StatevectorEstimator().run([pub]).result()[0].data.evs
    found = exact_values(pub)
    assert found.shape == pub.shape == np.shape(expected)
    assert found == pytest.approx(np.asarray(expected), abs=1e-12)


def test_projectors_are_observables_too() -> None:
    pub = EstimatorPub.coerce((QuantumCircuit(2), ["00", "I1", {"+r": 0.5, "ZI": 1.0}]))
    assert exact_values(pub) == pytest.approx([1, 0, 1.125])


def test_differences_are_measured_in_standard_errors(tmp_path: Path) -> None:
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.metadata = {"observables": ["first", "second", "sure"]}
    pair = ((circuit, ["Z", "X", "Z"]), estimated([-0.8, 0.1, -1.0], [0.1, 0.1, 0.0]))
    found = exact_evs(run_of(tmp_path, {"main": [pair]}))
    assert found.exact.values == pytest.approx([-1, 0, -1])
    assert found.z.values == pytest.approx([2, 1, np.nan], nan_ok=True)
    assert float(found.rms_error) == pytest.approx(np.sqrt((0.04 + 0.01) / 3))
    assert float(found.chi2) == pytest.approx(5)
    assert int(found.num_values) == 2
    assert found.observable.values.tolist() == ["first", "second", "sure"]
    assert found.position.values.tolist() == ["0", "1", "2"]
    assert found.attrs["summary"].startswith("3 values: RMS error 0.1291, chi square 5.0 of 2")


def test_right_errors_give_a_chi_square_as_large_as_its_terms(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pub = swept((20, 10), "ZZ")
    std = np.full((20, 10), 0.02)
    evs = exact_values(pub) + rng.normal(0, 0.02, (20, 10))
    pair = ((pub.circuit, pub.observables, pub.parameter_values), estimated(evs, std))
    found = exact_evs(run_of(tmp_path, {"main": [pair]}))
    assert float(found.chi2) == pytest.approx(200, abs=4 * np.sqrt(2 * 200))
    assert found.position.values[11] == "1,1"


def test_wide_circuits_are_left_out_and_samplers_refused(tmp_path: Path) -> None:
    wide = QuantumCircuit(3)
    wide.h([0, 1, 2])
    narrow = QuantumCircuit(1)
    pairs = [((wide, "XXX"), estimated(0.9, 0.1)), ((narrow, "Z"), estimated(0.9, 0.1))]
    sampler = [(measured(narrow), sampled({"0": 1}))]
    run = run_of(tmp_path, {"main": pairs, "samples": sampler})
    found = exact_evs(run, max_qubits=2)
    assert found.exact.values == pytest.approx([np.nan, 1], nan_ok=True)
    assert found.pub.values.tolist() == [0, 1]
    with pytest.raises(
        AnalysisError, match="it needs an estimator workload, and 'samples' is none"
    ):
        exact_evs(run, workload="samples")
    only_wide = run_of(tmp_path / "w", {"main": pairs[:1]})
    with pytest.raises(AnalysisError, match="no expectation value can be compared"):
        exact_evs(only_wide, max_qubits=2)


@pytest.mark.parametrize("std", [0.0, np.nan])
def test_values_without_standard_errors_are_named(tmp_path: Path, std: float) -> None:
    pair = ((QuantumCircuit(1), ["Z", "X"]), estimated([0.8, 0.1], [std, std]))
    found = exact_evs(run_of(tmp_path, {"main": [pair]}))
    assert found.attrs["summary"].endswith("of 0 terms, no standard error is above 0")
    assert float(found.rms_error) == pytest.approx(np.sqrt((0.04 + 0.01) / 2))
