"""Hydra's loader of configs, which keeps what it composed, and its reader of files.

What is private of Hydra here, and why it is replaced, is in `qexp.config.hydra_internals`.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from qexp.config.messages import did_you_mean
from qexp.config.overrides import given_overrides, parse
from qexp.config.yaml_files import read_config_text
from qexp.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.override_parser.types import Override

_Key = tuple[str | None, tuple[str | None, ...], frozenset[tuple[str, int, int]]]

_MOST_KEPT = 32
"""Number of choices kept; a sweep over more of them composes some again."""

_DECIDE_MORE = ("hydra.job.", "hydra.runtime.", "hydra.searchpath", "hydra.overrides")
"""Keys whose values Hydra reads while it composes."""

_IN_VARIANT = re.compile(r"variants\.(\w+)\.")


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
            if source.scheme() == "file"  # Hydra's scan of plugins makes its class anew
            else source
            for source in self.sources
        ]


class CachingLoader(ConfigLoaderImpl):
    """Hydra's loader, which keeps what it composed of the same files and choices."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)
        self._composed: dict[_Key, bytes] = {}

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        parsed = [*map(parse, overrides)]
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        if run_mode is RunMode.RUN:  # a MULTIRUN may leave the experiment to its points
            self._refuse_new_variants(config_name, parsed)
        chosen = None
        if not any(str(item.key_or_group).startswith(_DECIDE_MORE) for item in parsed):
            chosen = self._chosen(config_name, [item for item in parsed if self._chooses(item)])
        if chosen is None:
            return super()._load_configuration_impl(
                config_name, overrides, run_mode, from_shell, validate_sweep_overrides
            )
        # A third of the time of a deep copy.
        config: DictConfig = pickle.loads(chosen)  # noqa: S301 - pickled below
        values = [o for o in parsed if not (o.is_sweep_override() or self._chooses(o))]
        self._apply_overrides_to_config(values, config)
        config.hydra.overrides.hydra = [o.input_line for o in parsed if o.is_hydra_override()]
        _note_overrides(config, [o for o in parsed if not o.is_hydra_override()])
        return config

    def _refuse_new_variants(self, config_name: str | None, parsed: Sequence[Override]) -> None:
        """Refuse to change a variant that nothing declares, which would be one more to pay for."""
        changed = [_IN_VARIANT.match(item.key_or_group) for item in parsed]
        if any(changed):
            others = [o.input_line or "" for o, key in zip(parsed, changed, strict=True) if not key]
            config = self._load_configuration_impl(config_name, others, RunMode.RUN)
            names = [str(name) for name in config.get("variants") or ()]
            for name in (key[1] for key in changed if key and key[1] not in names):
                raise ConfigError(
                    f"variants.{name}: no such variant; {did_you_mean(name, names)}declared: "
                    f"{', '.join(names) or 'none'}; to declare one more: variants.{name}={{...}}"
                )

    def complete(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Set values in a composed config as if it had been composed with these overrides.

        Those that it lacks set values; those that it has besides are values, too, which others take
        the place of.
        """
        parsed, known = [*map(parse, overrides)], {*given_overrides(config)}
        self._apply_overrides_to_config([o for o in parsed if o.input_line not in known], config)
        _note_overrides(config, parsed)

    def _chooses(self, override: Override) -> bool:
        """Return True if an override names a file, by Hydra's own rule."""
        return (
            not override.is_sweep_override()
            and self.repository.group_exists(override.key_or_group)
            and not isinstance(override.value(), dict)
        )

    def _chosen(self, config_name: str | None, choices: list[Override]) -> bytes | None:
        """Return the pickled config with nothing but choices; None: Hydra composes all at once."""
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
        return self._composed.setdefault(key, pickle.dumps(config))

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """Yield path, time of change and size of every file that could be chosen."""
        for source in self.repository.get_sources():
            if source.scheme() == "file":
                for path in Path(source.path).rglob("*.yaml"):
                    # Dangling links, such as the locks of some editors, are left out.
                    with contextlib.suppress(OSError):
                        stat = path.stat()
                        yield str(path), stat.st_mtime_ns, stat.st_size


def set_current(config: DictConfig) -> None:
    """Let `${hydra:...}` be resolved from a config; unlike Hydra's own way, it is not copied."""
    HydraConfig.instance().cfg = config  # type: ignore[assignment]


def _note_overrides(config: DictConfig, parsed: list[Override]) -> None:
    """Record in the config what was asked for, but of Hydra itself, as Hydra does."""
    config.hydra.overrides.task = [item.input_line for item in parsed]
    job = config.hydra.job
    job.override_dirname = get_overrides_dirname(
        overrides=parsed,
        kv_sep=job.config.override_dirname.kv_sep,
        item_sep=job.config.override_dirname.item_sep,
        exclude_keys=job.config.override_dirname.exclude_keys,
    )
