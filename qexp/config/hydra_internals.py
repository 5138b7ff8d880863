"""Everything that qexp uses of Hydra beyond its public interface, tried with Hydra 1.3.2 and 1.3.8.

- Hydra composes the same config twice for a run, and twice for each point of a sweep. Reading and
  merging the files is most of that work, and depends on the choices (`experiment=ghz`), not on the
  values (`seed=1`). `CachingLoader` keeps the merged files, and Hydra's own code sets the values in
  a copy. It replaces the loader that `hydra.main` uses, for which there is no setting.
- Hydra instantiates sweepers of the package `hydra_plugins` only. qexp's own belongs to this
  application and is registered by hand; a top-level package would serve nothing else.
- Hydra's reader of files does not know byte order marks, and YAML 1.1 reads `1:30` as 90. The
  loader's own repository reads files by `ConfigFiles` instead.
- Outside of `hydra.main` none of that is replaced: for one composition, `composed` puts its own
  singletons and resolvers in the place of the caller's.
- `hydra.main` prints errors itself, on several lines, unless HYDRA_FULL_ERROR is set; and its
  parser accepts abbreviations (`--experiment` is `--experimental-rerun`).
"""

# ruff: noqa: E402 - the version is checked before anything private is imported
from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from qexp.config.overrides import given_overrides
from qexp.config.paths import (
    PRIMARY,
    PROJECT,
    SWEEP_PREFIX,
    make_experiments_importable,
    new_point_id,
    new_run_id,
    run_folder,
    shipped_conf,
    user_conf,
)
from qexp.errors import ConfigError

if not hydra.__version__.startswith("1.3."):
    raise ConfigError(
        f"hydra-core {hydra.__version__} is installed, and qexp was tried with 1.3.2 and 1.3.8; "
        f"install it again: python -m pip install 'hydra-core>=1.3.2,<1.4'"
    )

# Hydra's scan for plugins executes the module of `BasicSweeper` once more, so it comes first.
Plugins.instance()

from hydra._internal import hydra as hydra_module
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path, get_args_parser

from qexp.config.hydra_loader import CachingLoader, set_current

__all__ = ["BasicSweeper"]

if TYPE_CHECKING:
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.plugin import Plugin

_SINGLETONS = (HydraConfig, version.VersionBase)
"""Globals of Hydra that a composition reads or sets."""

_COMPOSING = threading.RLock()
"""Held while these globals are qexp's."""

_USER = "user"
"""Provider of `conf/` in the current folder."""


def register(*plugins: type[Plugin]) -> None:
    """Register qexp's search path, loader and resolvers with Hydra, and plugins; idempotent."""
    hydra_module.ConfigLoaderImpl = CachingLoader  # type: ignore[attr-defined]
    Plugins.instance().register(UserConfigs)
    for plugin in plugins:
        Plugins.instance().register(plugin)
    Plugins.is_in_toplevel_plugins_module = staticmethod(_is_plugin)  # type: ignore[assignment]
    _register_resolvers()
    make_experiments_importable()


def _register_resolvers() -> None:
    OmegaConf.register_new_resolver("qexp.point_id", new_point_id, replace=True)
    OmegaConf.register_new_resolver("qexp.run_dir", _run_dir, replace=True)
    # Cached, so that all points of a sweep share one id.
    OmegaConf.register_new_resolver(
        "qexp.sweep_id", lambda: f"{SWEEP_PREFIX}{new_run_id()}", use_cache=True, replace=True
    )
    OmegaConf.register_new_resolver("qexp.name", _experiment_name, replace=True)


def run_main(task: Callable[[DictConfig], Any], arguments: Sequence[str]) -> None:
    """Compose as the arguments say, and call `task` once or for each point of a sweep.

    Raises:
        Whatever the composition raises. What `task` returns or raises is reported by Hydra.
        SystemExit: Hydra has printed what was asked for, such as the composed config.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = arguments
    hydra.main(version_base="1.3", config_path=str(shipped_conf()), config_name=PRIMARY)(task)()


def mistyped(arguments: Sequence[str]) -> list[str]:
    """List arguments that are neither overrides nor flags of Hydra, abbreviated ones included.

    Raises:
        ConfigError: A flag of Hydra has a value that it does not take.
    """

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; 'python -m qexp --hydra-help' explains Hydra's flags")

    parser = get_args_parser()
    parser.allow_abbrev = False
    parser.error = refuse  # type: ignore[method-assign]
    given, unknown = parser.parse_known_args(arguments)
    words = [item for item in given.overrides if "=" not in item and not item.startswith("~")]
    return [*unknown, *words]


def hydra_flags() -> list[str]:
    """List the flags of Hydra's own parser, long and short."""
    parser: argparse.ArgumentParser = get_args_parser()
    return sorted(flag for action in parser._actions for flag in action.option_strings)


