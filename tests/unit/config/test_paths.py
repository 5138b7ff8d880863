from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qexp.config.paths import (
    config_choices,
    make_experiments_importable,
    new_run_id,
    run_folder,
    shipped_root,
)
from qexp.errors import ConfigError


def test_run_ids_are_unique_sort_by_time_and_fit_into_a_folders_name():
    ids = [new_run_id() for _ in range(20)]
    assert len(set(ids)) == 20
    stamps = [item.partition("-")[0] for item in ids]
    assert stamps == sorted(stamps)
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", item) for item in ids)


def test_the_current_folder_is_searched_first_and_the_shipped_one_last(tmp_path, monkeypatch):
    shipped = str(shipped_root())
    others = [item for item in sys.path if item not in {"", shipped}]
    monkeypatch.setattr(sys, "path", list(others))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        make_experiments_importable()
        assert sys.path == [str(tmp_path), *others, shipped]


def test_a_package_of_the_users_hides_no_shipped_experiment(own_process: None):
    Path("experiments").mkdir()
    for name in ("__init__", "chsh"):
        Path("experiments", f"{name}.py").touch()
    code = (
        "from qexp.config.paths import make_experiments_importable as make; make(); make()\n"
        "import experiments.chsh, experiments.relaxation\n"
        "print(hasattr(experiments.chsh, 'pubs'), hasattr(experiments.relaxation, 'circuits'))\n"
        "import experiments.none\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False True\n"
    assert done.stderr.endswith("No module named 'experiments.none'\n")


def test_choices_are_those_of_qexp_and_of_the_current_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = config_choices()
    assert list(shipped) == sorted(shipped)
    assert {"experiment", "backend", "circuits", "analysis"} <= set(shipped)
    assert shipped["engine"] == ["ibm", "local", "runtime-local"]
    for name in ("experiment/lab/mine", "backend/local", "metadata/lab", "hydra/launcher/slurm"):
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "conf" / "experiment" / ".#mine.yaml").symlink_to("someone@somewhere.123")
    choices = config_choices()
    assert choices["metadata"] == ["lab"]
    assert choices["experiment"] == sorted([*shipped["experiment"], "lab/mine"])
    assert choices["backend"] == shipped["backend"]
    assert "hydra" not in choices


def test_a_checkouts_conf_is_not_listed_twice(monkeypatch):
    monkeypatch.chdir(shipped_root())
    assert all(len(set(names)) == len(names) for names in config_choices().values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "outputs" / "r1"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("name", ["journal.jsonl", "run.h5"])
def test_a_run_is_named_by_its_folder_or_its_archive(folder: Path, monkeypatch, name: str):
    (folder / name).touch()
    monkeypatch.chdir(folder.parent)
    assert run_folder("r1") == folder
    assert run_folder(Path("r1/")) == folder
    assert run_folder("r1/run.h5") == folder


def test_what_is_no_run_is_refused(folder: Path):
    with pytest.raises(ConfigError, match=r"r2 does not exist; name the folder of a run$"):
        run_folder(folder.parent / "r2")
    with pytest.raises(ConfigError, match=r"r1 holds no run: there is neither journal\.jsonl nor"):
        run_folder(folder)
    (folder / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"notes\.txt does not exist"):
        run_folder(folder / "notes.txt")
