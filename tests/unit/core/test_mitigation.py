from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.core.mitigation import (
    Executions,
    describe_bounds,
    executions,
    is_twirled,
    twirling_shots,
)
from qexp.core.model import Implementation, PrimitiveKind, PrimitiveSpec


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
    assert executions(1000, primitive("sampler")) == Executions(1, 1000)
    twirled = primitive("sampler", {"twirling": {"enable_gates": True, "num_randomizations": 32}})
    assert executions(1000, twirled) == Executions(32, 32)


def resilient(resilience: Mapping[str, Any], implementation: Implementation) -> PrimitiveSpec:
    options = {"resilience_level": 0, "resilience": resilience}
    return PrimitiveSpec("estimator", implementation, precision=0.1, options=options)


def test_the_legacy_estimator_learns_noise_in_the_job() -> None:
    calibrated = {"measure_mitigation": True}
    assert executions(4096, resilient(calibrated, "legacy")) == Executions(
        32, 128, readout=32 * 128
    )
    declared = {"num_randomizations": 10, "shots_per_randomization": 7}
    calibrated["measure_noise_learning"] = declared  # type: ignore[assignment]
    assert executions(4096, resilient(calibrated, "legacy")).readout == 70

    pea: dict[str, Any] = {"zne_mitigation": True, "zne": {"amplifier": "pea"}}
    learned = executions(4096, resilient(pea, "legacy"))
    assert learned.of_configuration == 3 * 4096
    # Six depths of nine circuits, of 32 randomizations.
    assert learned.learning == 4 * 6 * 9 * 32 * 128
    layers = {"max_layers_to_learn": 2, "layer_pair_depths": [0, 1], "num_randomizations": 5}
    pea["layer_noise_learning"] = layers
    assert executions(4096, resilient(pea, "legacy")).learning == 2 * 2 * 9 * 5 * 128
    # The client takes noise as learned before.
    assert executions(4096, resilient(pea, "client")).learning == 0


def test_pec_is_bounded_before_its_noise_is_learned() -> None:
    pec: dict[str, Any] = {"pec_mitigation": True}
    before = executions(4096, resilient(pec, "client"))
    assert before.each == 100 * 4096
    assert executions(4096, resilient(pec, "client"), gamma=1.5).each == 64 * 144
    assert describe_bounds(resilient(pec, "client")) == (
        "its noise is not learned yet, so that executions and QPU time are upper bounds, from "
        "resilience.pec.max_overhead=100"
    )
    pec["pec"] = {"max_overhead": 2}
    assert executions(4096, resilient(pec, "client")).each == 2 * 4096
    assert executions(4096, resilient(pec, "client"), gamma=9.0).each == 2 * 4096
    pec["pec"] = {"max_overhead": None}
    assert executions(4096, resilient(pec, "client")).each == 100 * 4096
    assert executions(4096, resilient(pec, "client"), gamma=20.0).each == 400 * 4096
    assert str(describe_bounds(resilient(pec, "legacy"))).endswith(
        "from resilience.pec.max_overhead=null (no bound: its default is taken) and "
        "resilience.layer_noise_learning.max_layers_to_learn=4"
    )
    assert describe_bounds(primitive("estimator")) is None
