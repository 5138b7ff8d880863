from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.primitives import BitArray

from qexp.archive.digests import data_digest, pub_digest


def sha(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_bits_are_hashed_as_documented() -> None:
    array = np.array([[1, 2], [0, 255]], dtype=np.uint8)
    expected = sha(b'["meas","|u1",[2,2],9]\n', b"\x01\x02\x00\xff")
    assert pub_digest({"meas": BitArray(array, 9)}) == expected


def test_arrays_are_hashed_in_order_of_their_names() -> None:
    stds, evs = np.array([1.0]), np.array(2.0)
    parts = (b'["evs","<f8",[]]\n', evs.tobytes(), b'["stds","<f8",[1]]\n', stds.tobytes())
    assert pub_digest({"stds": stds, "evs": evs}) == sha(*parts)


def test_other_values_are_hashed_as_json() -> None:
    assert pub_digest({"x": {"b": 1, "a": None}}) == sha(b'["x","json",16]\n{"a":null,"b":1}')


@pytest.mark.parametrize(
    "other",
    [
        {"y": np.array([1.0, 2.0])},
        {"x": np.array([[1.0, 2.0]])},
        {"x": np.array([1.0, 2.0], "f4")},
        {"x": np.array([2.0, 1.0])},
        {"x": [1.0, 2.0]},
        {},
    ],
)
def test_name_shape_type_and_values_count(other: dict[str, Any]) -> None:
    assert pub_digest(other) != pub_digest({"x": np.array([1.0, 2.0])})


def test_memory_layout_and_byte_order_do_not_count() -> None:
    array = np.arange(6.0).reshape(2, 3)
    expected = pub_digest({"x": array})
    assert pub_digest({"x": np.asfortranarray(array)}) == expected
    assert pub_digest({"x": array.astype(">f8")}) == expected
    assert pub_digest({"x": np.float64(3)}) == pub_digest({"x": np.array(3.0)})


@given(st.permutations([("a", 0, "x"), ("a", 1, "y"), ("b", 0, "x"), ("a", 10, "z")]))
def test_order_of_completion_does_not_count(pubs: list[tuple[str, int, str]]) -> None:
    lines = b'["a",0,"x"]\n["a",1,"y"]\n["a",10,"z"]\n["b",0,"x"]\n'
    assert data_digest(pubs) == sha(lines)
