from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from qexp.cli.verbs import VERBS
from qexp.config.hydra_internals import register
from qexp.config.load import load
from qexp.config.overrides import draws_of, open_nodes
from qexp.config.paths import shipped_root
from qexp.config.schema import SweepNode
from qexp.config.sweep_points import declared_blocks
from qexp.core.spec import RunSpec

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "docs" / "configuration.md"]
PYTHON = ROOT / "docs" / "python.md"
MITIGATION = ROOT / "docs" / "mitigation.md"

DECLARING = ("sweep.zip", "sweep.points", "sweep.sample")

INSTALL = "python -m pip install -e . && python -m qexp experiment=random_sampling"
TEST = "python -m pip install -e '.[test]' && python -m pytest"

_COMMAND = re.compile(r"^ *(?:.* && )?python -m qexp (?P<arguments>.+)$")
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_USER_FILE = re.compile(r"`((?:conf|experiments)/[\w/]+\.\w+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
_CSV = re.compile(r"^```csv\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")


def test_both_set_up_commands_are_there_to_the_letter() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert f"    {INSTALL}" in lines
    assert f"    {TEST}" in lines


def _command_lines() -> Iterator[str]:
    """Everything after `python -m qexp` in code blocks; what a `$` precedes is output."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        in_prose = re.findall(r"`python -m qexp ([^`]+)`", text)
        in_blocks = [_COMMAND.match(line) for line in text.splitlines() if line.startswith("    ")]
        yield from in_prose
        yield from (match["arguments"] for match in in_blocks if match)


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder that holds the files that the README tells its reader to write."""
    for name, content in _USER_FILE.findall(README.read_text(encoding="utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (csv,) = _CSV.findall((ROOT / "docs/configuration.md").read_text(encoding="utf-8"))
    (tmp_path / "points.csv").write_text(csv, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("experiments.mine", None)


def _specs(line: str) -> list[RunSpec]:
    """Compose and validate as the command line does; one spec for each point of a sweep."""
    given = [item for item in shlex.split(line) if "=" in item]
    arguments = [item for item in given if not item.startswith(DECLARING)]
    parsed = OverridesParser.create().parse_overrides(open_nodes(arguments))
    (points,) = BasicSweeper.split_arguments(parsed, None)
    declared = draws_of([item for item in given if item not in arguments], DECLARING)
    node = {key.removeprefix("sweep."): value for key, value in declared.items()}
    blocks = declared_blocks(SweepNode.model_validate(node), 0)
    rows = [row.overrides for block in blocks for row in block.rows] or [()]
    specs = []
    for point in [[*point, *row] for point in points for row in rows]:
        register()
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(shipped_root() / "conf"), version_base="1.3"):
            config = compose("qexp", overrides=list(point), return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            specs.append(load(config))
    return specs


@pytest.mark.parametrize(
    "line",
    sorted({line for line in _command_lines() if line.split()[0] not in ("--help", *VERBS)}),
)
def test_every_command_composes_and_validates(line: str, user_folder: Path) -> None:
    specs = _specs(line)
    assert len(specs) == (16 if "n:16" in line else 3 if "-m " in line else 1)
    chosen = re.search(r"experiment=([\w/]+)", line)
    assert {spec.experiment for spec in specs} == {chosen[1] if chosen else "adhoc"}


def test_own_experiment_has_ten_lines_and_runs_with_the_supplied_rng(user_folder: Path) -> None:
    import numpy as np

    files = [user_folder / "conf/experiment/mine.yaml", user_folder / "experiments/mine.py"]
    written = [line for path in files for line in path.read_text().splitlines() if line]
    assert len(written) == 10
    (spec,) = _specs("experiment=mine circuits.num_circuits=2")
    circuits = list(spec.workloads[0].generate(np.random.SeedSequence(0)))
    assert [circuit.num_qubits for circuit in circuits] == [1, 1]


def test_the_page_on_python_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = _FENCED.findall(PYTHON.read_text(encoding="utf-8"))
    assert {language for language, _ in blocks} == {"python"}
    script = tmp_path / "page.py"
    script.write_text("\n".join(code for _, code in blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("complete fake_manila ")
    assert done.stdout.splitlines()[-1].startswith("circuits.num_qubit: unknown key; did you mean")


@pytest.mark.parametrize("document", [*DOCUMENTS, PYTHON, MITIGATION], ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text(encoding="utf-8"))
    assert links
    for target, anchor in links:
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), target
        if anchor:
            assert anchor in _anchors(path), f"{target}#{anchor}"


def _anchors(document: Path) -> set[str]:
    """Ids of the headings, as GitHub makes them."""
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_listed_once() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((20[^)]+\.md)\)", (folder / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in folder.glob("20*.md"))
