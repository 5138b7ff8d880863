from __future__ import annotations

import pytest
import yaml
from hypothesis import given

from qexp.config.diff import differences
from qexp.errors import ConfigError
from qexp.redact import redact
from tests.unit.config.test_recorded_config import CONFIGS, recorded

TOKEN = "s3cr3t-token-of-the-tests"
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/abc:def"


def test_the_same_config_differs_in_nothing():
    text = recorded("experiment=estimator_and_sampler")
    assert differences(text, text) == []


@given(CONFIGS)
def test_nothing_differs_from_itself(config):
    text = yaml.safe_dump(config)
    assert differences(text, text) == []


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("circuits.depth=8", "circuits.depth: recorded 5, now 8"),
        ("metadata.title=Mine", "metadata.title: recorded 'Random circuit sampling', now 'Mine'"),
        ("metadata.keywords=[a]", "metadata.keywords: recorded ['random circuits', 'sampling'], "),
        (
            "primitive.options.twirling.enable_gates=true",
            "primitive.options: recorded {}, now nothing",
        ),
        ("batch.max_time=1h", "batch.max_time: recorded None, now '1h'"),
        ("engine.allow_ignored_options=true", "engine.allow_ignored_options: recorded False, now"),
    ],
)
def test_what_decides_data_counts(override: str, expected: str):
    base = ("experiment=random_sampling", "engine=runtime-local")
    old, new = recorded(*base), recorded(*base, override)
    assert differences(old, new)[0].startswith(expected)
    assert differences(new, old)


@pytest.mark.parametrize(
    "override",
    [
        "execution.retries=7",
        "execution.deadline=2h",
        "engine.poll_interval_s=0.5",
        "stop_after=submit",
        "run_dir=somewhere",
    ],
)
def test_what_decides_no_data_does_not(override: str):
    base = ("experiment=random_sampling", "backend=least_busy")
    old, new = recorded(*base), recorded(*base, override)
    assert differences(old, new) == []
    # Nor does it, for a run of a version that had no such key.
    without = yaml.safe_load(old)
    del without["execution"]
    assert differences(yaml.safe_dump(without), new) == []


def test_of_the_local_engine_only_the_number_of_workers_decides_no_data():
    old = recorded("experiment=random_sampling")
    assert differences(old, recorded("experiment=random_sampling", "engine.workers=3")) == []
    old = recorded("experiment=ising")
    exact = recorded("experiment=ising", "engine.exact_expectation_values=true")
    assert differences(old, exact) == ["engine.exact_expectation_values: recorded False, now True"]


def test_a_secret_is_compared_by_its_mask(monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    base = ("experiment=random_sampling", "backend=least_busy")
    new = recorded(*base, f"backend.instance='{CRN}'", f"metadata.title='by {TOKEN}'")
    assert differences(redact(new), new) == []
    (text,) = differences(recorded(*base).replace("Random circuit s", "S"), new)[:1]
    assert CRN not in text


def test_numbers_are_equal_whatever_their_type():
    assert differences("a: 1\nb: 2.5", "a: 1.0\nb: 2.5") == []
    assert differences("a: 1", "a: true") == ["a: recorded 1, now True"]
    assert differences("a: 1", "a: '1'") == ["a: recorded 1, now '1'"]


def test_lists_of_maps_are_compared_by_key():
    old, new = "c: [{name: A}, {name: B}]", "c: [{name: A}, {name: C, orcid: x}]"
    assert differences(old, new) == [
        "c.1.name: recorded 'B', now 'C'",
        "c.1.orcid: recorded nothing, now 'x'",
    ]


def test_a_damaged_record_is_refused():
    with pytest.raises(ConfigError, match="the recorded config is not valid"):
        differences("a: [", "a: 1")
