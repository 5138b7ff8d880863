"""Rows of PUBs and the tables made of them; PUBs read back, with and without their circuits."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.sampler_pub import SamplerPub

import qexp
from qexp.archive.circuit_digest import circuit_sha256
from qexp.archive.circuits import load_circuit
from qexp.archive.pubs import PubIdentity, PubRow, pub_identities, pub_rows
from qexp.archive.read import open_archive
from qexp.archive.schema import as_tables
from qexp.core.model import PlannedPub
from qexp.errors import ArchiveError
from tests.archives import (
    assert_same_result,
    estimator_pub,
    outcome,
    sampler_jobs,
    sampler_pub,
    started,
    write_batch,
    write_partition,
    write_run,
)


def planned(index: int) -> PlannedPub:
    """Every third PUB has parameters; sizes differ."""
    circuit = QuantumCircuit(2, name=f"c{index}")
    for _ in range(index % 4):
        circuit.sx(0)
    values = None
    if index % 3 == 0:
        circuit.rx(Parameter("a"), 0)
        values = [[0.1 * index]] * (1 + index % 2)
    circuit.measure_all()
    pub = SamplerPub.coerce((circuit, values, 10))
    return PlannedPub("main", index, pub, pub)


@pytest.fixture(scope="module")
def pubs() -> list[PlannedPub]:
    return [planned(index) for index in range(12)]


@pytest.fixture(scope="module")
def rows(pubs: list[PlannedPub]) -> list[PubRow]:
    # As they come from a worker process.
    sent: list[PubRow] = pickle.loads(pickle.dumps(pub_rows("main", pubs, str)))
    return sent


@given(st.tuples(st.integers(0, 11), st.integers(1, 12)).filter(lambda pair: pair[0] < pair[1]))
def test_any_range_of_rows_has_the_circuits_and_values_of_its_pubs(
    pubs: list[PlannedPub], rows: list[PubRow], cut: tuple[int, int]
) -> None:
    first, stop = cut
    tables = as_tables(row.cells for row in rows[first:stop])
    assert tables["pubs/main"].columns["pub"].values.tolist() == list(range(first, stop))
    isa = tables["circuits/main/isa"].columns
    starts, sizes = isa["qpy_start"].values, isa["qpy_size"].values
    assert isa["qpy"].values.shape == (int(np.sum(sizes)),)
    assert isa["name"].texts() == [f"c{index}" for index in range(first, stop)]
    for pub, start, size in zip(pubs[first:stop], starts, sizes, strict=True):
        raw = isa["qpy"].values[start : start + size].tobytes()
        assert load_circuit(raw, "here") == pub.isa.circuit
    texts = isa["qasm3"].values.tobytes().decode()
    lengths = isa["qasm3_size"].values
    assert [texts[a : a + n][:12] for a, n in zip(isa["qasm3_start"].values, lengths, strict=True)
            if n] == ["OPENQASM 3.0"] * np.count_nonzero(lengths)  # fmt: skip
    swept = [index for index in range(first, stop) if index % 3 == 0]
    groups = {path: table for path, table in tables.items() if path.startswith("parameters/")}
    found = sorted(k for table in groups.values() for k in table.columns["pub"].values.tolist())
    assert found == swept
    for table in groups.values():
        for index, values in zip(
            *(table.columns[n].values for n in ("pub", "values")), strict=True
        ):
            assert np.array_equal(values, pubs[index].isa.parameter_values.as_array())


def test_a_shared_circuit_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure_all()
    shared = [SamplerPub.coerce((circuit, [0.1 * k], 10)) for k in range(3)]
    rows = pub_rows("main", [PlannedPub("main", k, pub, pub) for k, pub in enumerate(shared)], str)
    assert len({id(row.isa_qpy) for row in rows}) == 1


def test_the_primitive_result_has_the_results_of_the_jobs(tmp_path: Path) -> None:
    jobs = sampler_jobs([2, 1])
    with qexp.open_archive(write_run(tmp_path, jobs).seal("complete", keep_parts=False)) as run:
        result = run.primitive_result()
        for actual, expected in zip(result, [*jobs[0], *jobs[1]], strict=True):
            assert_same_result(actual, expected)
        assert result.metadata["version"] == 2
        assert result.metadata["qexp"]["pub"] == [0, 1, 2]
        assert result.metadata["qexp"]["jobs"] == ["job-0", "job-1"]
        with pytest.raises(ArchiveError, match="no workload 'other'; it has: main"):
            run.primitive_result("other")


def test_a_primitive_result_with_gaps_must_be_asked_for(two_workloads: Path) -> None:
    with qexp.open_archive(two_workloads) as run:
        with pytest.raises(ArchiveError, match=r"^2 of 4 PUBs of 'counts' .* partial=True"):
            run.primitive_result("counts")
        result = run.primitive_result("counts", partial=True)
        assert len(result) == 2
        assert result.metadata["qexp"]["pub"] == [0, 1]
        assert len(run.primitive_result("evs-of")) == 2


def test_the_table_of_pubs_agrees_with_the_pubs(two_workloads: Path) -> None:
    with qexp.open_archive(two_workloads) as run:
        for workload in run.workloads:
            table, isa = run.pub_table(workload), run.circuits(workload, isa=True)
            for row, pub in zip(table, run.pubs(workload), strict=True):
                assert (row.circuit, row.shape) == (pub.circuit.name, pub.shape)
                assert row.circuit_sha256 == circuit_sha256(pub.circuit)
                assert (row.num_qubits, row.depth) == (pub.circuit.num_qubits, pub.circuit.depth())
                assert (row.size, row.isa_depth) == (pub.circuit.size(), isa[row.index].depth())
                values = pub.parameter_values.as_array(row.parameter_names)
                found = table.parameter_values(row.index)
                assert found.shape == (*pub.shape, len(row.parameter_names))
                assert np.array_equal(found, np.broadcast_to(values, found.shape))
        sampled, estimated = run.pub_table("counts"), run.pub_table("evs-of")
        assert sampled.observables(0).tolist() == ["", "", ""]
        both = ['{"ZZ":0.5,"XI":-1.25}', '{"IY":0.3333333333333333}']
        assert estimated.observables(0).tolist() == [both, both]
        assert estimated.observables(1).shape == (3, 2)
        assert type(estimated.observables(1)[2, 1]) is str
        with pytest.raises(ArchiveError, match="no workload"):
            run.pub_table("other")


def test_identities_of_a_run_with_a_failed_job(tmp_path: Path) -> None:
    write_run(tmp_path, [*sampler_jobs([2]), None]).seal("partial", keep_parts=True)
    (pubs,) = pub_identities(tmp_path).values()
    assert [bool(pub.result) for pub in pubs] == [True, True, False, False]
    # One circuit, other parameter values for each.
    assert len({pub.logical for pub in pubs}) == 1
    assert len({pub.parameters for pub in pubs}) == 4
    assert {(pub.kind, pub.shots, pub.precision, pub.observables) for pub in pubs} == {
        ("sampler", 100, None, "")
    }
    with open_archive(tmp_path) as run:
        assert circuit_sha256(run.circuits()[0]) == pubs[0].logical


def identities_of(folder: Path, *pubs: object) -> tuple[PubIdentity, ...]:
    store = started(folder)
    write_partition(store, 0, 0, pubs)
    store.seal("planned", keep_parts=False)
    return pub_identities(folder)["main"]


def test_identities_of_a_run_without_results(tmp_path: Path) -> None:
    first, again, other = identities_of(
        tmp_path, estimator_pub(), estimator_pub(), estimator_pub(3)
    )
    assert first == again
    assert first.measurement_key != other.measurement_key
    assert (first.kind, first.precision, first.shots, first.result) == ("estimator", 0.01, None, "")


def test_shots_do_not_change_the_question(tmp_path: Path) -> None:
    few, many = identities_of(tmp_path, sampler_pub(shots=100), sampler_pub(shots=200))
    assert few.measurement_key == many.measurement_key
    assert (few.shots, many.shots) == (100, 200)


def test_equal_results_have_equal_digests(tmp_path: Path) -> None:
    (job,) = sampler_jobs([1])
    store = started(tmp_path)
    write_batch(store)
    write_partition(store, 0, 0, [sampler_pub(0), sampler_pub(0)])
    store.write_job(outcome(0, job * 2))
    store.seal("complete", keep_parts=False)
    one, other = pub_identities(tmp_path)["main"]
    assert one == other
    assert len(one.result) == 64


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "run.npy", np.zeros(2))
    with pytest.raises(ArchiveError, match="is not an HDF5 file"):
        pub_identities(tmp_path / "run.npy")
