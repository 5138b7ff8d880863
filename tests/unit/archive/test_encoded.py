"""Runs of encoded PUBs, cut anywhere and put together, are what encoding the partition gives."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.archive.encoded import EncodedPub, encode, partition_tables
from qexp.archive.pubs import pub_tables
from qexp.archive.tables import Table
from qexp.core.model import PlannedPub


def pub(index: int) -> PlannedPub:
    """Every third one has parameters; sizes differ."""
    circuit = QuantumCircuit(2, name=f"c{index}")
    for _ in range(index % 4):
        circuit.sx(0)
    values = None
    if index % 3 == 0:
        circuit.rx(Parameter("a"), 0)
        values = [[0.1 * index]] * (1 + index % 2)
    circuit.measure_all()
    made = SamplerPub.coerce((circuit, values, 10))
    return PlannedPub("main", index, made, made)


@pytest.fixture(scope="module")
def pubs() -> list[PlannedPub]:
    return [pub(index) for index in range(12)]


def plain(tables: dict[str, Table]) -> dict[str, Any]:
    found = {}
    for path, table in tables.items():
        for name, column in table.columns.items():
            if name.startswith("qpy") or 0 in column.shape:
                # QPY bytes of parameters differ each time.
                continue
            values = column.as_texts() if column.is_text else repr(column.values.tolist())
            found[path, name] = (values, column.dims, column.base, dict(column.attrs))
    return found


@given(
    cuts=st.sets(st.integers(1, 11)),
    bounds=st.tuples(st.integers(0, 11), st.integers(1, 12)).filter(lambda pair: pair[0] < pair[1]),
)
def test_any_cut_gives_the_same_tables(
    pubs: list[PlannedPub], cuts: set[int], bounds: tuple[int, int]
):
    edges = [0, *sorted(cuts), len(pubs)]
    runs = [encode("main", a, pubs[a:b], str) for a, b in pairwise(edges)]
    encoded = [
        EncodedPub(run, index) for run in runs for index in range(run.first, run.first + run.count)
    ]
    first, stop = bounds
    tables = partition_tables(encoded[first:stop], 5)
    expected = pub_tables("main", first, 5, pubs[first:stop], str)
    assert plain(tables) == plain(expected)
    columns = tables["circuits/main/isa"].columns
    starts, sizes = columns["qpy_start"].values, columns["qpy_size"].values
    assert int(starts[0]) == 0
    np.testing.assert_array_equal(starts[1:], np.cumsum(sizes)[:-1])
    assert columns["qpy"].shape == (int(np.sum(sizes)),)
