from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qexp.config.sources import current_sources

MODULE = """
# {name}, with a comment: kept verbatim.
def circuits(size: int = 1):
    return []


def backend():
    return None
"""

MINE = """
# @package _global_
defaults:
  - override /primitive: sampler
  - override /circuits: {choice}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with a name that a URL would have to escape."""
    path = tmp_path / "my work #1%20"
    (path / "conf" / "experiment").mkdir(parents=True)
    (path / "conf" / "circuits").mkdir()
    monkeypatch.chdir(path)
    # As a script has it: the folder of the script, not the current one.
    monkeypatch.setattr(sys, "path", [item for item in sys.path if item not in {"", "."}])
    return path


def test_a_users_own_files_and_modules(load_spec, folder: Path):
    files = {
        "conf/experiment/mine.yaml": MINE.format(choice="own"),
        "conf/circuits/own.yaml": "_target_: users_circuits_7f3a.circuits\nsize: 2\n",
        "users_circuits_7f3a.py": MODULE.format(name="circuits"),
        "users_backends_7f3a.py": MODULE.format(name="backends"),
        "unused.py": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    overrides = ["~backend.name", "backend._target_=users_backends_7f3a.backend"]
    spec = load_spec("experiment=mine", *overrides)
    kept = {source.name: source.text for source in spec.sources}
    del files["unused.py"]
    assert files.items() <= kept.items()
    assert [name for name in kept if name.endswith(".py")] == [
        "users_backends_7f3a.py",
        "users_circuits_7f3a.py",
    ]
    # What qexp ships is kept as well, where it was composed.
    assert {"conf/qexp.yaml", "conf/primitive/sampler.yaml", "conf/engine/local.yaml"} <= set(kept)
    assert "conf/circuits/random.yaml" not in kept


def test_the_users_file_is_kept_where_it_hides_a_shipped_one(load_spec, folder: Path):
    own = folder / "conf" / "circuits" / "random.yaml"
    own.write_text("_target_: qexp.circuits.random.random_circuits\nnum_circuits: 3\n")
    spec = load_spec("experiment=random_sampling")
    kept = {source.name: source.text for source in spec.sources}
    assert kept["conf/circuits/random.yaml"] == own.read_text()
    assert "num_circuits: 3" in spec.config_yaml


def test_the_files_of_every_workload(load_spec):
    names = {source.name for source in load_spec("experiment=estimator_and_sampler").sources}
    assert {
        "conf/experiment/estimator_and_sampler.yaml",
        "conf/circuits/broadcast_estimator.yaml",
        "conf/circuits/broadcast_sampler.yaml",
        "conf/primitive/estimator.yaml",
        "conf/primitive/sampler.yaml",
        "conf/limits/ibm.yaml",
    } <= names
    assert not any(name.endswith(".py") for name in names)


def test_modules_that_a_generator_imports_wherever_it_does(load_spec, folder: Path):
    files = {
        "lab_9d1c/__init__.py": "",
        "lab_9d1c/gates.py": "from . import sizes\nfrom .deep import *\n",
        "lab_9d1c/sizes.py": "SIZE = 2\r\n",
        "lab_9d1c/deep/__init__.py": "from ..shared import SHARED\n",
        "lab_9d1c/shared.py": "SHARED = 1\n",
        "late_9d1c.py": "raise RuntimeError('nothing is executed to find it')\n",
        "latin_9d1c.py": "# -*- coding: latin-1 -*-\n# \xe9\n",
    }
    unused = {"lab_9d1c/unused.py": "", "broken_9d1c.py": "def f(:\n"}
    for name, text in (files | unused).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("latin-1"))
    (folder / "bench_9d1c.py").write_text(
        "import json\nimport numpy.linalg\nimport latin_9d1c, lab_9d1c.gates\n"
        "def circuits():\n    import late_9d1c\n    import broken_9d1c, not_installed_9d1c\n"
    )
    spec = load_spec("primitive=sampler", "circuits._target_=bench_9d1c.circuits")
    kept = {item.name: item.text for item in spec.sources if item.name.endswith(".py")}
    kept.pop("bench_9d1c.py")
    assert kept == files


def test_sources_are_those_that_are_run_now_where_they_are_trusted(load_spec, folder: Path):
    (folder / "bench_4e2f.py").write_text("import helper_4e2f\ndef circuits():\n    ...\n")
    (folder / "helper_4e2f.py").write_text("SIZE = 1\n")
    recorded = load_spec("primitive=sampler", "circuits._target_=bench_4e2f.circuits").sources
    assert current_sources(recorded, ["bench_4e2f"]) == (recorded, ())
    (folder / "helper_4e2f.py").write_text("SIZE = 2\n")
    sources, changed = current_sources(recorded, ["bench_4e2f"])
    assert changed == ("helper_4e2f.py is not what it was: the archive holds another text",)
    assert {"helper_4e2f.py": "SIZE = 2\n"}.items() <= {s.name: s.text for s in sources}.items()
    assert current_sources(recorded, []) == (recorded, ())


def test_files_that_defaults_name_without_being_a_choice(load_spec, folder: Path):
    mine = MINE.format(choice="ghz").replace("defaults:\n", "defaults:\n  - lab/base\n")
    files = {
        "conf/experiment/mine.yaml": mine,
        "conf/experiment/lab/base.yaml": "# @package _global_\ndefaults: [more, /shared@_global_]",
        "conf/experiment/lab/more.yaml": "# @package _global_\nseed: 3\n",
        "conf/shared.yaml": "# @package _global_\nmetadata: {title: Shared}\n",
        "conf/experiment/lab/other.yaml": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    spec = load_spec("experiment=mine")
    assert spec.seed == 3
    del files["conf/experiment/lab/other.yaml"]
    kept = {source.name: source.text for source in spec.sources}
    assert files.items() <= kept.items()
    assert "conf/experiment/lab/other.yaml" not in kept
