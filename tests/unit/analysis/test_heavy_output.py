"""Heavy outputs: by hand, for perfect and for useless devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import quantum_volume

from qexp.analysis.exact import Distribution, distribution
from qexp.analysis.heavy_output import heavy_fraction, heavy_output
from qexp.errors import AnalysisError
from tests.unit.analysis.runs import measured, run_of, sampled


def test_heavy_outcomes_are_those_above_the_median() -> None:
    exact = Distribution(np.array([0.1, 0.2, 0.3, 0.4]), ((0,), (1,)), 2, 2)
    assert heavy_fraction({"00": 1, "01": 2, "10": 3, "11": 4}, exact) == pytest.approx((0.7, 0.7))
    assert heavy_fraction({"00": 10}, exact) == pytest.approx((0.0, 0.7))


def test_an_idle_qubit_makes_every_possible_outcome_heavy() -> None:
    exact = Distribution(np.array([0.1, 0.9]), ((1,),), 2, 2)
    assert heavy_fraction({"00": 3, "10": 4, "01": 3}, exact) == pytest.approx((0.7, 1.0))


def volumes(number: int, width: int, *, is_noisy: bool, depth: int | None = None):
    rng = np.random.default_rng(0)
    for seed in range(number):
        circuit = measured(
            quantum_volume(width, depth, seed=seed),
            family="quantum_volume",
            depth=depth or width,
        )
        p = distribution(circuit).as_dict()
        outcomes = [f"{value:0{width}b}" for value in range(2**width)]
        weights = np.array([1.0 if is_noisy else p.get(key, 0.0) for key in outcomes])
        drawn = rng.multinomial(200, weights / weights.sum())
        counts = {key: int(n) for key, n in zip(outcomes, drawn, strict=True) if n}
        yield circuit, sampled(counts)


def test_a_perfect_device_succeeds_and_a_useless_one_does_not(tmp_path: Path) -> None:
    perfect = heavy_output(run_of(tmp_path / "p", {"main": [*volumes(100, 3, is_noisy=False)]}))
    assert float(perfect.mean_heavy_output[0]) == pytest.approx(
        float(perfect.heavy_output_ideal.mean()), abs=0.01
    )
    assert int(perfect.quantum_volume) == 8
    assert perfect.attrs["summary"].endswith("two sigma above 2/3; quantum volume 8")
    useless = heavy_output(run_of(tmp_path / "u", {"main": [*volumes(20, 4, is_noisy=True)]}))
    assert float(useless.mean_heavy_output[0]) == pytest.approx(0.5, abs=0.02)
    assert int(useless.quantum_volume) == 0
    assert not useless.success.any()


def test_the_bound_is_that_of_the_protocol(tmp_path: Path) -> None:
    found = heavy_output(run_of(tmp_path, {"main": [*volumes(10, 2, is_noisy=False)]}))
    number, shots = 10, 200
    heavy = float(found.heavy_output.sum()) * shots
    # Cross et al., algorithm 1, line 9.
    bound = (heavy - 2 * np.sqrt(heavy * (shots - heavy / number))) / (number * shots)
    assert float(found.lower[0]) == pytest.approx(bound)


def test_few_or_flat_circuits_show_no_quantum_volume(tmp_path: Path) -> None:
    few = heavy_output(run_of(tmp_path / "f", {"main": [*volumes(60, 2, is_noisy=False)]}))
    assert bool(few.success[0])
    assert int(few.quantum_volume) == 0
    assert "(the protocol asks for 100)" in few.attrs["summary"]
    flat = heavy_output(
        run_of(tmp_path / "d", {"main": [*volumes(100, 3, is_noisy=False, depth=4)]})
    )
    assert int(flat.quantum_volume) == 0
    assert "(circuits are not as deep as wide)" in flat.attrs["summary"]


def test_widths_are_kept_apart(tmp_path: Path) -> None:
    pairs = [*volumes(4, 2, is_noisy=False), *volumes(3, 3, is_noisy=False)]
    found = heavy_output(run_of(tmp_path, {"main": pairs}))
    assert found.width.values.tolist() == [2, 3]
    assert found.num_circuits.values.tolist() == [4, 3]


def test_other_circuits_need_to_be_named(tmp_path: Path) -> None:
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.cp(1.0, 0, 1)
    run = run_of(tmp_path, {"main": [(measured(circuit), sampled({"00": 1, "11": 1}))]})
    with pytest.raises(AnalysisError, match="it needs a sampler workload of quantum_volume circ"):
        heavy_output(run)
    assert float(heavy_output(run, workload="main").width[0]) == 2
    with pytest.raises(AnalysisError, match="PUB 0 of 'main' has no heavy outputs: 2 qubits"):
        heavy_output(run, workload="main", max_qubits=1)
