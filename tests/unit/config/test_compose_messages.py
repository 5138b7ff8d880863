from __future__ import annotations

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qexp.config import messages
from qexp.config.load import load
from qexp.errors import ConfigError, EngineError
from tests.unit.config.conftest import composed

RANDOM = "experiment=random_sampling"
MINE = "experiment=mine"
HEAD = "# @package _global_\ndefaults:\n  - override /circuits: random\n"


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def message(*overrides: str) -> str | None:
    """What the command line says of a config that cannot be composed or is not valid."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of many kinds, from Hydra to YAML
        load(composed(*overrides))
    if isinstance(caught.value, ConfigError):
        return str(caught.value)
    return messages.compose_message(caught.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            [RANDOM, "sed=1"],
            "sed: unknown key; did you mean 'seed'? allowed in the config: analysis, archive, "
            "backend, batch, budget, circuits, engine, execution, experiment, limits,",
        ),
        # A group is no key of the config, but what one types at the top.
        (["experimnt=x"], "experimnt: unknown key; did you mean 'experiment'? allowed in the con"),
        (["hydra.rum.dir=x"], "hydra.rum: unknown key; did you mean 'run'? allowed in 'hydra': c"),
        (["experiment=ghz", "+analysis=ideal"], "analysis: is chosen already; leave out the '+'"),
        (
            [RANDOM, "analysis=ideel"],
            "analysis=ideel: no such choice; did you mean 'ideal'? allowed: exact",
        ),
        (["experiment=nope"], "experiment=nope: no such choice; allowed: chsh, "),
        (
            ["circuits=randm"],
            "circuits=randm: no such choice; did you mean 'random'? allowed: broadc",
        ),
        ([RANDOM, "seed"], "Error parsing override 'seed' missing EQUAL at '<EOF>'"),
        ([RANDOM, "circuits.depth=["], "circuits.depth=[: no viable alternative at input '['"),
        (
            [RANDOM, "metadata.title=Größe"],
            "metadata.title=Größe: it has a character that only a quoted text may have; quote a "
            "text for qexp as well as for the shell: \"metadata.title='Größe'\"",
        ),
        ([RANDOM, "metadata.title=a b (c)"], "metadata.title=a b (c): mismatched input ' ('"),
        (
            [RANDOM, "metadata.title=a, b"],
            "Ambiguous value for argument 'metadata.title=a, b'; write metadata.title=[...] for a "
            "list, add -m to run each, or quote a text for qexp as well as for the shell: "
            "\"metadata.title='a, b'\"",
        ),
        (
            [RANDOM, "primitive.shots=${oc.env:QEXP_NOT_SET}"],
            "primitive.shots: environment variable QEXP_NOT_SET is not set; set it, or give a "
            "value to use instead: ${oc.env:QEXP_NOT_SET,VALUE}",
        ),
        (
            [RANDOM, "primitive.shots=${oc.env:QEXP_SHOTS}"],
            "primitive.shots: got '100'; it must be a valid integer; write it without quotes, or, "
            "if it comes from an environment variable, as ${oc.decode:${oc.env:NAME}}",
        ),
        ([RANDOM, "~nothing"], "Could not delete from config. 'nothing' does not exist."),
        ([RANDOM, "circuits=random,ghz"], "Ambiguous value for argument 'circuits=random,ghz'"),
        (
            [RANDOM, "backend=ibm"],
            "backend.name: a value is needed; set it on the command line (backend.name=...) or in",
        ),
        (
            [RANDOM, "circuits.depth=${circuits.dept}"],
            "circuits.depth: Interpolation key 'circuits.dept' not found; write the full path",
        ),
    ],
)
def test_a_mistake_on_the_command_line(
    overrides: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QEXP_SHOTS", "100")
    found = message(*overrides)
    assert found is not None
    assert found.startswith(expected)
    assert "\n" not in found


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("seed: [1\n", "a config file is not valid YAML in UTF-8: while parsing a flow sequence"),
        ("seed: 1\nseed: 2\n", "found duplicate key seed in"),
        (b"\xff\xfe", "mine.yaml:1: not UTF-8 text; save the file as UTF-8"),
        ("defaults: random\n", "Invalid defaults list in 'experiment/mine', defaults must be a l"),
        (
            HEAD.replace("random", "randm"),
            "circuits=randm: no such choice; did you mean 'random'? allowed: broadcast_",
        ),
        # All for a forgotten "override" or "/".
        (HEAD.replace("override /", ""), "'override /circuits: NAME'"),
        (HEAD.replace("override ", ""), "'override /circuits: NAME'"),
        (HEAD.replace("/", ""), "'override /circuits: NAME'"),
        ("# @package _global_\ncircuits: ghz\n", "choose it in the file's defaults: 'override /c"),
        (HEAD.replace("circuits", "circuit"), "In 'experiment/mine': Could not override 'circuit'"),
        # Both for the forgotten "# @package _global_".
        (
            HEAD.partition("\n")[2],
            "begin the experiment's file with the line '# @package _global_'",
        ),
        ("seed: 3\n", "experiment: unknown key; begin the experiment's file with the line"),
        (HEAD + "circuit:\n  depth: 3\n", "circuit: unknown key; did you mean 'circuits'?"),
        (
            HEAD + "  - override /primitive: sampler\ncircuits:\n  dept: 3\n",
            "circuits.dept: unknown key; did you mean 'depth'? allowed in 'circuits': ",
        ),
        (
            HEAD + "circuits:\n  depth: ${dept}\n",
            "circuits.depth: Interpolation key 'dept' not found; write the full path of a key",
        ),
        (HEAD + "seed: ${seed}\n", "seed: Recursive interpolation detected"),
        (HEAD + "seed: ${sed:1}\n", "seed: Unsupported interpolation type sed"),
        (HEAD + "name: ${title}\n", "Interpolation key 'title' not found"),
    ],
)
def test_a_mistake_in_an_experiments_file(tmp_path: Path, yaml: str | bytes, expected: str):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_bytes(yaml if isinstance(yaml, bytes) else yaml.encode())
    found = message(MINE)
    assert found is not None
    assert expected in found
    assert "\n" not in found
    if "YAML" in found and isinstance(yaml, str):
        assert str(folder / "mine.yaml") in found


def test_an_interpolation_may_be_escaped():
    spec = load(composed(RANDOM, r"metadata.description='costs \${{'"))
    assert spec.metadata["description"] == "costs ${{"
    assert "description: costs ${{" in spec.config_yaml


def test_what_is_no_mistake_in_a_config_is_no_compose_problem():
    assert messages.compose_message(RuntimeError("x")) is None
    assert messages.compose_message(ValueError("x")) is None
    assert messages.compose_message(EngineError("x")) is None


def test_a_mistyped_folder_of_a_run_is_told_by_its_key():
    config = composed(RANDOM, "run_dir=outputs/typo")
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.select(config, "hydra.run.dir")
    found = messages.compose_message(caught.value)
    assert found == "run_dir: outputs/typo does not exist; name the folder of a run"
