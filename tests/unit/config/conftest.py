from __future__ import annotations

from collections.abc import Callable

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from qexp.config.hydra_internals import register
from qexp.config.load import load
from qexp.config.overrides import open_nodes
from qexp.config.paths import shipped_root
from qexp.core.spec import RunSpec


def composed(*overrides: str) -> DictConfig:
    """What the command line composes, Hydra's own node included."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(shipped_root() / "conf"), version_base="1.3"):
        config = compose("qexp", overrides=open_nodes(list(overrides)), return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        return config


@pytest.fixture
def load_spec() -> Callable[..., RunSpec]:
    """Compose as the command line does, then validate."""
    return lambda *overrides: load(composed(*overrides))
