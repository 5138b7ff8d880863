from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from qexp.config.load import as_yaml, load
from qexp.config.paths import shipped_root
from qexp.config.recorded_config import (
    _DECIDES_NO_DATA,
    differences,
    given_workloads,
    is_masked,
    load_recorded,
    parse,
)
from qexp.core.flatten import leaves
from qexp.core.spec import RunSpec
from qexp.errors import ConfigError, QexpError
from qexp.redact import redact
from tests.unit.config.conftest import composed

LoadSpec = Callable[..., RunSpec]
TOKEN = "s3cr3t-token-of-the-tests"
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/abc:def"
EVIL = "import pathlib\npathlib.Path('evil.txt').write_text('x')\ndef run(): ...\n"


@pytest.fixture
def evil(tmp_path, monkeypatch) -> str:
    """A module that leaves a trace when it is imported."""
    (tmp_path / "evil_module.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "evil_module", raising=False)
    return "evil_module.run"


@cache
def recorded(*overrides: str) -> str:
    """The config that a run of these overrides records."""
    return load(composed(*overrides)).config_yaml


def changed(config_yaml: str, **values: Any) -> str:
    """A recorded config with some keys (`a__b` is a.b) set to other values."""
    config = yaml.safe_load(config_yaml)
    for key, value in values.items():
        *nodes, last = key.split("__")
        node = config
        for name in nodes:
            node = node[name]
        node[last] = value
    return yaml.safe_dump(config)


@pytest.mark.parametrize("experiment", ["random_sampling", "estimator_and_sampler"])
@pytest.mark.parametrize("backend", ["local", "least_busy"])
def test_what_was_recorded_is_the_same_run(load_spec: LoadSpec, experiment: str, backend: str):
    spec = load_spec(f"experiment={experiment}", f"backend={backend}", "seed=3")
    again = load_recorded(spec.config_yaml, [], needs_circuits=True)
    for name in ("experiment", "seed", "partition", "limits", "metadata", "policy", "config_yaml"):
        assert getattr(again, name) == getattr(spec, name)
    for now, then in zip(again.workloads, spec.workloads, strict=True):
        assert (now.name, now.primitive, now.transpile) == (
            then.name,
            then.primitive,
            then.transpile,
        )
        assert callable(now.generate)
    assert again.engine.name == spec.engine.name


@pytest.mark.parametrize(
    "node", ["backend", "engine", "circuits", "primitive.options.a", "metadata"]
)
@pytest.mark.parametrize("target", ["evil_module.run", "os.system", "qexp.experiment.run", 3, "x"])
def test_a_target_outside_the_list_is_refused_before_it_is_imported(
    evil: str, tmp_path, node: str, target: Any
):
    config = yaml.safe_load(recorded("experiment=random_sampling"))
    place = config
    for name in node.split("."):
        place = place.setdefault(name, {})
    place["_target_"] = target
    with pytest.raises(ConfigError) as caught:
        load_recorded(yaml.safe_dump(config), ["experiments"], needs_circuits=True)
    message = str(caught.value)
    assert message.startswith(f"{node}._target_: the run's recorded config names '{target}'")
    assert "--trust " in message
    assert "\n" not in message
    assert "evil_module" not in sys.modules
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize(
    "target",
    [
        # Imported into a module of qexp, not defined there.
        "qexp.circuits.random.np.save",
        "qexp.engines.ibm.select.redact",
        "qexp.engines.ibm.select._connect",
        "qexp.engines.options.check_options.__globals__",
        "qexp.circuits..os.system",
        "qexp.circuits.nothing.f",
        "qexp.circuits.random.random_circuit",
        "qexp.enginesx.f",
    ],
)
def test_only_what_qexp_defines_itself_is_its_own(target: str):
    text = changed(recorded("experiment=random_sampling"), backend___target_=target)
    with pytest.raises(ConfigError) as caught:
        load_recorded(text, [], needs_circuits=True)
    assert "\n" not in str(caught.value)


def test_nested_targets_of_workloads_are_checked_too(evil: str):
    text = recorded("experiment=estimator_and_sampler")
    nested = {"_target_": evil}
    text = changed(text, workloads__sampler__circuits__num_circuits=nested)
    with pytest.raises(ConfigError, match=r"^workloads\.sampler\.circuits\.num_circuits\._target_"):
        load_recorded(text, [], needs_circuits=True)
    assert load_recorded(text, [], needs_circuits=False)
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    ("trust", "is_allowed"),
    [
        (["experiments"], True),
        (["experiments.chsh"], True),
        (["experiments."], True),
        (["nothing", "experiments.chsh.pubs"], True),
        (["experiment"], False),
        (["experiments.chs"], False),
        ([""], False),
        (["."], False),
        ([], False),
    ],
)
def test_what_the_user_trusts(trust: list[str], is_allowed: bool):
    text = recorded("experiment=chsh")
    if is_allowed:
        assert load_recorded(text, trust, needs_circuits=True).workloads
    else:
        with pytest.raises(ConfigError, match=r"it is imported only if you say so: --trust exp"):
            load_recorded(text, trust, needs_circuits=True)


