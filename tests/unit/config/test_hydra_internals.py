"""The kept files change nothing: each config, and each error, is that of Hydra's own loader."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal import hydra as hydra_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from qexp.config import hydra_internals
from qexp.config.hydra_internals import (
    UserConfigs,
    complete,
    mistyped,
    register,
)
from qexp.config.hydra_loader import CachingLoader
from qexp.config.overrides import open_nodes
from qexp.config.paths import shipped_root
from qexp.errors import ConfigError

RANDOM, GHZ = "experiment=random_sampling", "experiment=ghz"

OVERRIDES = [
    [],
    [RANDOM],
    [RANDOM, "seed=3", "circuits.depth=4"],
    [RANDOM, "circuits.depth=5"],
    ["seed=1", RANDOM, "backend=aer", "circuits.depth=4"],
    [RANDOM, "circuits.depth=2,3", "seed=1"],
    ["backend=aer,fake", RANDOM],
    [RANDOM, "~circuits"],
    [RANDOM, "~seed"],
    [RANDOM, "circuits={_target_: x.y, a: 1}", "seed=2"],
    [RANDOM, "++circuits={a: 1}", "circuits.depth=3"],
    ["+circuits@workloads.a.circuits=ghz", "primitive=sampler"],
    [GHZ, "hydra.run.dir=x", "seed=9"],
    [GHZ, "hydra.mode=RUN"],
    [GHZ, "hydra.job.name=other"],
    [GHZ, "hydra.job.config.override_dirname.kv_sep=:", "seed=4"],
    [GHZ, "hydra/launcher=basic"],
    # Errors.
    ["experiment=nope"],
    [GHZ, "sede=3"],
    [GHZ, "++circuits=ghz"],
    [GHZ, "circuits=null"],
    ["circuits@workloads.a.circuits=ghz"],
    ["seed=[1,"],
]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    register()
    version.setbase("1.3")
    setup_globals()
    return Path(shutil.copytree(shipped_root() / "conf", tmp_path / "conf"))


def composed(loader: ConfigLoaderImpl, overrides: list[str], mode: RunMode, check: bool) -> Any:
    try:
        config = loader.load_configuration(
            "qexp", open_nodes(overrides), mode, validate_sweep_overrides=check
        )
    except Exception as error:
        return type(error), str(error), str(error.__cause__)
    return described(config)


def described(config: DictConfig) -> Any:
    text = OmegaConf.to_yaml(config)
    return text, OmegaConf.is_struct(config), OmegaConf.is_readonly(config.hydra)


def test_it_composes_what_hydra_composes(conf: Path):
    search_path = create_config_search_path(str(conf))
    theirs, ours = ConfigLoaderImpl(search_path), CachingLoader(search_path)
    for overrides in OVERRIDES:
        for mode, check in ((RunMode.MULTIRUN, False), (RunMode.RUN, True)):
            expected = composed(theirs, overrides, mode, check)
            # Twice, so that what is kept is used, too.
            assert composed(ours, overrides, mode, check) == expected
            assert composed(ours, overrides, mode, check) == expected


def test_a_config_that_was_given_out_may_be_changed(conf: Path):
    loader = CachingLoader(create_config_search_path(str(conf)))
    first = loader.load_configuration("qexp", [RANDOM], RunMode.RUN)
    before = described(first)
    OmegaConf.set_struct(first, False)
    first.circuits.depth, first.hydra.job.num, first.more = 99, 3, 1
    assert described(loader.load_configuration("qexp", [RANDOM], RunMode.RUN)) == before


def test_files_that_were_changed_are_read_again(conf: Path):
    loader = CachingLoader(create_config_search_path(str(conf)))
    assert loader.load_configuration("qexp", [RANDOM], RunMode.RUN).circuits.depth == 5
    path = conf / "experiment" / "random_sampling.yaml"
    path.write_text(path.read_text() + "\nseed: 12345\n")
    assert loader.load_configuration("qexp", [RANDOM], RunMode.RUN).seed == 12345
    (conf / "experiment" / "new.yaml").write_text("# @package _global_\nseed: 3\n")
    assert loader.load_configuration("qexp", ["experiment=new"], RunMode.RUN).seed == 3


def test_a_link_that_leads_nowhere_is_none_of_its_business(conf: Path):
    (conf / "experiment" / ".#new.yaml").symlink_to("someone@somewhere.123")
    loader = CachingLoader(create_config_search_path(str(conf)))
    assert loader.load_configuration("qexp", [RANDOM], RunMode.RUN).seed == 0


def test_values_are_set_without_reading_the_files_again(conf: Path, monkeypatch):
    loader = CachingLoader(create_config_search_path(str(conf)))
    loader.load_configuration("qexp", [RANDOM], RunMode.MULTIRUN, validate_sweep_overrides=False)
    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", None)
    for seed in (1, 2):
        config = loader.load_configuration("qexp", [RANDOM, f"seed={seed}"], RunMode.RUN)
        assert config.seed == seed
        assert config.hydra.overrides.task == [RANDOM, f"seed={seed}"]


def test_a_search_path_in_a_file_is_honoured(conf: Path, tmp_path: Path):
    extra = tmp_path / "extra" / "colour"
    extra.mkdir(parents=True)
    (extra / "red.yaml").write_text("# @package _global_\nseed: 77\n")
    primary = conf / "qexp.yaml"
    text = primary.read_text()
    assert "\nhydra:\n" in text
    primary.write_text(
        text.replace("\nhydra:\n", f"\nhydra:\n  searchpath: ['file://{extra.parent}']\n")
    )
    loader = CachingLoader(create_config_search_path(str(conf)))
    config = loader.load_configuration("qexp", [RANDOM, "+colour=red"], RunMode.RUN)
    assert config.seed == 77


def test_no_more_choices_are_kept_than_needed(conf: Path, monkeypatch):
    monkeypatch.setattr("qexp.config.hydra_loader._MOST_KEPT", 2)
    loader = CachingLoader(create_config_search_path(str(conf)))
    for experiment in ("ghz", "ising", "chsh", "ghz"):
        config = loader.load_configuration("qexp", [f"experiment={experiment}"], RunMode.RUN)
        assert config.hydra.runtime.choices.experiment == experiment
    assert len(loader._composed) == 2


def test_hydra_uses_it():
    register()
    assert vars(hydra_module)["ConfigLoaderImpl"] is CachingLoader


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


def test_a_run_gets_a_new_folder_or_that_of_the_run_it_goes_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(
        r"outputs/ghz/\d{8}T\d{6}Z-[0-9a-f]{6}", hydra_internals._run_dir(None, "ghz")
    )
    folder = tmp_path / "outputs" / "other" / "r1"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"^run_dir: outputs/other/r1 holds no run"):
        hydra_internals._run_dir("outputs/other/r1", "ghz")
    (folder / "journal.jsonl").touch()
    assert hydra_internals._run_dir("outputs/other/r1", "ghz") == str(folder)


@pytest.mark.parametrize(
    ("choice", "name"), [("mine", "mine"), ("group/mine", "group-mine"), (None, "adhoc")]
)
def test_an_experiments_name_is_one_folder(choice: str | None, name: str):
    assert hydra_internals._experiment_name(choice) == name


def test_another_version_of_hydra_is_refused_in_one_line():
    code = """