def complete(words: Sequence[str]) -> list[str]:
    """Complete the last word by Hydra's tab completion: groups, choices, keys and values."""
    register()
    # One candidate a line, which is the form for fish.
    os.environ["COMP_LINE"] = " ".join(["qexp", *words])
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        run_main(lambda _config: None, ["query=fish", "-sc"])
    return [line for line in printed.getvalue().splitlines() if line]


@contextlib.contextmanager
def composed(overrides: Sequence[str]) -> Iterator[DictConfig]:
    """Compose qexp's config in any thread of any program, as `hydra.main` does for one run.

    The config has Hydra's own node, and can be resolved within the context only. What the caller
    has of Hydra (singletons, resolvers, search path) is theirs again afterwards. Whatever Hydra,
    OmegaConf or YAML raises is for `messages.compose_message`.

    Raises:
        Exception: Hydra's, OmegaConf's or YAML's error, for `messages.compose_message`.
    """
    with _composed(overrides, RunMode.RUN) as (_, config):
        config.hydra.runtime.output_dir = os.path.abspath(config.hydra.run.dir)
        yield config


def sweep_with(launcher: Launcher, sweeper: type[BasicSweeper], overrides: Sequence[str]) -> None:
    """Let a sweeper make the points of a command line with `-m`, in any thread of any program.

    Raises:
        Exception: As `composed`, and what the sweeper and the launcher, which gets them, raise.
    """
    with _composed(overrides, RunMode.MULTIRUN) as (loader, config):
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        made = sweeper(max_batch_size=None, params=config.hydra.sweeper.params)
        made.hydra_context, made.config, made.launcher = context, config, launcher
        # The launcher calls no task.
        launcher.setup(hydra_context=context, task_function=lambda _: None, config=config)
        made.sweep(given_overrides(config))


@contextlib.contextmanager
def _composed(
    overrides: Sequence[str], mode: RunMode
) -> Iterator[tuple[CachingLoader, DictConfig]]:
    with _COMPOSING, _own_globals():
        search_path = create_config_search_path(str(shipped_conf()))
        if all(element.provider != _USER for element in search_path.get_path()):
            UserConfigs().manipulate_search_path(search_path)
        loader = CachingLoader(search_path)
        config = loader.load_configuration(PRIMARY, list(overrides), mode, from_shell=False)
        config.hydra.mode = mode
        set_current(config)
        yield loader, config


@contextlib.contextmanager
def _own_globals() -> Iterator[None]:
    """Give Hydra fresh globals, and the caller their own again."""
    singletons = {kind: Singleton._instances.pop(kind, None) for kind in _SINGLETONS}
    resolvers = dict(BaseContainer._resolvers)
    try:
        version.setbase("1.3")
        setup_globals()
        _register_resolvers()
        yield
    finally:
        for kind, instance in singletons.items():
            Singleton._instances.pop(kind, None)
            if instance is not None:
                Singleton._instances[kind] = instance
        for name in set(BaseContainer._resolvers) - set(resolvers):
            OmegaConf.clear_resolver(name)
        BaseContainer._resolvers.update(resolvers)


class UserConfigs(SearchPathPlugin):
    """Puts `conf/` of the current folder before qexp's own, so that a user's files win."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the user's `conf/` if there is one.

        Raises:
            ConfigError: It has a primary config, which would take the place of qexp's.
        """
        user = user_conf()
        if user is not None:
            if (user / f"{PRIMARY}.yaml").is_file():
                raise ConfigError(
                    f"{user / PRIMARY}.yaml: would take the place of all that qexp's own file of "
                    f"that name declares; keep defaults of your own in {user / PROJECT}.yaml, "
                    f"which is laid over it"
                )
            search_path.prepend(provider=_USER, path=f"file://{user}", anchor="main")


def _is_plugin(class_name: str) -> bool:
    return class_name.startswith(("hydra_plugins.", "hydra._internal.core_plugins.", "qexp."))


def _run_dir(resumed: str | None, name: str) -> str:
    """Return the folder of a single run: a new one, or that of the run to resume.

    Hydra creates any folder that it is given, so a mistyped one is refused here.
    """
    if resumed is None:
        return f"outputs/{name}/{new_run_id()}"
    try:
        return str(run_folder(resumed))
    except ConfigError as error:
        raise ConfigError(f"run_dir: {error}") from None


def _experiment_name(choice: str | None) -> str:
    # An experiment may be in a sub-folder of conf/experiment.
    return str(choice).replace("/", "-") if choice else "adhoc"
