"""What a job returned is what an archive gives back, whatever its fields, types and shapes."""

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
from qexp.archive.writer import RunStore
from tests.archives import (
    assert_same_result,
    estimator_pub,
    header,
    outcome,
    sampler_pub,
    sampler_result,
    write_partition,
)

SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
DTYPES = ("<f8", ">f8", "<f4", "<f2", "<i8", "|i1", "<u8", "<c16", "<c8", "|b1")


def store_and_read(results: list[Any], run_dir: Path) -> list[Any]:
    store = RunStore(run_dir)
    store.write_header(header())
    write_partition(store, 0, 0, [sampler_pub(k) for k in range(len(results))])
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


def test_values_that_are_no_arrays_come_back_equal(tmp_path: Path) -> None:
    data = DataBin(number=np.float64(0.5), plain=0.25, text="x", nested={"a": [1, 2]})
    (found,) = store_and_read([PubResult(data)], tmp_path)
    assert_same_result(found, PubResult(data))


def test_kerneled_iq_data_comes_back_complex(tmp_path: Path) -> None:
    points = np.array([[[1 + 2j], [3 - 4j]]])
    (found,) = store_and_read([SamplerPubResult(DataBin(meas=points, shape=(1,)))], tmp_path)
    assert_same_result(found, SamplerPubResult(DataBin(meas=points, shape=(1,))))


def test_register_and_field_names_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
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
