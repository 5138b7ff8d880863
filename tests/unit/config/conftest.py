from __future__ import annotations

from collections.abc import Callable

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from qexp.config.hydra_setup import open_nodes, register, shipped_root
from qexp.config.load import load
from qexp.core.spec import RunSpec


@pytest.fixture
def load_spec() -> Callable[..., RunSpec]:
    """Compose as the command line does, then validate."""

    def _load(*overrides: str) -> RunSpec:
        register()
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(shipped_root() / "conf"), version_base="1.3"):
            config = compose(
                "qexp", overrides=open_nodes(list(overrides)), return_hydra_config=True
            )
            HydraConfig.instance().set_config(config)
            return load(config)

    return _load
