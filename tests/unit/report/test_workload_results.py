from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import (
    BitArray,
    DataBin,
    PubResult,
    SamplerPubResult,
    StatevectorEstimator,
    StatevectorSampler,
)

import qexp
from qexp.archive.read import Archive
from qexp.archive.writer import RunStore
from qexp.report.workload_results import EstimatedPoint, evenly_spaced, read_workload
from tests.archives import header, outcome, write_batch, write_partition


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, name="bell")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def rotated() -> QuantumCircuit:
    circuit = QuantumCircuit(1, name="rotated", metadata={"observables": ["sigma z", "sigma x"]})
    circuit.ry(Parameter("angle"), 0)
    return circuit


def stored(run_dir: Path, primitive: object, pubs: list[object]) -> Archive:
    results = list(primitive.run(pubs).result())  # type: ignore[attr-defined]
    store = RunStore(run_dir)
    store.write_header(header())
    write_batch(store)
    kind = "SamplerPub" if isinstance(primitive, StatevectorSampler) else "EstimatorPub"
    write_partition(store, 0, 0, [_pub(kind, pub) for pub in pubs])
    store.write_job(outcome(0, results))
    return qexp.open_archive(store.seal("complete", keep_parts=False))


def _pub(kind: str, pub: object) -> object:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    return SamplerPub.coerce(pub) if kind == "SamplerPub" else EstimatorPub.coerce(pub)  # type: ignore[arg-type]


def test_an_ideal_device_has_a_fidelity_near_one(tmp_path: Path):
    with stored(tmp_path, StatevectorSampler(seed=1), [(bell(), None, 2000)] * 3) as run:
        found = read_workload(run, "main")
    assert found.kind == "sampler"
    assert [sample.label for sample in found.sampled] == ["PUB 0", "PUB 1", "PUB 2"]
    for sample in found.sampled:
        assert sample.ideal == pytest.approx({"00": 0.5, "11": 0.5})
        assert 0.99 < sample.fidelity <= 1
    assert found.used_qubits == {0, 1}
    assert found.used_pairs == {(0, 1): 3}


def test_each_parameter_set_is_compared_with_its_own_ideal(tmp_path: Path):
    circuit = rotated()
    circuit.measure_all()
    sweep = [(circuit, [[0.0], [np.pi]], 100)]
    with stored(tmp_path, StatevectorSampler(seed=1), sweep) as run:
        zero, one = read_workload(run, "main").sampled
    assert (zero.label, dict(zero.counts), zero.ideal) == ("PUB 0 [0]", {"0": 100}, {"0": 1.0})
    assert dict(one.counts) == {"1": 100}
    assert one.fidelity == pytest.approx(1.0)


def test_expectation_values_have_exact_ones_names_and_settings(tmp_path: Path):
    sweep = [(rotated(), ["Z", "X"], [[0.3], [1.2]], 0.01)]
    with stored(tmp_path, StatevectorEstimator(seed=1), sweep) as run:
        first, second = read_workload(run, "main").estimated
    assert (first.observable, first.terms, first.setting) == ("sigma z", "Z", 0.3)
    assert first.exact == pytest.approx(np.cos(0.3))
    assert (second.observable, second.setting) == ("sigma x", 1.2)
    assert second.exact == pytest.approx(np.sin(1.2))


@pytest.mark.parametrize("angle", [np.nan, np.inf])
def test_parameter_values_that_are_not_finite_have_no_ideal_and_no_setting(
    tmp_path: Path, angle: float
):
    measured = rotated()
    measured.measure_all()
    counts = BitArray.from_counts({"0": 5, "1": 5}, 1)
    data = DataBin(shape=(2,), evs=np.array([0.1, 0.2]), stds=np.array([0.1, np.inf]))
    store = RunStore(tmp_path)
    store.write_header(header())
    write_batch(store)
    write_partition(store, 0, 0, [_pub("SamplerPub", (measured, [angle], 10))], "counts")
    write_partition(store, 1, 0, [_pub("EstimatorPub", (rotated(), ["Z", "X"], [angle]))], "values")
    store.write_job(outcome(0, [SamplerPubResult(DataBin(shape=(), meas=counts), {})]))
    store.write_job(outcome(1, [PubResult(data, {})]))
    with qexp.open_archive(store.seal("complete", keep_parts=False)) as run:
        (sample,) = read_workload(run, "counts").sampled
        found = read_workload(run, "values").estimated
    assert (sample.ideal, sample.fidelity) == (None, None)
    assert [(each.ev, each.exact, each.setting) for each in found] == [
        (0.1, None, None),
        (0.2, None, None),
    ]
    assert np.isnan(found[1].std)
    assert found[1].tip == "PUB 0 [1], sigma x: 0.2000"


def test_a_bounded_part_is_read_first_and_last_included(tmp_path: Path):
    with stored(tmp_path, StatevectorSampler(seed=1), [(bell(), None, 20)] * 12) as run:
        found = read_workload(run, "main", max_pubs=5)
    assert found.shown == (0, 3, 6, 8, 11)
    assert (found.num_pubs, len(found.sampled)) == (12, 5)
    assert evenly_spaced(range(1000), 3) == (0, 500, 999)


def test_circuits_that_are_too_wide_have_no_ideal_and_no_fidelity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("qexp.report.workload_results.MAX_IDEAL_QUBITS", 1)
    with stored(tmp_path, StatevectorSampler(seed=1), [(bell(), None, 20)]) as run:
        (sample,) = read_workload(run, "main").sampled
    assert (sample.ideal, sample.fidelity) == (None, None)


@pytest.mark.parametrize(
    ("std", "tip"),
    [
        (0.125, "PUB 0, ZZ: 0.5000 ± 0.12, exact 0.7500 (−2.0 standard errors off)"),
        (0.0, "PUB 0, ZZ: 0.5000 ± 0, exact 0.7500"),
        (np.nan, "PUB 0, ZZ: 0.5000, exact 0.7500"),
    ],
)
def test_a_tip_tells_a_missing_standard_error_from_one_of_0(std: float, tip: str):
    point = EstimatedPoint(0, "PUB 0", "ZZ", "ZZ", 0.5, std, 0.75)
    assert point.tip == tip
    assert (point.error_bar is None) == (std != 0.125)
