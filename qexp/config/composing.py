"""Composition of one choice of files once, however often Hydra asks for it.

Hydra composes the same config twice for a run, and twice for each point of a sweep; with one level
of overrides more or less. Reading and merging the files is most of the work, and depends on what is
chosen (`experiment=ghz`), not on the values that are set (`seed=1`). So that is kept, and the
values are set in a copy, by Hydra's own code.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

_Key = tuple[str | None, tuple[str | None, ...], frozenset[tuple[str, int, int]]]

_MOST_KEPT = 32
"""Composed choices: a sweep over more than that composes some of them again."""

_DECIDE_MORE = ("hydra.job.", "hydra.runtime.", "hydra.searchpath", "hydra.overrides")
"""Keys whose values Hydra looks at while it composes."""


class CachingLoader(ConfigLoaderImpl):
    """Hydra's loader, with what it composed of the same files and choices kept."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._composed: dict[_Key, DictConfig] = {}

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """As Hydra's, which copies all it knows for each group in order to change nothing."""
        if config_name is None and not overrides:
            found: list[str] = self.repository.get_group_options(group_name, results_filter)
            return found
        return super().get_group_options(group_name, results_filter, config_name, overrides)

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
        found = None
        if not any(_key(item).startswith(_DECIDE_MORE) for item in parsed):
            found = self._chosen(config_name, [item for item in parsed if self._chooses(item)])
        if found is None:
            return super()._load_configuration_impl(
                config_name, overrides, run_mode, from_shell, validate_sweep_overrides
            )
        config = copy.deepcopy(found)
        values = [o for o in parsed if not (o.is_sweep_override() or self._chooses(o))]
        self._apply_overrides_to_config(values, config)
        _note_overrides(config, parsed)
        return config

    def _chooses(self, override: Override) -> bool:
        """Whether an override says which file is used, as Hydra tells it from the others."""
        return (
            not override.is_sweep_override()
            and self.repository.group_exists(override.key_or_group)
            and not isinstance(override.value(), dict)
        )

    def _chosen(self, config_name: str | None, choices: list[Override]) -> DictConfig | None:
        """The config with nothing but choices; None where Hydra had better compose it whole."""
        lines = [item.input_line or "" for item in choices]
        key = (config_name, tuple(lines), frozenset(self._files()))
        if key in self._composed:
            return self._composed[key]
        try:
            # Not as for a multirun: this would leave out what is missing.
            config = super()._load_configuration_impl(config_name, lines, RunMode.RUN)
        except Exception:
            # Whoever asked is to see the error with all that was asked for.
            return None
        if len(config.hydra.runtime.config_sources) != len(self.repository.get_sources()):
            # A `hydra.searchpath` in a file adds choices that are not known here.
            return None
        while len(self._composed) >= _MOST_KEPT:
            del self._composed[next(iter(self._composed))]
        self._composed[key] = config
        return config

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """What tells whether a file was changed since: path, time of its change, size."""
        for source in self.repository.get_sources():
            if source.scheme() == "file":
                for path in Path(source.path).rglob("*.yaml"):
                    # Not where it leads to nothing, as the locks of some editors do.
                    with suppress(OSError):
                        stat = path.stat()
                        yield str(path), stat.st_mtime_ns, stat.st_size


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _note_overrides(config: DictConfig, parsed: list[Override]) -> None:
    """Say in the config what was asked for, as Hydra does."""
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
