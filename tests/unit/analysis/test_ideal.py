"""Outcomes against their ideal distribution, in cases where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import quantum_volume
from qiskit.primitives import BitArray, DataBin, SamplerPubResult
from qiskit.quantum_info import hellinger_fidelity

from qexp.analysis.exact import Distribution, distribution, ideal_probabilities
from qexp.analysis.ideal import compare, ideal
from qexp.analysis.pubs import read_pubs
from qexp.errors import AnalysisError
from tests.unit.analysis.runs import measured, run_of, sampled


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def volume(seed: int) -> QuantumCircuit:
    return measured(quantum_volume(4, seed=seed))


def drawn(p: dict[str, float], shots: int, rng: np.random.Generator) -> dict[str, int]:
    weights = np.array(list(p.values()))
    found = rng.multinomial(shots, weights / weights.sum())
    return {key: int(n) for key, n in zip(p, found, strict=True) if n}


def test_measures_are_those_of_their_definitions(tmp_path: Path) -> None:
    counts = {"00": 500, "11": 300, "01": 200}
    run = run_of(tmp_path, {"main": [(measured(bell()), sampled(counts))]})
    found = ideal(run)
    p = {"00": 0.5, "11": 0.5}
    assert float(found.hellinger_fidelity[0]) == pytest.approx(hellinger_fidelity(counts, p))
    # Half of abs(0.5 - 0.5) + abs(0.3 - 0.5) + 0.2
    assert float(found.tvd[0]) == pytest.approx(0.2)
    # 4 (0.5 0.5 + 0.3 0.5) - 1, of 4 (0.5^2 + 0.5^2) - 1
    assert float(found.xeb[0]) == pytest.approx(0.6)
    assert float(found.xeb_perfect[0]) == pytest.approx(1.0)
    assert float(found.xeb_normalised[0]) == pytest.approx(0.6)
    assert (int(found.shots[0]), int(found.num_qubits[0])) == (1000, 2)
    # One circuit has no scatter.
    assert float(found.mean_tvd) == pytest.approx(0.2)
    assert np.isnan(found.mean_tvd_std)
    assert found.attrs["summary"].startswith("1 circuit: Hellinger fidelity 0.7873 (a perfect")


def test_uniform_outcomes_have_no_cross_entropy(tmp_path: Path) -> None:
    counts = dict.fromkeys(["00", "01", "10", "11"], 100)
    flat = QuantumCircuit(2)
    flat.h([0, 1])
    pairs = [(measured(bell()), sampled(counts)), (measured(flat), sampled(counts))]
    found = ideal(run_of(tmp_path, {"main": pairs}))
    assert found.xeb.values == pytest.approx([0, 0])
    assert found.xeb_normalised.values == pytest.approx([0, np.nan], nan_ok=True)


def test_standard_errors_are_the_scatter_of_repeated_experiments() -> None:
    rng = np.random.default_rng(1)
    exact = distribution(volume(3))
    p = exact.as_dict()
    noisy = {key: 0.7 * value + 0.3 / len(p) for key, value in p.items()}
    runs = [compare(drawn(noisy, 1000, rng), exact, 50, rng) for _ in range(200)]
    for name in ("hellinger_fidelity", "tvd", "xeb"):
        scatter = np.std([each[name] for each in runs], ddof=1)
        stated = np.mean([each[f"{name}_std"] for each in runs])
        assert stated == pytest.approx(scatter, rel=0.15), name


def test_a_perfect_device_reaches_the_values_stated_for_it() -> None:
    rng = np.random.default_rng(2)
    exact = distribution(volume(5))
    runs = [compare(drawn(exact.as_dict(), 500, rng), exact, 50, rng) for _ in range(200)]
    for name in ("hellinger_fidelity", "tvd", "xeb"):
        values = np.array([each[name] for each in runs])
        stated = np.mean([each[f"{name}_perfect"] for each in runs])
        assert abs(values.mean() - stated) < 4 * values.std() / np.sqrt(len(runs)), name
        deviation = np.mean([each[f"{name}_perfect_std"] for each in runs])
        assert deviation == pytest.approx(values.std(ddof=1), rel=0.15), name
    # About (K - 1)/(4 N) below 1 for K outcomes of N shots.
    bias = 1 - np.mean([each["hellinger_fidelity_perfect"] for each in runs])
    assert bias == pytest.approx(15 / 2000, rel=0.2)


def test_measures_without_samples_are_the_same(tmp_path: Path) -> None:
    pair = (measured(bell()), sampled({"00": 500, "11": 300, "01": 200}))
    run = run_of(tmp_path, {"main": [pair, pair, (measured(bell()), None)]})
    _, second = read_pubs(run, "main")
    sample = second.only_sample()
    assert second.place == ("main", 1)
    assert sample is not None
    plain = compare(sample.counts, distribution(sample.circuit))
    assert set(plain) == {"hellinger_fidelity", "tvd", "xeb", "num_qubits", "shots"}
    for name, value in plain.items():
        assert float(ideal(run)[name][1]) == value


def test_an_idle_measured_qubit_counts_for_the_cross_entropy() -> None:
    exact = Distribution(np.array([0.5, 0.5]), ((0,),), 2, 2)
    found = compare({"00": 50, "01": 50}, exact, 2, np.random.default_rng(0))
    assert found["xeb"] == pytest.approx(2**2 * 0.5 - 1)


def test_parameter_sets_are_averaged(tmp_path: Path) -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    bits = BitArray.from_samples(["1"] * 4 + ["0"] * 4, 1).reshape((2, 4))
    result = SamplerPubResult(DataBin(shape=(2,), meas=bits), {})
    # The second is to be 1 as well.
    pub = (measured(circuit), np.array([[np.pi], [np.pi]]))
    found = ideal(run_of(tmp_path, {"main": [(pub, result)]}))
    assert float(found.hellinger_fidelity[0]) == pytest.approx(0.5)
    assert float(found.tvd[0]) == pytest.approx(0.5)
    assert int(found.shots[0]) == 4


def test_a_circuit_that_cannot_be_compared_has_a_reason(tmp_path: Path) -> None:
    reset = QuantumCircuit(2)
    reset.h(0)
    reset.reset(0)
    counts = sampled({"00": 5, "11": 5})
    pairs = [
        (measured(bell()), counts),
        (measured(bell()), None),
        (measured(reset), counts),
        (measured(quantum_volume(4, seed=1)), sampled({"0000": 5})),
    ]
    found = ideal(run_of(tmp_path, {"main": pairs}), max_qubits=3)
    assert found.reason.values.tolist() == ["", "no result", "resets", "4 qubits"]
    assert np.isfinite(found.tvd.values).tolist() == [True, False, False, False]
    assert found.attrs["summary"].endswith("; 3 left out (4 qubits, no result, resets)")
    with pytest.raises(AnalysisError, match="no circuit of the run can be compared: 2 qubits, 4"):
        ideal(run_of(tmp_path / "b", {"main": [pairs[0], pairs[3]]}), max_qubits=1)


def test_every_workload_that_suits_is_compared(tmp_path: Path) -> None:
    pair = (measured(bell()), sampled({"00": 5, "11": 5}))
    run = run_of(tmp_path, {"a": [pair], "b": [pair, pair]})
    found = ideal(run)
    assert found.workload.values.tolist() == ["a", "b", "b"]
    assert found.pub.values.tolist() == [0, 0, 1]
    assert ideal(run, workload="b").workload.values.tolist() == ["b", "b"]
    with pytest.raises(AnalysisError, match=r"workload=c: the run has no such .* it has: a, b"):
        ideal(run, workload="c")


def test_the_result_is_the_same_every_time(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"main": [(volume(k), sampled({"0000": 30})) for k in range(3)]})
    assert ideal(run).identical(ideal(run))


def test_wide_circuits_are_sampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = distribution(volume(1))
    counts = drawn(exact.as_dict(), 100, np.random.default_rng(0))
    whole = compare(counts, exact, 10, np.random.default_rng(1))
    monkeypatch.setattr("qexp.analysis.ideal._BLOCK", 40)
    assert compare(counts, exact, 10, np.random.default_rng(1)) == pytest.approx(whole)
    assert ideal_probabilities(volume(1)) == exact.as_dict()