def test_circuits_that_are_on_disk_are_not_needed():
    text = recorded("experiment=chsh")
    (workload,) = load_recorded(text, [], needs_circuits=False).workloads
    assert workload.primitive.kind == "estimator"
    with pytest.raises(ConfigError, match=r"^circuits: experiments\.chsh\.pubs is not needed"):
        workload.generate(None)


@pytest.mark.parametrize("mask", ["[redacted]", ["redacted"], "x[redacted]"])
def test_a_value_that_was_not_recorded_is_asked_for(mask: Any):
    text = recorded("experiment=random_sampling", "backend=least_busy")
    masked = changed(text, backend__instance=mask, metadata__title=str(mask))
    with pytest.raises(ConfigError, match=r"^backend\.instance: recorded as .*original command"):
        load_recorded(masked, [], needs_circuits=False)


def test_a_mask_is_known_however_yaml_reads_it():
    # An instance's CRN stands there without quotes, if it does not end with a colon.
    redacted = "a: [redacted]\nb: '[redacted]'\nc: x[redacted]\nd: redacted\ne: [a]\n"
    assert [path for path, value in leaves(parse(redacted)) if is_masked(value)] == [
        ("a",),
        ("b",),
        ("c",),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "[1]",
        "a: [",
        "1: 2",
        "a: &x [1]\nb: *x",
        "a: &x {b: *x}",
        "!!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: \x00",
        "{a: " * 5000,
        "a: 2026-13-45",
    ],
)
def test_what_is_no_config_is_one_line(text: str):
    with pytest.raises(ConfigError, match=r"^the recorded config is not valid") as caught:
        load_recorded(text, [], needs_circuits=True)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")))
def test_rubbish_is_never_more_than_an_error_for_the_user(text: str):
    with pytest.raises(QexpError):
        load_recorded(text, [], needs_circuits=True)


# Without what OmegaConf takes for an interpolation or a missing value.
TEXTS = st.text().filter(lambda text: "${" not in text and text != "???")
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS | st.floats(allow_nan=False)
CONFIGS = st.dictionaries(
    st.text("abc_", min_size=1),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abc_", min_size=1), inner),
        max_leaves=8,
    ),
)


@given(CONFIGS)
@example({"a": "\x85", "b": {"c": ["x\u2028y", "\u2029", 1.5, None]}})
def test_what_is_recorded_is_read_back(config: dict[str, Any]):
    assert parse(as_yaml(config)) == config


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
        ("simulation_seed=3", "simulation_seed: recorded nothing, now 3"),
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
        "sweep.circuits_by=[circuits.depth]",
    ],
)
def test_what_decides_no_data_does_not(override: str):
    base = ("experiment=random_sampling", "backend=least_busy")
    old, new = recorded(*base), recorded(*base, override)
    assert differences(old, new) == []
    # Nor does it, for a run of a version that had no such key.
    without = yaml.safe_load(old)
    del without["execution"], without["sweep"], without["simulation_seed"]
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


def test_workloads_whose_circuits_were_given():
    given, own = {"_target_": "qexp.circuits.given.given_circuits"}, {"_target_": "a.b"}
    workloads = {"a": {"circuits": own}, "b": {"primitive": {}}, "c": {"circuits": None}}
    assert given_workloads(yaml.safe_dump({"circuits": given})) == {"main"}
    assert given_workloads(yaml.safe_dump({"circuits": own})) == set()
    assert given_workloads(yaml.safe_dump({"circuits": given, "workloads": workloads})) == {
        "b",
        "c",
    }


def test_raw_data_may_be_given_anew():
    text = recorded("experiment=ising")
    assert load_recorded(text, (), needs_circuits=True).keeps_raw
    assert not load_recorded(text, (), ["archive.raw=false"], needs_circuits=True).keeps_raw


def test_the_page_lists_the_keys_in_which_a_config_may_differ():
    page = (shipped_root() / "docs" / "configuration.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"is refused, with what differs; (.*?) may\.", page, re.DOTALL)
    keys = {".".join(key) for key in _DECIDES_NO_DATA} - {"run_dir"}
    assert set(re.findall("`(.*?)`", listed)) == keys