import hydra
hydra.__version__ = "1.4.0"
from qexp.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "experiment=ghz"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "qexp: hydra-core 1.4.0 is installed, and qexp was tried with 1.3.2 and 1.3.8; install it "
        "again: python -m pip install 'hydra-core>=1.3.2,<1.4'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["seed=1", "~circuits", "-m", "--cfg", "job", "-cd", "mine"], []),
        (["--experiment"], ["--experiment"]),
        (["seed=1", "--multi"], ["--multi"]),
        (["seed=1", "ghz"], ["ghz"]),
        (["-m", "ghz"], ["ghz"]),
    ],
)
def test_flags_are_not_abbreviated(arguments: list[str], words: list[str]) -> None:
    assert mistyped(arguments) == words


def test_a_flags_wrong_value_is_one_line():
    with pytest.raises(ConfigError, match=r"^argument --cfg/-c: invalid choice: 'jobs' "):
        mistyped(["--cfg", "jobs"])


def test_hydra_completes_groups_choices_keys_and_values(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["qexp"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("COMP_LINE", "")
    assert "experiment=" in complete(["exp"])
    assert complete(["experiment=gh"]) == ["experiment=ghz"]
    assert "circuits.num_qubits=" in complete(["experiment=ghz", "circuits.num"])
    assert complete(["experiment=ghz", "circuits.num_qubits="]) == ["circuits.num_qubits=5"]
    assert complete(["experiment=nope", "--nope", "circuits.num"]) == []


def test_no_other_module_uses_hydra_s_internals():
    package = Path(hydra_internals.__file__).parents[1]
    users = [path.name for path in package.rglob("*.py") if "hydra._internal" in path.read_text()]
    assert sorted(users) == ["hydra_internals.py", "hydra_loader.py"]
