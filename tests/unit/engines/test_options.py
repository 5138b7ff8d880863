from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qexp.core.model import Implementation, PrimitiveKind
from qexp.engines.options import build_options, check_options, declared_leaves, dump_options
from qexp.errors import ConfigError


def _finalised(
    kind: PrimitiveKind, implementation: Implementation, options: dict[str, Any]
) -> dict[str, Any]:
    return dump_options(implementation, build_options(kind, implementation, options))


BOTH = pytest.mark.parametrize("implementation", ["client", "legacy"])


def refusal(
    options: dict[Any, Any],
    kind: PrimitiveKind = "sampler",
    implementation: Implementation = "client",
) -> str:
    with pytest.raises(ConfigError) as caught:
        check_options(kind, implementation, options, "primitive.options")
    message = str(caught.value)
    assert "\n" not in message
    return message


@BOTH
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sampler", {"default_shots": 100}),
        ("sampler", {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}}),
        ("sampler", {"twirling": {"enable_gates": True, "num_randomizations": 32}}),
        ("sampler", {"twirling": {"num_randomizations": "auto", "strategy": "all"}}),
        ("sampler", {"execution": {"init_qubits": False, "meas_type": "kerneled"}}),
        ("sampler", {"execution": {"rep_delay": 1e-4}}),
        ("sampler", {"environment": {"job_tags": ["a", "b"], "log_level": "INFO"}}),
        ("sampler", {"experimental": {"anything": {"goes": [1]}}}),
        ("sampler", {"simulator": {"seed_simulator": 3}, "max_execution_time": 60}),
        ("estimator", {"default_precision": 1}),
        ("estimator", {"resilience_level": 2}),
        ("estimator", {"resilience": {"zne": {"noise_factors": [1, 2.5, 3]}}}),
        ("estimator", {"resilience": {"zne": {"extrapolator": "linear"}}}),
        ("estimator", {"resilience": {"zne": {"extrapolator": ["linear", "exponential"]}}}),
        ("estimator", {"resilience": {"measure_mitigation": True, "zne_mitigation": True}}),
        ("estimator", {"resilience": {"pec": {"max_overhead": None}}}),
    ],
)
def test_accepts_the_options_that_ibm_offers(
    kind: PrimitiveKind, implementation: Implementation, options: dict[str, Any]
) -> None:
    check_options(kind, implementation, options, "primitive.options")
    finalised = _finalised(kind, implementation, options)
    assert json.loads(json.dumps(finalised)) == finalised


@BOTH
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"dynamical_decoupling": {"enabel": True}},
            "primitive.options.dynamical_decoupling.enabel: unknown option, did you mean 'enable'? "
            "allowed here: enable, extra_slack_distribution, scheduling_method, sequence_type, "
            "skip_reset_qubits",
        ),
        ({"twirlling": {}}, "primitive.options.twirlling: unknown option, did you mean 'twirling'"),
        ({"_VERSION": 3}, "primitive.options._VERSION: unknown option"),
        ({3: True}, "primitive.options.3: unknown option"),
        ({"default_shots": "abc"}, "primitive.options.default_shots: 'abc' is not allowed"),
        ({"default_shots": "12"}, "'12' is not allowed, expected an integer"),
        ({"default_shots": 4096.0}, "4096.0 is not allowed, expected an integer"),
        ({"default_shots": True}, "True is not allowed, expected an integer"),
        (
            {"dynamical_decoupling": {"enable": "yes"}},
            "dynamical_decoupling.enable: 'yes' is not allowed, expected true or false",
        ),
        ({"dynamical_decoupling": {"enable": 1}}, "1 is not allowed, expected true or false"),
        (
            {"dynamical_decoupling": {"sequence_type": "XYXY"}},
            "'XYXY' is not allowed, expected one of 'XX', 'XpXm', 'XY4'",
        ),
        ({"twirling": {"num_randomizations": "autoo"}}, "'autoo' is not allowed, expected an int"),
        ({"twirling": {"num_randomizations": 0}}, "twirling.num_randomizations: 0 is not allowed"),
        ({"twirling": 5}, "5 is not allowed, it holds the options enable_gates, enable_measure"),
        ({"twirling": None}, "None is not allowed, it holds the options enable_gates"),
        ({"environment": {"job_tags": "mine"}}, "environment.job_tags: 'mine' is not allowed"),
        ({"environment": {"job_tags": ["a", 1]}}, "environment.job_tags: ['a', 1] is not allowed"),
        ({"environment": {"job_tags": ["x" * 87]}}, "a tag is a string of 1 to 86 characters"),
        ({"environment": {"job_tags": list("abcde")}}, "5 tags are not allowed, at most 4"),
        ({"execution": {"rep_delay": float("nan")}}, "execution.rep_delay: nan is not allowed"),
    ],
)
def test_refuses_sampler_options(
    implementation: Implementation, options: dict[Any, Any], expected: str
) -> None:
    assert expected in refusal(options, "sampler", implementation)


