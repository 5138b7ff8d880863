"""Results of any fields, types and shapes come back from an archive as the job returned them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.primitives import (
    BitArray,
    DataBin,
    PubResult,
    SamplerPubResult,
    StatevectorEstimator,
    StatevectorSampler,
)

import qexp
from qexp.archive.digests import data_digest, pub_digest
from qexp.archive.results import counts_of
from qexp.errors import ArchiveError
from tests.archives import (
    assert_same_result,
    estimator_pub,
    estimator_result,
    outcome,
    sampler_pub,
    sampler_result,
    started,
    write_partition,
)

SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
DTYPES = ("<f8", ">f8", "<f4", "<f2", "<i8", "|i1", "<u8", "<c16", "<c8", "|b1")


def store_and_read(results: list[Any], run_dir: Path) -> list[Any]:
    store = started(run_dir, *[sampler_pub(k) for k in range(len(results))])
    store.write_job(outcome(0, results))
    with qexp.open_archive(store.seal("complete", keep_parts=False)) as run:
        found = list(run.results["main"])
        digests = [pub_digest(dict(result.data.items())) for result in results]
        expected = data_digest(("main", k, digest) for k, digest in enumerate(digests))
        assert run.data_sha256 == expected
    return found


@st.composite
def any_result(draw: st.DrawFn) -> PubResult:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sweep = draw(SHAPES)
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(["c", "meas", "pub", "a/b", "é ü"]), unique=True))
        registers = {name: draw(st.integers(0, 17)) for name in names}
        result = sampler_result(rng, registers, draw(st.integers(0, 40)), sweep)
        return SamplerPubResult(result.data, {"n": [1, None, {"k": "v"}]})
    fields: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["evs", "stds", "shot", "x_byte"]), unique=True)):
        shape = (*sweep, *draw(st.lists(st.integers(1, 3), max_size=2)))
        noise = 100 * rng.random(shape) + 1j * rng.random(shape)
        with np.errstate(all="ignore"):
            dtype = np.dtype(draw(st.sampled_from(DTYPES)))
            fields[name] = (noise if dtype.kind == "c" else noise.real).astype(dtype)
    return PubResult(DataBin(shape=sweep, **fields), {})


@settings(max_examples=15)
@given(st.lists(any_result(), min_size=1, max_size=4))
def test_any_result_comes_back_equal(results: list[PubResult]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = store_and_read(results, Path(folder))
    assert len(found) == len(results)
    for actual, expected in zip(found, results, strict=True):
        assert_same_result(actual, expected)


def test_values_other_than_arrays_come_back_equal(tmp_path: Path) -> None:
    data = DataBin(number=np.float64(0.5), plain=0.25, text="x", nested={"a": [1, 2]})
    (found,) = store_and_read([PubResult(data)], tmp_path)
    assert_same_result(found, PubResult(data))


def test_kerneled_iq_data_comes_back_complex(tmp_path: Path) -> None:
    points = np.array([[[1 + 2j], [3 - 4j]]])
    (found,) = store_and_read([SamplerPubResult(DataBin(meas=points, shape=(1,)))], tmp_path)
    assert_same_result(found, SamplerPubResult(DataBin(meas=points, shape=(1,))))


def test_similar_names_of_registers_and_fields_are_kept_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    results = [
        sampler_result(rng, {"a": 5, "b": 3}, 16),
        sampler_result(rng, {"a_5b_b": 3}, 16),
        sampler_result(rng, {"a": 3, "b": 5}, 16),
        PubResult(DataBin(a=np.zeros(16), shape=(16,))),
        PubResult(DataBin(a=np.zeros(16, "f4"), shape=(16,))),
        sampler_result(rng, {"a": 5, "b": 3}, 16),
        # The first is no name of a dataset; the second is what it is stored as.
        sampler_result(rng, {"pub": 2, "field_0": 3}, 16),
        sampler_result(rng, {"field_1": 2, "größe": 3}, 16),
    ]
    for actual, expected in zip(store_and_read(results, tmp_path), results, strict=True):
        assert_same_result(actual, expected)


def test_bit_order_is_kept(tmp_path: Path) -> None:
    bits = BitArray.from_samples(["100000001", "000000001"], num_bits=9)
    (found,) = store_and_read([SamplerPubResult(DataBin(meas=bits))], tmp_path)
    assert found.data.meas.get_counts() == {"100000001": 1, "000000001": 1}


def test_a_large_pub_is_split_into_chunks(tmp_path: Path) -> None:
    array = np.zeros((2, 3_000_000, 1), dtype=np.uint8)
    array[1, ::7] = 5
    result = SamplerPubResult(DataBin(c=BitArray(array, 8), shape=(2,)))
    (found,) = store_and_read([result], tmp_path)
    assert_same_result(found, result)


@pytest.mark.parametrize("kind", ["sampler", "estimator"])
def test_qiskit_primitives_results_come_back_equal(kind: str, tmp_path: Path) -> None:
    if kind == "sampler":
        result = StatevectorSampler(seed=1).run([sampler_pub(k) for k in range(3)]).result()
    else:
        result = StatevectorEstimator(seed=1).run([estimator_pub(), estimator_pub(4)]).result()
    found = store_and_read(list(result), tmp_path)
    for actual, expected in zip(found, result, strict=True):
        assert_same_result(actual, expected)


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


def test_counts_do_not_depend_on_memory_layout() -> None:
    array = np.random.default_rng(0).integers(0, 4, (6, 50, 3), dtype=np.uint8)[::2, ::-1]
    bits = BitArray(array, 20)
    assert counts_of(bits) == bits.get_counts()


@pytest.fixture
def run(tmp_path: Path):
    """A job with two registers, one that failed, and an Estimator's."""
    rng = np.random.default_rng(1)
    store = started(tmp_path)
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


def test_counts_of_a_missing_register_are_refused(run: qexp.Archive) -> None:
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
    store = started(tmp_path, sampler_pub())
    with qexp.open_archive(store.seal("planned", keep_parts=True)) as run:
        assert run.usage_s == 0.0
        assert run.counts().available == ()
