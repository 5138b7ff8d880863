"""The group `analysis`: chosen, changed, refused; recorded configs, of which none is trusted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from qexp.config.analyses import chosen_analyses, declared_analysis
from qexp.config.instantiate import locate
from qexp.config.recorded_config import (
    differences,
    load_recorded,
    recorded_analyses,
)
from qexp.core.spec import RunSpec
from qexp.errors import ConfigError

LoadSpec = Callable[..., RunSpec]
MINE = """
def level(run, *, bit: int = 0):
    return (run, bit)

def nothing(): ...
def keywords(*, run): ...
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module and a choice of the user's own, in the current folder."""
    (tmp_path / "my_analyses.py").write_text(MINE)
    choices = tmp_path / "conf" / "analysis"
    choices.mkdir(parents=True)
    (choices / "mine.yaml").write_text("mine: {_target_: my_analyses.level, bit: 2}\n")
    (choices / "two.yaml").write_text(
        "a: {_target_: my_analyses.level}\nb: {_target_: my_analyses.level}\n"
    )
    (choices / "flat.yaml").write_text("_target_: my_analyses.level\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_analyses"
    sys.modules.pop("my_analyses", None)


@pytest.fixture(autouse=True)
def _no_hydra() -> Iterator[None]:
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


@pytest.mark.parametrize(
    ("experiment", "names"),
    [
        ("quantum_volume", ["heavy_output"]),
        ("ghz", ["ghz"]),
        ("mirror_circuits", ["survival"]),
        ("ising", ["exact_evs"]),
        ("efficient_su2", ["exact_evs"]),
        ("random_sampling", []),
    ],
)
def test_experiments_have_their_analyses(
    load_spec: LoadSpec, experiment: str, names: list[str]
) -> None:
    assert [spec.name for spec in load_spec(f"experiment={experiment}").analyses] == names


@pytest.mark.parametrize("name", ["exact_evs", "ghz", "heavy_output", "ideal", "survival"])
def test_files_list_every_setting_with_its_default(name: str) -> None:
    (spec,) = chosen_analyses(name, [])
    parameters = list(signature(locate(spec.target, "")).parameters.values())[1:]
    assert spec.name == name
    assert spec.arguments == {each.name: each.default for each in parameters}


def test_analyses_are_chosen_and_changed_on_the_command_line(load_spec: LoadSpec) -> None:
    both = load_spec(
        "experiment=random_sampling", "analysis=[ideal,ghz]", "analysis.ideal.max_qubits=3"
    )
    assert [spec.name for spec in both.analyses] == ["ideal", "ghz"]
    assert both.analyses[0].arguments["max_qubits"] == 3
    assert both.analyses[0].target == "qexp.analysis.ideal.ideal"
    assert load_spec("experiment=quantum_volume", "analysis=ideal").analyses[0].name == "ideal"
    assert load_spec("experiment=quantum_volume", "analysis=[]").analyses == ()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["analysis=ideal", "analysis.ideal.max_qubit=3"], "did you mean 'max_qubits'"),
        (["analysis=ideal", "analysis.ideal.max_qubits=0"], "max_qubits: got 0; it must be great"),
        (["analysis.ideal.max_qubits=3"], "analysis.ideal: nothing .* choose analysis=ideal"),
        (["analysis._target_=a.b"], r"needs a name above it, .*'NAME: {_target_: a.b}'"),
        (["analysis.x._target_=my_analyses.nothing"], "must take 1 positional argument before"),
        (["analysis.x._target_=my_analyses.keywords"], "must take 1 positional argument before"),
        (["analysis.x={_target_: my_analyses.level, y: 1}"], "analysis.x.y: unknown key"),
        (["analysis._x={_target_: my_analyses.level}"], "analysis._x: got .* begins with a letter"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_mistakes_are_refused(load_spec: LoadSpec, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec("experiment=random_sampling", *overrides)


def test_the_first_argument_is_the_archive_whatever_its_name(mine: str) -> None:
    spec = declared_analysis("x", {"_target_": f"{mine}.level", "bit": 3})
    assert spec.evaluate("the archive") == ("the archive", 3)
    with pytest.raises(ConfigError, match="run: unknown key"):
        declared_analysis("x", {"_target_": f"{mine}.level", "run": 3})


@pytest.mark.usefixtures("mine")
def test_a_choice_by_name() -> None:
    (shipped,) = chosen_analyses("ideal", ["max_qubits=5"])
    assert (shipped.name, shipped.arguments["max_qubits"]) == ("ideal", 5)
    (own,) = chosen_analyses("mine", [])
    assert own.evaluate(None) == (None, 2)
    assert [spec.name for spec in chosen_analyses("two", [])] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "ideel",
            [],
            "analysis=ideel: no such choice; did you mean 'ideal'[?] allowed: exact_evs, flat, ghz",
        ),
        ("[ideal]", [], "is the name of a file in conf/analysis"),
        ("ideal", ["5"], "5: a setting of an analysis is key=value"),
        ("ideal", ["max_qubit=5"], "did you mean 'max_qubits'"),
        ("ideal", ["max_qubits=["], "no viable alternative at input"),
        ("two", ["bit=1"], "declares a, b, so that settings"),
        ("flat", [], "needs a name above it"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_a_bad_choice_is_refused(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        chosen_analyses(name, settings)
    assert "\n" not in str(refused.value)


def test_recorded_analyses_are_imported_when_they_are_trusted_only(mine: str) -> None:
    text = yaml.safe_dump(
        {
            "analysis": {
                "own": {"_target_": "qexp.analysis.ideal.ideal", "max_qubits": "many"},
                "theirs": {"_target_": f"{mine}.level", "bit": 1},
                "nested": {"_target_": "qexp.analysis.ghz.ghz", "workload": {"_target_": "os.x"}},
                "other": {"_target_": "qexp.circuits.ghz.ghz_circuits"},
                "of_sweep": {"_target_": "qexp.sweeps.comparison.compare", "precision": 0},
                "near": {"_target_": "qexp.sweeps.index.read_records"},
                "imported": {"_target_": "qexp.analysis.ideal.distribution"},
                "secret": {"_target_": "qexp.analysis.ghz.ghz", "workload": "[redacted]"},
            }
        }
    )
    specs = {spec.name: spec for spec in recorded_analyses(text, [])}
    messages = {
        "own": "max_qubits: got 'many'",
        "theirs": f"'{mine}.level', which is no analysis of qexp; .* --trust {mine}",
        "nested": "analysis.nested.workload._target_: .* 'os.x', which is no analysis",
        "other": "'qexp.circuits.ghz.ghz_circuits', which is no analysis of qexp",
        "of_sweep": "precision: got 0; it must be greater than 0",
        "near": "'qexp.sweeps.index.read_records', which is no analysis of qexp",
        "imported": "'qexp.analysis.ideal.distribution', which is no analysis of qexp",
        "secret": "analysis.secret.workload: recorded as",
    }
    for name, message in messages.items():
        with pytest.raises(ConfigError, match=message):
            specs[name].evaluate(None)
    assert mine not in sys.modules
    trusted = {spec.name: spec for spec in recorded_analyses(text, [mine])}
    assert trusted["theirs"].evaluate("run") == ("run", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("analysis: {../../x: {_target_: a.b}}", "a name begins with a letter"),
        ("analysis: [1]", "analysis: got"),
        ("analysis: {x: 3}", "analysis.x: got 3"),
    ],
)
def test_a_recorded_config_may_be_anything(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recorded_analyses(text, [])


def test_a_run_from_before_there_were_analyses_has_none() -> None:
    assert recorded_analyses("seed: 3\n", []) == ()


def test_an_analysis_keeps_nobody_from_resuming(load_spec: LoadSpec, mine: str) -> None:
    spec = load_spec("experiment=random_sampling", f"analysis.x._target_={mine}.level")
    again = load_recorded(spec.config_yaml, [], needs_circuits=True)
    with pytest.raises(ConfigError, match="no analysis of qexp"):
        again.analyses[0].evaluate(None)
    without = load_spec("experiment=random_sampling")
    assert differences(spec.config_yaml, without.config_yaml) == []


def test_chosen_files_and_modules_are_kept_as_sources(load_spec: LoadSpec, mine: str) -> None:
    spec = load_spec("experiment=random_sampling", "analysis=[ideal,mine]")
    names = {source.name for source in spec.sources}
    assert {"conf/analysis/ideal.yaml", "conf/analysis/mine.yaml", f"{mine}.py"} <= names


def test_those_of_a_sweep_are_chosen_in_a_group_of_their_own(load_spec: LoadSpec) -> None:
    spec = load_spec(
        "experiment=mirror_circuits", "sweep/analysis=decay", "sweep.analysis.decay.floor=0.25"
    )
    assert [each.name for each in spec.analyses] == ["survival"]
    (decay,) = spec.sweep_analyses
    assert decay.target == "qexp.analysis.decay.decay"
    assert decay.arguments == {"value": "survival_mean_survival", "over": None, "floor": 0.25}
    without = load_spec("experiment=mirror_circuits")
    assert without.sweep_analyses == ()
    assert differences(spec.config_yaml, without.config_yaml) == []


@pytest.mark.parametrize("name", ["crossing", "decay"])
def test_files_of_a_sweep_list_every_setting(name: str) -> None:
    (spec,) = chosen_analyses(name, ["value=fit_p"], "sweep.analysis")
    parameters = list(signature(locate(spec.target, "")).parameters.values())[1:]
    defaults = {each.name: each.default for each in parameters}
    assert spec.arguments == {**defaults, "value": "fit_p"}
    with pytest.raises(
        ConfigError, match="sweep/analysis=decya: no such choice; did you mean 'dec"
    ):
        chosen_analyses("decya", [], "sweep.analysis")
    with pytest.raises(ConfigError, match="degree: got 9"):
        chosen_analyses("crossing", ["value=x", "degree=9"], "sweep.analysis")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep/analysis=decay", "sweep.analysis.decay.flor=1"], "did you mean 'floor'"),
        (["sweep/analysis=crossing"], "sweep.analysis.crossing.value: a value is needed"),
        (
            ["sweep/analysis=decay", "sweep.analysis.decay.floor=high"],
            "floor: got 'high'",
        ),
        (["+sweep.analysis.x.y=1"], "sweep.analysis.x: nothing .* choose sweep/analysis=x"),
        (["sweep.analysis=decay"], "choose it in the file's defaults: 'override /sweep/analysis"),
    ],
)
def test_mistakes_in_those_of_a_sweep_are_refused(
    load_spec: LoadSpec, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec("experiment=ghz", *overrides)


def test_a_recorded_one_of_a_sweep_is_imported_only_if_trusted(mine: str) -> None:
    nodes = {"theirs": {"_target_": f"{mine}.level", "bit": 1}}
    text = yaml.safe_dump({"sweep": {"analysis": nodes}})
    (spec,) = recorded_analyses(text, [], "sweep.analysis")
    with pytest.raises(ConfigError, match=r"sweep.analysis.theirs._target_: .* --trust"):
        spec.evaluate(None)
    assert mine not in sys.modules
    (trusted,) = recorded_analyses(text, [mine], "sweep.analysis")
    assert trusted.evaluate("sweep") == ("sweep", 1)
    assert recorded_analyses("seed: 3\n", [], "sweep.analysis") == ()
    with pytest.raises(ConfigError, match=r"sweep.analysis.x: got 3"):
        recorded_analyses("sweep: {analysis: {x: 3}}", [], "sweep.analysis")


def test_an_analysis_of_a_sweep_keeps_nobody_from_resuming(load_spec: LoadSpec, mine: str) -> None:
    spec = load_spec("experiment=ghz", f"+sweep.analysis.x._target_={mine}.level")
    again = load_recorded(spec.config_yaml, [], needs_circuits=True)
    with pytest.raises(ConfigError, match="no analysis of qexp"):
        again.sweep_analyses[0].evaluate(None)
