from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from qiskit_ibm_runtime.execution_span import ExecutionSpans, SliceSpan
from qiskit_ibm_runtime.results.quantum_program import Metadata
from samplomatic.quantum_program import ChunkPart, ChunkSpan

from qexp.core.jsonable import dumps, dumps_plain, map_text, to_jsonable, to_plain

plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

START = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Model(BaseModel):
    shots: int = 3
    key: SecretStr = SecretStr("hidden")


@dataclass
class Point:
    x: float
    tags: tuple[str, ...]


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError


class HostileList(list[int]):
    def __iter__(self) -> Iterator[int]:
        raise RuntimeError


@given(plain_json)
def test_plain_json_is_unchanged(value: Any) -> None:
    assert to_jsonable(value) == value
    assert json.loads(dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([1 + 2j]), [{"real": 1.0, "imag": 2.0}]),
        (1j, {"real": 0.0, "imag": 1.0}),
        (float("nan"), "NaN"),
        ([float("inf"), -np.inf], ["Infinity", "-Infinity"]),
        (START, "2026-01-01T10:00:00+00:00"),
        (datetime(2026, 1, 1), "2026-01-01T00:00:00+00:00"),
        (date(2026, 1, 1), "2026-01-01"),
        (timedelta(seconds=1.5), 1.5),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ({Colour.RED: 1, 2: 3, (1, 2): 4}, {"red": 1, "2": 3, "(1, 2)": 4}),
        ({3, 1, 2}, [1, 2, 3]),
        (b"\x00\xff", "AP8="),
        (slice(1, 5), {"start": 1, "stop": 5, "step": None}),
        (Point(1.0, ("a",)), {"x": 1.0, "tags": ["a"]}),
        (Model(), {"shots": 3, "key": "SecretStr('**********')"}),
        (PurePosixPath("a/b"), "a/b"),
        (Point, f"{__name__}.Point"),
        (range(2), [0, 1]),
    ],
)
def test_known_types(value: Any, expected: Any) -> None:
    assert to_jsonable(value) == expected


def test_ibm_metadata_with_chunk_spans() -> None:
    metadata = Metadata([ChunkSpan(START, START, [ChunkPart(0, 2)])])
    assert to_jsonable({"executor": metadata}) == {
        "executor": {
            "chunk_timing": [
                {
                    "start": "2026-01-01T10:00:00+00:00",
                    "stop": "2026-01-01T10:00:00+00:00",
                    "parts": [{"idx_item": 0, "size": 2}],
                }
            ]
        }
    }


def test_ibm_execution_spans() -> None:
    spans = ExecutionSpans([SliceSpan(START, START, {0: ((10,), slice(0, 4))})])
    (span,) = to_jsonable(spans)
    assert span == {
        "type": "SliceSpan",
        "start": "2026-01-01T10:00:00+00:00",
        "stop": "2026-01-01T10:00:00+00:00",
        "pub_idxs": [0],
        "size": 4,
        "data_slices": {"0": [[10], {"start": 0, "stop": 4, "step": None}]},
    }


def test_what_is_unknown_or_hostile_becomes_text() -> None:
    recursive: list[Any] = [1]
    recursive.append(recursive)
    assert to_jsonable(object()) == "<object object>"
    assert to_jsonable(Hostile()) == f"<{__name__}.Hostile>"
    assert isinstance(to_jsonable(HostileList([1])), str)
    assert to_jsonable(recursive) == [1, "<recursive list>"]


@given(plain_json)
def test_what_was_converted_before_is_written_as_if_it_had_not_been(value: Any) -> None:
    for sort_keys in (False, True):
        expected = dumps({"a": value}, str.upper, sort_keys=sort_keys)
        plain = to_plain({"a": value}, str.upper)
        assert dumps(plain, str.lower, sort_keys=sort_keys) == expected
        assert dumps_plain(plain, sort_keys=sort_keys) == expected
        assert dumps([plain], str.lower) == f"[{dumps_plain(plain)}]"


def test_texts_are_mapped_with_their_keys() -> None:
    assert map_text({"a": ["a", 1, {"b": "a"}]}, str.upper) == {"A": ["A", 1, {"B": "A"}]}
    assert dumps({"b": UTC, "a": 1}, str.upper, sort_keys=True).startswith('{"A":1')
