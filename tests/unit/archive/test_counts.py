"""Counts that are found quickly are those that Qiskit finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.primitives import BitArray

import qexp
from qexp.archive.results import counts_of
from qexp.archive.writer import RunStore
from qexp.errors import ArchiveError
from tests.archives import (
    estimator_pub,
    estimator_result,
    header,
    outcome,
    sampler_pub,
    sampler_result,
    write_partition,
)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 130),
    st.sampled_from([(1,), (40,), (2, 3, 5), (2, 0)]),
)
def test_counts_are_those_of_qiskit_in_their_order(seed: int, num_bits: int, shape) -> None:
    rng = np.random.default_rng(seed)
    num_bytes = -(-num_bits // 8)
    few = rng.integers(0, 256, (4, num_bytes), dtype=np.uint8)
    # Unused leading bits are set too: they mean nothing.
    bits = BitArray(few[rng.integers(0, 4, shape)], num_bits)
    assert list(counts_of(bits).items()) == list(bits.get_counts().items())


def test_counts_do_not_depend_on_how_bits_lie_in_memory() -> None:
    array = np.random.default_rng(0).integers(0, 4, (6, 50, 3), dtype=np.uint8)[::2, ::-1]
    bits = BitArray(array, 20)
    assert counts_of(bits) == bits.get_counts()


@pytest.fixture
def run(tmp_path: Path):
    """A job with two registers, one that failed, and an Estimator's."""
    rng = np.random.default_rng(1)
    store = RunStore(tmp_path)
    store.write_header(header())
    for index, first in enumerate((0, 2)):
        write_partition(store, index, first, [sampler_pub(k) for k in range(2)])
    write_partition(store, 2, 0, [estimator_pub()], "values")
    results = [sampler_result(rng, {"alpha": 2, "beta": 9}, 30, (3,)) for _ in range(2)]
    usage = {"usage": {"qpu_charge_time_seconds": 1.25}}
    store.write_job(outcome(0, results, metrics=usage))
    store.write_job(outcome(1, None, metrics={}))
    store.write_job(outcome(2, [estimator_result(rng, (2, 2))], metrics=usage))
    with qexp.open_archive(store.seal("partial", keep_parts=False)) as run:
        yield run


def test_counts_of_registers_and_of_all_of_them(run: qexp.Archive) -> None:
    results = run.results["main"]
    assert run.counts().available == (0, 1)
    for k in (0, 1):
        assert run.counts()[k] == results[k].join_data().get_counts()
        for register in ("alpha", "beta"):
            assert run.counts(register=register)[k] == results[k].data[register].get_counts()


def test_counts_that_are_not_there(run: qexp.Archive) -> None:
    with pytest.raises(ArchiveError, match=r"PUB 0 of 'main' .* 'gamma'; .*: alpha, beta"):
        run.counts(register="gamma")[0]
    with pytest.raises(ArchiveError, match="PUB 2 of 'main' has no result: job job-1 ended"):
        run.counts()[2]
    with pytest.raises(ArchiveError, match=r"PUB 0 of 'values' .* its registers: none"):
        run.counts("values")[0]
    with pytest.raises(ArchiveError, match="no workload 'other'"):
        run.counts("other")


def test_usage_is_summed_where_it_is_reported(run: qexp.Archive) -> None:
    assert run.usage_s == 2.5
    assert run.usage_s == sum(job.usage_s or 0.0 for job in run.jobs)


def test_a_planned_run_has_no_usage(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write_header(header())
    write_partition(store, 0, 0, [sampler_pub()])
    with qexp.open_archive(store.seal("planned", keep_parts=True)) as run:
        assert run.usage_s == 0.0
        assert run.counts().available == ()
