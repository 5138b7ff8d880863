"""Rows of PUBs and the tables that are made of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.archive.circuits import load_circuit
from qexp.archive.pubs import PubRow, pub_rows
from qexp.archive.schema import as_tables
from qexp.core.model import PlannedPub


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
def test_any_cut_has_the_circuits_and_values_of_its_pubs(
    pubs: list[PlannedPub], rows: list[PubRow], cut: tuple[int, int]
) -> None:
    first, stop = cut
    tables = as_tables(row.cells for row in rows[first:stop])
    assert tables["pubs/main"].columns["pub"].values.tolist() == list(range(first, stop))
    isa = tables["circuits/main/isa"].columns
    starts, sizes = isa["qpy_start"].values, isa["qpy_size"].values
    assert isa["qpy"].shape == (int(np.sum(sizes)),)
    assert isa["name"].values == [f"c{index}" for index in range(first, stop)]
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