@BOTH
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"default_precision": -1.0}, "primitive.options.default_precision: -1.0 is not allowed"),
        ({"default_precision": True}, "expected a number"),
        ({"resilience_level": 3}, "primitive.options.resilience_level: 3 is not allowed"),
        ({"resilience_level": True}, "primitive.options.resilience_level: True is not allowed"),
        (
            {"resilience": {"zne": {"noise_factors": ["1", "2"]}}},
            "resilience.zne.noise_factors: ['1', '2'] is not allowed, expected a list of",
        ),
        ({"resilience": {"zne": {"noise_factors": [0.5, 1]}}}, "[0.5, 1] is not allowed"),
        (
            {"resilience": {"zne": {"extrapolator": "linar"}}},
            "resilience.zne.extrapolator: 'linar' is not allowed, expected one of 'linear', ",
        ),
        (
            {"resilience": {"layer_noise_model": [1]}},
            "resilience.layer_noise_model: [1] is not allowed, it takes Python objects, which YAML "
            "cannot express",
        ),
        (
            {"resilience": {"zne_mitigation": True, "pec_mitigation": True}},
            "PEC mitigation and ZNE mitigation are incompatible"
            "|'pec_mitigation' and 'zne_mitigation' options cannot be simultaneously enabled",
        ),
        (
            {
                "resilience": {
                    "zne_mitigation": True,
                    "zne": {"noise_factors": [1, 3], "extrapolator": ["polynomial_degree_4"]},
                }
            },
            "polynomial_degree_4 requires at least 5 noise_factors",
        ),
    ],
)
def test_refuses_estimator_options(
    implementation: Implementation, options: dict[Any, Any], expected: str
) -> None:
    message = refusal(options, "estimator", implementation)
    assert any(part in message for part in expected.split("|"))


def test_options_of_the_other_implementation_are_unknown() -> None:
    assert "simulator.noise_model: unknown" in refusal({"simulator": {"noise_model": {}}})
    message = refusal({"environment": {"image": "a:b"}}, implementation="legacy")
    assert "environment.image: unknown option" in message


def test_a_noise_model_object_cannot_be_declared() -> None:
    message = refusal({"simulator": {"noise_model": 5}}, implementation="legacy")
    assert message == (
        "primitive.options.simulator.noise_model: 5 is not allowed, expected a mapping or null"
    )


def test_options_that_the_client_would_override_are_refused() -> None:
    message = refusal({"twirling": {"enable_measure": False}}, "estimator")
    assert "measurement mitigation requires twirling.enable_measure=True" in message


def test_options_that_the_client_refuses_at_run_time_are_refused_earlier() -> None:
    options = {"execution": {"meas_type": "kerneled"}, "twirling": {"enable_measure": True}}
    assert "'meas_type=kerneled' and measurement twirling are not compatible" in refusal(options)
    message = refusal({"resilience": {"pec_mitigation": True}}, "estimator")
    assert "use primitive.implementation=legacy" in message


def test_every_problem_is_named_with_its_path() -> None:
    message = refusal({"default_shots": "a", "twirling": {"strategy": "none", "x": 1}})
    assert [part.split(":")[0] for part in message.split("; ")] == [
        "primitive.options.default_shots",
        "primitive.options.twirling.strategy",
        "primitive.options.twirling.x",
    ]


def test_deprecated_options_are_accepted_quietly() -> None:
    check_options("sampler", "client", {"environment": {"max_execution_time": 60}}, "p")
    noise = {"measure_mitigation": True, "measure_noise_learning": {"shots_per_randomization": 9}}
    check_options("estimator", "legacy", {"resilience": noise}, "p")


def test_no_import_without_options() -> None:
    code = (
        "import sys; from qexp.engines.options import check_options;"
        "check_options('sampler', 'client', {}, 'p'); print('qiskit' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_finalised_client_options_have_the_defaults_filled_in() -> None:
    finalised = _finalised("estimator", "client", {"resilience_level": 2})
    assert finalised["twirling"]["enable_gates"] is True
    assert finalised["resilience"]["zne_mitigation"] is True
    assert finalised["default_precision"] == 0.015625


def test_finalised_legacy_options_hold_what_is_set() -> None:
    finalised = _finalised("sampler", "legacy", {"twirling": {"enable_gates": False}})
    assert finalised["twirling"] == {"enable_gates": False}
    assert "dynamical_decoupling" not in finalised


def test_declared_leaves() -> None:
    options = {"a": {"b": 1, "c": None}, "d": {}, "e": [1]}
    assert list(declared_leaves(options)) == [("a.b", 1), ("d", {}), ("e", [1])]


scalars = st.none() | st.booleans() | st.integers(-5, 5000) | st.floats() | st.text(max_size=5)


@settings(max_examples=150)
@given(
    implementation=st.sampled_from(["client", "legacy"]),
    enable=scalars,
    shots=scalars,
    randomizations=scalars | st.just("auto"),
)
def test_accepted_options_are_not_converted(
    implementation: Implementation, enable: Any, shots: Any, randomizations: Any
) -> None:
    options = {
        "default_shots": shots,
        "twirling": {"enable_gates": enable, "num_randomizations": randomizations},
    }
    try:
        check_options("sampler", implementation, options, "p")
    except ConfigError:
        return
    built = build_options("sampler", implementation, options)
    kept = (built.default_shots, built.twirling.enable_gates, built.twirling.num_randomizations)
    declared = (shots, enable, randomizations)
    assert [(type(value), value) for value in kept] == [(type(v), v) for v in declared]
