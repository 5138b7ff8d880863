"""What qexp adds to Hydra: where configs are found, how folders are named, checked sweeps."""

from __future__ import annotations

import re
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from hydra._internal import hydra as hydra_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from qexp.config.composing import CachingLoader
from qexp.errors import ConfigError


def shipped_root() -> Path:
    """The folder that holds qexp's own `conf/` and `experiments/`: in the wheel or the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_shipped"
    return inside if inside.is_dir() else package.parent


def register() -> None:
    """Teach Hydra qexp's search path, loader, resolvers and sweeper; idempotent."""
    plugins = Plugins.instance()
    # Only now: Hydra's scan for plugins executes the module of our base class once more.
    from qexp.config.sweep import CheckedSweeper

    # What `hydra.main` composes with; there is no setting for it.
    hydra_module.ConfigLoaderImpl = CachingLoader  # type: ignore[attr-defined]
    plugins.register(UserConfigs)
    plugins.register(CheckedSweeper)
    # Hydra instantiates sweepers from the namespace package `hydra_plugins` only. Ours belongs to
    # this application and is registered by hand, so a top-level package would serve nothing else.
    Plugins.is_in_toplevel_plugins_module = staticmethod(_is_plugin)  # type: ignore[assignment]
    OmegaConf.register_new_resolver("qexp.run_id", new_run_id, replace=True)
    OmegaConf.register_new_resolver("qexp.run_dir", _run_dir, replace=True)
    # Cached, so that all points of a sweep share one id.
    OmegaConf.register_new_resolver("qexp.sweep_id", _new_sweep_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("qexp.name", _experiment_name, replace=True)
    make_experiments_importable()


def _is_plugin(class_name: str) -> bool:
    return class_name.startswith(("hydra_plugins.", "hydra._internal.core_plugins.", "qexp."))


def make_experiments_importable() -> None:
    """Put the current folder first and the worked examples last on the import path.

    A console script does not have the current folder on its path, as `python -m` does. Neither
    `experiments/` has an `__init__.py`, so that the user's and the shipped one coexist.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    shipped = str(shipped_root())
    if shipped not in sys.path:
        sys.path.append(shipped)


def open_nodes(arguments: list[str]) -> list[str]:
    """Let overrides name keys that no YAML file lists, because qexp itself checks every key.

    What a node may hold is said by the schema, by its target's signature or by IBM's option
    models. They refuse a typo more helpfully than Hydra does, and
    `primitive.options.twirling.enable_gates=true` needs no `+`.
    """
    return [f"++{item}" if _DOTTED_KEY.match(item) else item for item in arguments]


def typed_overrides() -> tuple[str, ...]:
    """The overrides of the current run as its user typed them, without what `open_nodes` added."""
    if not HydraConfig.initialized():
        return ()
    return tuple(item.lstrip("+") for item in HydraConfig.get().overrides.task)


_DOTTED_KEY = re.compile(r"(?!hydra\.)\w+\.[\w.]+=")


class UserConfigs(SearchPathPlugin):
    """Puts `conf/` of the current folder before qexp's own, so that a user's files win."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the user's `conf/` where there is one."""
        user = Path.cwd() / "conf"
        if user.is_dir() and user.resolve() != (shipped_root() / "conf").resolve():
            search_path.prepend(provider="user", path=f"file://{user}", anchor="main")


def new_run_id() -> str:
    """A unique id that sorts by time: `20261122T091500Z-3f9a2c`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _run_dir(resumed: str | None, name: str) -> str:
    """Folder of a single run: a new one, or that of the run to go on with.

    Hydra creates whatever folder it is told, so a mistyped one is refused here.
    """
    if resumed is None:
        return f"outputs/{name}/{new_run_id()}"
    from qexp.config.runs import run_folder

    try:
        return str(run_folder(resumed))
    except ConfigError as error:
        raise ConfigError(f"run_dir: {error}") from None


def _new_sweep_id() -> str:
    return f"sweep-{new_run_id()}"


def _experiment_name(choice: str | None) -> str:
    # An experiment may live in a sub-folder of conf/experiment.
    return str(choice).replace("/", "-") if choice else "adhoc"
