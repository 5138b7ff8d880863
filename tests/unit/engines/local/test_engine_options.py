from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.core.model import PrimitiveKind, PrimitiveSpec
from qexp.engines.local.options import ignored_options, is_compiled, unsupported_options


def lost(kind: PrimitiveKind, options: dict[str, Any]) -> dict[str, Any]:
    return unsupported_options(PrimitiveSpec(kind, options=options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"default_shots": 100},
        {"simulator": {"seed_simulator": 0}},
        {"environment": {"job_tags": ["a"], "log_level": "DEBUG", "private": False}},
        {"execution": {"init_qubits": True, "meas_type": "classified", "rep_delay": None}},
        {"dynamical_decoupling": {"enable": False, "sequence_type": "XY4"}},
        {"dynamical_decoupling": {"sequence_type": "XY4"}},
        {"twirling": {"enable_gates": False, "num_randomizations": 32}},
        {"experimental": {}, "max_execution_time": None},
        {"simulator": {"warn_absent": False, "angle_decimals": 5}},
    ],
)
def test_sampler_options_that_lose_nothing(options: dict[str, Any]) -> None:
    assert lost("sampler", options) == {}


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (
            {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}},
            {"dynamical_decoupling.enable", "dynamical_decoupling.sequence_type"},
        ),
        (
            {"twirling": {"enable_measure": True, "enable_gates": False, "strategy": "all"}},
            {"twirling.enable_measure", "twirling.strategy"},
        ),
        ({"execution": {"init_qubits": False}}, {"execution.init_qubits"}),
        ({"execution": {"meas_type": "kerneled"}}, {"execution.meas_type"}),
        ({"execution": {"rep_delay": 1e-4}}, {"execution.rep_delay"}),
        ({"execution": {"scheduler_timing": True}}, {"execution.scheduler_timing"}),
        ({"environment": {"private": True}}, {"environment.private"}),
        ({"environment": {"image": "a/b:c"}}, {"environment.image"}),
        ({"max_execution_time": 300}, {"max_execution_time"}),
        ({"simulator": {"angle_decimals": 3}}, {"simulator.angle_decimals"}),
        ({"simulator": {"noise_model": {"errors": []}}}, {"simulator.noise_model.errors"}),
        ({"experimental": {"a": {"b": 1}}}, {"experimental.a.b"}),
    ],
)
def test_sampler_options_that_are_lost(options: dict[str, Any], paths: set[str]) -> None:
    assert set(lost("sampler", options)) == paths


@pytest.mark.parametrize(
    "options",
    [
        {"resilience_level": 0, "default_precision": 0.1, "seed_estimator": 4},
        {"resilience": {"measure_mitigation": False, "measure_noise_learning": {"x": 1}}},
        {"resilience": {"zne_mitigation": False, "zne": {"noise_factors": [1, 3]}}},
        {"resilience": {"pec": {"max_overhead": 10}}},
        {"resilience_level": 0, "twirling": {"num_randomizations": 8}},
    ],
)
def test_estimator_options_that_lose_nothing(options: dict[str, Any]) -> None:
    assert lost("estimator", options) == {}


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        # 1 is IBM's default; declared, it is a promise that this engine cannot keep.
        ({"resilience_level": 1}, {"resilience_level"}),
        ({"twirling": {"num_randomizations": 8}}, {"twirling.num_randomizations"}),
        (
            {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1, 3]}}},
            {"resilience_level", "resilience.zne.noise_factors"},
        ),
        (
            {"resilience": {"pec_mitigation": True, "pec": {"max_overhead": 10}}},
            {"resilience.pec_mitigation", "resilience.pec.max_overhead"},
        ),
        (
            {"resilience": {"measure_noise_learning": {"num_randomizations": 8}}},
            {"resilience.measure_noise_learning.num_randomizations"},
        ),
    ],
)
def test_estimator_options_that_are_lost(options: dict[str, Any], paths: set[str]) -> None:
    assert set(lost("estimator", options)) == paths


@pytest.mark.parametrize(
    ("options", "ignored", "compiled"),
    [
        # Twirling and TREX are on from IBM's level 1, which is not the default here.
        ({"twirling": {"num_randomizations": 8}}, {"twirling.num_randomizations": 8}, False),
        (
            {
                "resilience_level": None,
                "resilience": {"measure_noise_learning": {"num_randomizations": 8}},
            },
            {"resilience.measure_noise_learning.num_randomizations": 8},
            False,
        ),
        ({"resilience_level": 1, "twirling": {"num_randomizations": 8}}, {}, True),
        ({"twirling": {"enable_gates": True, "num_randomizations": 8}}, {}, True),
        ({"resilience_level": 0}, {}, False),
    ],
)
def test_what_tunes_a_technique_that_is_off_here_would_be_ignored(
    options: dict[str, Any], ignored: dict[str, Any], compiled: bool
) -> None:
    primitive = PrimitiveSpec("estimator", "client", options=options)
    assert ignored_options(primitive) == ignored
    assert is_compiled(primitive) is compiled


def test_values_are_reported_as_declared() -> None:
    assert lost("sampler", {"execution": {"rep_delay": 1e-4}}) == {"execution.rep_delay": 1e-4}


def test_the_clients_sampler_defaults_lose_nothing_when_spelled_out() -> None:
    from qiskit_ibm_runtime.options_models import SamplerOptions

    assert lost("sampler", SamplerOptions().model_dump()) == {}


def test_techniques_of_the_estimators_default_level_are_unsupported() -> None:
    from qiskit_ibm_runtime.options_models import EstimatorOptions

    roots = {path.rpartition(".")[0] for path in lost("estimator", EstimatorOptions().model_dump())}
    assert roots == {"", "twirling", "resilience.measure_noise_learning"}


LEAF = st.sampled_from([None, True, False, 0, 1, "auto"])
OPTIONS = st.recursive(
    st.dictionaries(st.sampled_from(["enable", "zne", "a", "twirling", "resilience"]), LEAF),
    lambda inner: st.dictionaries(st.sampled_from(["twirling", "resilience", "x"]), inner | LEAF),
    max_leaves=8,
)


@given(OPTIONS)
def test_only_declared_options_are_reported(options: dict[str, Any]) -> None:
    for path, value in lost("sampler", options).items():
        found: Any = options
        for key in path.split("."):
            found = found[key]
        assert found == value
        assert value is not None
