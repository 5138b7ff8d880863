"""The text of an expression is the same before and after QPY."""

from __future__ import annotations

import io
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter

from qexp.archive.expressions import expression_text

A, B = Parameter("a"), Parameter("b")


def read_back(expression: Any) -> Any:
    circuit, stream = QuantumCircuit(1), io.BytesIO()
    circuit.rz(expression, 0)
    qpy.dump(circuit, stream)
    stream.seek(0)
    (value,) = qpy.load(stream)[0].data[0].params
    return value


def drawn(rng: Random) -> Any:
    expression: Any = rng.choice([A, B])
    for _ in range(rng.randint(1, 5)):
        number = rng.choice([2, 0.5, -1, -0.25, 3.3, 1, 0.0])
        expression = rng.choice(
            [
                lambda e, n: e + n,
                lambda e, n: n - e,
                lambda e, n: e * n,
                lambda e, n: n * -e,
                lambda e, n: e / (n or 1),
                lambda e, _: e + A * B,
                lambda e, _: (-e).sin(),
            ]
        )(expression, number)
    return expression + A


@given(st.randoms(use_true_random=False))
def test_texts_survive_qpy(rng: Random) -> None:
    expression = drawn(rng)
    assert expression_text(read_back(expression)) == expression_text(expression)


@pytest.mark.parametrize(
    ("expression", "text"), [(1 * A, "a"), (2 * A, "2*a"), (-0.5 * A, "(-0.5)*a"), (A + 1, "1 + a")]
)
def test_ordinary_texts_are_qiskits(expression: Any, text: str) -> None:
    assert expression_text(expression) == text
