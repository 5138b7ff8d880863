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
import copy
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

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
from qexp.config.yaml_files import read_config_text
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
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.utils import create_config_search_path, get_args_parser

__all__ = ["BasicSweeper"]

if TYPE_CHECKING:
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.override_parser.types import Override
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.plugin import Plugin

_Key = tuple[str | None, tuple[str | None, ...], frozenset[tuple[str, int, int]]]

_MOST_KEPT = 32
"""Number of choices kept; a sweep over more of them composes some again."""

_SINGLETONS = (HydraConfig, version.VersionBase)
"""Globals of Hydra that a composition reads or sets."""

_COMPOSING = threading.RLock()
"""Held while these globals are qexp's."""

_USER = "user"
"""Provider of `conf/` in the current folder."""

_DECIDE_MORE = ("hydra.job.", "hydra.runtime.", "hydra.searchpath", "hydra.overrides")
"""Keys whose values Hydra reads while it composes."""


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
    """Complete the last word with Hydra's own tab completion: groups, choices, keys and values.

    Args:
        words: The words of a command line up to the cursor, without the program.
    """
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
    has of Hydra (singletons, resolvers, search path) is theirs again afterwards.

    Raises:
        Exception: Hydra's, OmegaConf's or YAML's error, for `messages.compose_message`.
    """
    with _COMPOSING, _own_globals():
        config = _loader().load_configuration(
            PRIMARY, list(overrides), RunMode.RUN, from_shell=False
        )
        config.hydra.mode = RunMode.RUN
        HydraConfig.instance().set_config(config)
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.runtime.output_dir = os.path.abspath(config.hydra.run.dir)
        HydraConfig.instance().set_config(config)
        yield config


def sweep_with(launcher: Launcher, sweeper: type[BasicSweeper], overrides: Sequence[str]) -> None:
    """Let a launcher have the points of a sweep, in any thread of any program.

    Args:
        launcher: Receives the points.
        sweeper: Makes them.
        overrides: Those of a command line with `-m`.

    Raises:
        Exception: As `composed`, and what the sweeper and the launcher raise.
    """

    def nothing(_config: DictConfig) -> None:
        """Stand in for a task, which the launcher does not call."""

    with _COMPOSING, _own_globals():
        loader = _loader()
        config = loader.load_configuration(
            PRIMARY, list(overrides), RunMode.MULTIRUN, from_shell=False
        )
        config.hydra.mode = RunMode.MULTIRUN
        HydraConfig.instance().set_config(config)
        # Once, so that all points have the same: it has the id of the sweep.
        _ = config.hydra.sweep.dir
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        made = sweeper(max_batch_size=None, params=config.hydra.sweeper.params)
        made.hydra_context, made.config, made.launcher = context, config, launcher
        launcher.setup(hydra_context=context, task_function=nothing, config=config)
        made.sweep([str(item) for item in config.hydra.overrides.task])


def _loader() -> CachingLoader:
    search_path = create_config_search_path(str(shipped_conf()))
    if all(element.provider != _USER for element in search_path.get_path()):
        UserConfigs().manipulate_search_path(search_path)
    return CachingLoader(search_path)


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


class ConfigFiles(FileConfigSource):
    """Hydra's source of config files, which qexp reads itself."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a config and its header (`# @package`).

        Raises:
            ConfigError: See `read_config_text`.
            ConfigLoadError: There is no such file.
        """
        path = Path(self.path, self._normalize_file_name(config_path))
        if not path.is_file():
            return super().load_config(config_path)
        stream = io.StringIO(read_config_text(path))
        stream.name = str(path)  # named in errors of YAML
        header = self._get_header_dict(stream.read(512))
        stream.seek(0)
        where = f"{self.scheme()}://{self.path}"
        return ConfigResult(self.provider, where, OmegaConf.load(stream), header)


class Repository(ConfigRepository):
    """Hydra's repository of configs, with qexp's reader of files."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Make a source of each part of the search path."""
        super().initialize_sources(config_search_path)
        self.sources = [
            ConfigFiles(source.provider, f"file://{source.path}")
            if isinstance(source, FileConfigSource)
            else source
            for source in self.sources
        ]


class CachingLoader(ConfigLoaderImpl):
    """Hydra's loader, which keeps what it composed of the same files and choices."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)
        self._composed: dict[_Key, DictConfig] = {}

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        parsed = OverridesParser.create().parse_overrides(overrides=overrides)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        chosen = None
        if not any(_key(item).startswith(_DECIDE_MORE) for item in parsed):
            chosen = self._chosen(config_name, [item for item in parsed if self._chooses(item)])
        if chosen is None:
            return super()._load_configuration_impl(
                config_name, overrides, run_mode, from_shell, validate_sweep_overrides
            )
        config = copy.deepcopy(chosen)
        values = [o for o in parsed if not (o.is_sweep_override() or self._chooses(o))]
        self._apply_overrides_to_config(values, config)
        _note_overrides(config, parsed)
        return config

    def _chooses(self, override: Override) -> bool:
        """Return True if an override names a file, by Hydra's own rule."""
        return (
            not override.is_sweep_override()
            and self.repository.group_exists(override.key_or_group)
            and not isinstance(override.value(), dict)
        )

    def _chosen(self, config_name: str | None, choices: list[Override]) -> DictConfig | None:
        """Return the config with nothing but choices; None if Hydra should compose all at once."""
        lines = [item.input_line or "" for item in choices]
        key = (config_name, tuple(lines), frozenset(self._files()))
        if key in self._composed:
            return self._composed[key]
        try:
            # RUN, because a MULTIRUN leaves out missing choices.
            config = super()._load_configuration_impl(config_name, lines, RunMode.RUN)
        except Exception:
            # The caller's own composition raises it again, with all overrides in the message.
            return None
        if len(config.hydra.runtime.config_sources) != len(self.repository.get_sources()):
            # A `hydra.searchpath` in a file adds choices that are unknown here.
            return None
        while len(self._composed) >= _MOST_KEPT:
            del self._composed[next(iter(self._composed))]
        self._composed[key] = config
        return config

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """Yield path, time of change and size of every file that could be chosen."""
        for source in self.repository.get_sources():
            if source.scheme() == "file":
                for path in Path(source.path).rglob("*.yaml"):
                    # Dangling links, such as the locks of some editors, are left out.
                    with contextlib.suppress(OSError):
                        stat = path.stat()
                        yield str(path), stat.st_mtime_ns, stat.st_size


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _note_overrides(config: DictConfig, parsed: list[Override]) -> None:
    """Record in the config what was asked for, as Hydra does."""
    known = config.hydra.overrides
    known.hydra = [item.input_line for item in parsed if item.is_hydra_override()]
    known.task = [item.input_line for item in parsed if not item.is_hydra_override()]
    job = config.hydra.job
    job.override_dirname = get_overrides_dirname(
        overrides=[item for item in parsed if not item.is_hydra_override()],
        kv_sep=job.config.override_dirname.kv_sep,
        item_sep=job.config.override_dirname.item_sep,
        exclude_keys=job.config.override_dirname.exclude_keys,
    )
