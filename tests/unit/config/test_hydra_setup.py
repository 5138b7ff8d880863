from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl

from qexp.config import hydra_setup
from qexp.config.hydra_setup import UserConfigs, new_run_id, open_nodes, shipped_root
from qexp.errors import ConfigError


def search_path() -> list[tuple[str, str]]:
    """The search path, as it is once the plugin has seen Hydra's."""
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    path.append("main", f"file://{shipped_root() / 'conf'}")
    UserConfigs().manipulate_search_path(path)
    return [(element.provider, element.path) for element in path.get_path()]


def test_the_users_conf_comes_before_the_shipped_one(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [provider for provider, _ in search_path()] == ["hydra", "main"]
    (tmp_path / "conf").mkdir()
    assert search_path() == [
        ("hydra", "pkg://hydra.conf"),
        ("user", f"file://{tmp_path / 'conf'}"),
        ("main", f"file://{shipped_root() / 'conf'}"),
    ]


def test_a_checkouts_conf_is_not_searched_twice(monkeypatch):
    monkeypatch.chdir(shipped_root())
    assert [provider for provider, _ in search_path()] == ["hydra", "main"]


@pytest.mark.parametrize(
    ("argument", "opened"),
    [
        ("circuits.depth=8", "++circuits.depth=8"),
        ("workloads.a.circuits._target_=x.y", "++workloads.a.circuits._target_=x.y"),
        ("metadata.title=a.b=c", "++metadata.title=a.b=c"),
        # Hydra's own keys and groups, top-level keys, flags, and what says itself what it does.
        ("hydra.run.dir=x", None),
        ("seed=1", None),
        ("circuits@workloads.a.circuits=ghz", None),
        ("backend=ibm", None),
        ("+a.b=1", None),
        ("++a.b=1", None),
        ("~a.b", None),
        ("--config-dir=a.b=c", None),
        ("-m", None),
    ],
)
def test_open_nodes(argument: str, opened: str | None):
    assert open_nodes([argument]) == [opened or argument]


def test_run_ids_are_unique_sort_by_time_and_fit_into_a_folders_name():
    ids = [new_run_id() for _ in range(20)]
    assert len(set(ids)) == 20
    stamps = [item.partition("-")[0] for item in ids]
    assert stamps == sorted(stamps)
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", item) for item in ids)


def test_a_run_gets_a_new_folder_or_that_of_the_run_it_goes_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(r"outputs/ghz/\d{8}T\d{6}Z-[0-9a-f]{6}", hydra_setup._run_dir(None, "ghz"))
    folder = tmp_path / "outputs" / "other" / "r1"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"^run_dir: outputs/other/r1 holds no run"):
        hydra_setup._run_dir("outputs/other/r1", "ghz")
    (folder / "journal.jsonl").touch()
    assert hydra_setup._run_dir("outputs/other/r1", "ghz") == str(folder)


@pytest.mark.parametrize(
    ("choice", "name"), [("mine", "mine"), ("group/mine", "group-mine"), (None, "adhoc")]
)
def test_an_experiments_name_is_one_folder(choice: str | None, name: str):
    assert hydra_setup._experiment_name(choice) == name


def test_the_current_folder_is_searched_first_and_the_shipped_one_last(tmp_path, monkeypatch):
    shipped = str(shipped_root())
    others = [item for item in sys.path if item not in {"", shipped}]
    monkeypatch.setattr(sys, "path", list(others))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        hydra_setup.make_experiments_importable()
        assert sys.path == [str(tmp_path), *others, shipped]
