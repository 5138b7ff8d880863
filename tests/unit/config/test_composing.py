"""What is kept changes nothing: each config, and each error, is that of Hydra's own loader."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal import hydra as hydra_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from qexp.config.composing import CachingLoader
from qexp.config.hydra_setup import open_nodes, register, shipped_root

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
    monkeypatch.setattr("qexp.config.composing._MOST_KEPT", 2)
    loader = CachingLoader(create_config_search_path(str(conf)))
    for experiment in ("ghz", "ising", "chsh", "ghz"):
        config = loader.load_configuration("qexp", [f"experiment={experiment}"], RunMode.RUN)
        assert config.hydra.runtime.choices.experiment == experiment
    assert len(loader._composed) == 2


def test_hydra_lists_the_same_choices(conf: Path):
    search_path = create_config_search_path(str(conf))
    theirs, ours = ConfigLoaderImpl(search_path), CachingLoader(search_path)
    for group in ("experiment", "backend", "hydra/launcher", "nothing"):
        assert ours.get_group_options(group) == theirs.get_group_options(group)
    assert ours.list_groups("") == theirs.list_groups("")
    assert ours.get_group_options("experiment", config_name="qexp", overrides=[RANDOM]) == (
        theirs.get_group_options("experiment", config_name="qexp", overrides=[RANDOM])
    )


def test_hydra_uses_it():
    register()
    assert vars(hydra_module)["ConfigLoaderImpl"] is CachingLoader
