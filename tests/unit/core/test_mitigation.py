from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.core.mitigation import is_twirled, shots_executed, twirling_shots
from qexp.core.model import PrimitiveKind, PrimitiveSpec


def primitive(kind: PrimitiveKind, options: Mapping[str, Any] | None = None) -> PrimitiveSpec:
    return PrimitiveSpec(kind, shots=4096, options=options or {})


@pytest.mark.parametrize(
    ("shots", "randomizations", "each", "expected"),
    [
        (4096, "auto", "auto", (32, 128)),
        (1024, "auto", "auto", (16, 64)),
        (10, "auto", "auto", (1, 64)),
        (1000, "auto", 300, (4, 300)),
        (1000, 32, "auto", (32, 32)),
        (1000, 7, 11, (7, 11)),
    ],
)
def test_twirling_divides_shots_as_documented(
    shots: int, randomizations: int | str, each: int | str, expected: tuple[int, int]
) -> None:
    assert twirling_shots(shots, randomizations, each) == expected


@given(st.integers(1, 10**6), st.integers(1, 1000) | st.just("auto"))
def test_twirling_never_executes_fewer_shots_than_asked(
    shots: int, randomizations: int | str
) -> None:
    assert math.prod(twirling_shots(shots, randomizations, "auto")) >= shots


@given(
    st.integers(1, 10**6),
    st.integers(1, 1000) | st.just("auto"),
    st.integers(1, 1000) | st.just("auto"),
)
def test_twirling_agrees_with_ibms_client(
    shots: int, randomizations: int | str, each: int | str
) -> None:
    from qiskit_ibm_runtime.executor.calculate_twirling_shots import calculate_twirling_shots

    assert twirling_shots(shots, randomizations, each) == calculate_twirling_shots(
        shots, randomizations, each
    )


@pytest.mark.parametrize(
    ("kind", "options", "twirled"),
    [
        ("sampler", {}, False),
        ("sampler", {"twirling": {"enable_gates": True}}, True),
        ("sampler", {"twirling": {"enable_measure": True}}, True),
        ("estimator", {}, True),
        ("estimator", {"resilience_level": 0}, False),
        ("estimator", {"resilience_level": 0, "twirling": {"enable_gates": True}}, True),
        ("estimator", {"resilience_level": 0, "resilience": {"measure_mitigation": True}}, True),
        ("estimator", {"resilience_level": 2}, True),
        ("estimator", {"resilience": {"measure_mitigation": False}}, True),
        (
            "estimator",
            {
                "resilience": {"measure_mitigation": False},
                "twirling": {"enable_measure": False},
            },
            False,
        ),
    ],
)
def test_whether_a_primitive_twirls_agrees_with_ibms_client(
    kind: PrimitiveKind, options: dict[str, Any], twirled: bool
) -> None:
    from qiskit_ibm_runtime.executor_estimator.finalize_options import finalize_estimator_options
    from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions

    assert is_twirled(primitive(kind, options)) is twirled
    if kind == "estimator":
        final = finalize_estimator_options(EstimatorOptions.model_validate(options)).twirling
        assert bool(final.enable_gates or final.enable_measure) is twirled


def test_executions_are_more_than_the_shots_where_twirling_rounds_up() -> None:
    assert shots_executed(1000, primitive("sampler")) == 1000
    twirled = primitive("sampler", {"twirling": {"enable_gates": True, "num_randomizations": 32}})
    assert shots_executed(1000, twirled) == 32 * 32
