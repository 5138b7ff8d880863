from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from qiskit.primitives import PrimitiveResult, PubResult
from qiskit.primitives.containers import DataBin
from qiskit_ibm_runtime.execution_span import (
    DoubleSliceSpan,
    ExecutionSpans,
    SliceSpan,
    TwirledSliceSpan,
    TwirledSliceSpanV2,
)
from qiskit_ibm_runtime.results.quantum_program import Metadata
from samplomatic.quantum_program import ChunkPart, ChunkSpan

from qexp.core.model import Span
from qexp.engines.ibm.collect import read_spans

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
T1, T2 = T0 + timedelta(seconds=1), T0 + timedelta(seconds=2)
START, MIDDLE, STOP = (f"2026-05-01T12:00:0{n}.000000Z" for n in range(3))


def result(metadata: dict[str, Any], num_pubs: int = 2) -> PrimitiveResult[Any]:
    return PrimitiveResult([PubResult(DataBin()) for _ in range(num_pubs)], metadata)


@pytest.mark.parametrize(
    ("span", "sizes"),
    [
        (SliceSpan(T0, T1, {0: ((3, 100), slice(0, 250)), 1: ((100,), slice(0, 40))}), [250, 40]),
        (
            DoubleSliceSpan(
                T0,
                T1,
                {
                    0: ((3, 100), slice(0, 2), slice(0, 50)),
                    1: ((1, 100), slice(0, 1), slice(0, 9)),
                },
            ),
            [100, 9],
        ),
        (TwirledSliceSpan(T0, T1, {1: ((4, 3, 16), True, slice(0, 6), slice(0, 16))}), [0, 96]),
        (TwirledSliceSpanV2(T0, T1, {0: ((4, 16), False, slice(0, 4), slice(0, 8), 60)}), [32, 0]),
    ],
)
def test_legacy_spans(span: Any, sizes: list[int]) -> None:
    metadata = {"execution": {"execution_spans": ExecutionSpans([span])}, "version": 2}
    expected = tuple(Span(START, MIDDLE, pub, size) for pub, size in enumerate(sizes) if size)
    assert read_spans(result(metadata)) == expected


def chunks(*parts: list[tuple[int, int]]) -> Metadata:
    times = [T0, T1, T2]
    return Metadata(
        chunk_timing=[
            ChunkSpan(times[k], times[k + 1], [ChunkPart(*part) for part in chunk])
            for k, chunk in enumerate(parts)
        ]
    )


def test_chunks_of_a_sampler_are_multiplied_by_shots() -> None:
    metadata = {
        "executor": chunks([(0, 6), (1, 1)], [(1, 5)]),
        "options": {"twirling": {"enable_gates": True}},
        "shots": 64,
    }
    assert read_spans(result(metadata)) == (
        Span(START, MIDDLE, 0, 384),
        Span(START, MIDDLE, 1, 64),
        Span(MIDDLE, STOP, 1, 320),
    )


def estimator_options(**resilience: Any) -> dict[str, Any]:
    twirling = {
        "enable_gates": False,
        "enable_measure": resilience.pop("twirl", False),
        "num_randomizations": "auto",
        "shots_per_randomization": "auto",
    }
    return {"twirling": twirling, "resilience": resilience}


def test_circuits_that_learn_the_noise_belong_to_no_pub() -> None:
    metadata = {
        "executor": chunks([(0, 32), (1, 32), (2, 32)]),
        "options": estimator_options(twirl=True, measure_mitigation=True, zne_mitigation=False),
        "shots": 4096,
    }
    assert read_spans(result(metadata)) == (
        Span(START, MIDDLE, 0, 32 * 128),
        Span(START, MIDDLE, 1, 32 * 128),
    )


@pytest.mark.parametrize("factors", ["auto", [1, 2, 3]])
def test_gate_folding_makes_an_item_per_noise_factor(factors: Any) -> None:
    zne = {"amplifier": "gate_folding", "noise_factors": factors}
    metadata = {
        "executor": chunks([(0, 1), (1, 1), (2, 1), (3, 1)], [(4, 1), (5, 1)]),
        "options": estimator_options(zne_mitigation=True, zne=zne),
        "shots": 100,
    }
    assert read_spans(result(metadata)) == (
        Span(START, MIDDLE, 0, 300),
        Span(START, MIDDLE, 1, 100),
        Span(MIDDLE, STOP, 1, 200),
    )


def test_probabilistic_amplification_makes_one_item_per_pub() -> None:
    metadata = {
        "executor": chunks([(0, 1), (1, 1)]),
        "options": estimator_options(zne_mitigation=True, zne={"amplifier": "pea"}),
        "shots": 10,
    }
    assert [span.pub for span in read_spans(result(metadata))] == [0, 1]


@pytest.mark.parametrize("metadata", [{}, {"executor": Metadata()}, {"execution": {}}])
def test_no_spans(metadata: dict[str, Any]) -> None:
    assert read_spans(result(metadata)) == ()


def test_times_are_utc() -> None:
    local = T0.astimezone(timezone(timedelta(hours=2)))
    span = SliceSpan(local, T1.replace(tzinfo=None), {0: ((1, 10), slice(0, 10))})
    metadata = {"execution": {"execution_spans": ExecutionSpans([span])}}
    assert read_spans(result(metadata)) == (Span(START, MIDDLE, 0, 10),)
