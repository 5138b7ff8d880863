"""Overrides: as Hydra wants them, as the user typed them, and made of values in Python."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

_KEY = re.compile(r"\+{0,2}[\w./@:-]+", re.ASCII)
_DICT_KEY = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_WORD = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.ASCII | re.IGNORECASE)
"""A text that Hydra's grammar takes as text without quotes."""

_OPEN_NODE = re.compile(r"(?!hydra\.)\w+(\.[\w.]+=|=\{)")


def hydra_arguments(arguments: Sequence[str]) -> list[str]:
    """Put overrides first, as Hydra's parser wants them all together, and open nested nodes.

    People write `-m` and `--cfg job` anywhere between the overrides.
    """

    def is_override(item: str) -> bool:
        return not item.startswith("-") and ("=" in item or item.startswith("~"))

    return open_nodes(sorted(arguments, key=is_override, reverse=True))


def open_nodes(overrides: Sequence[str]) -> list[str]:
    """Let overrides name keys that no YAML file lists, because qexp itself checks every key.

    The schema, the signature of a node's target and IBM's option models say which keys a node may
    have. They refuse a typo more helpfully than Hydra does. So neither
    `primitive.options.twirling.enable_gates=true` nor `circuits={_target_: ...}` needs a `+`.
    """
    return [f"++{item}" if _OPEN_NODE.match(item) else item for item in overrides]


def typed_overrides(config: DictConfig | None = None) -> tuple[str, ...]:
    """Return overrides as their user typed them, without added `++`, and with every `${...}`.

    They are those of a composed config, or of the current run.
    """
    return tuple(map(as_typed, given_overrides(config)))


def given_overrides(config: DictConfig | None = None) -> list[str]:
    """Return the overrides that a config was composed with; see `typed_overrides`."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    if config is None and not HydraConfig.initialized():
        return []
    node = HydraConfig.get() if config is None else config.hydra
    task = OmegaConf.to_container(node.overrides.task, resolve=False)
    assert isinstance(task, list)
    return task


def as_typed(item: str) -> str:
    """Return an override without a `+` that it does not need; see `open_nodes`."""
    bare = item.lstrip("+")
    return bare if _OPEN_NODE.match(bare) else item


def key_of(override: str) -> str:
    """Return the key of an override, without added `++`."""
    return override.partition("=")[0].lstrip("+")


@lru_cache(maxsize=1000)
def parse(override: str) -> Override:
    """Parse an override by Hydra's grammar; the points of a sweep have most of theirs in common.

    Raises:
        HydraException: It is none.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (parsed,) = OverridesParser.create().parse_overrides([override])
    return parsed


def draws_of(overrides: Sequence[str], swept: Sequence[str]) -> dict[str, Any]:
    """Return key -> plain value of each swept key, in that order, from the overrides of a point."""
    given = {key_of(item): item for item in overrides}
    return {key: parse(given[key]).value() for key in swept if key in given}


def override(key: str, value: Any) -> str:
    """Return `key=value` as on the command line, for a value in Python.

    That is None, a number, text, a path, or a list or mapping of such. A function or class stands
    for its dotted name, as a `_target_` does.

    Example:
        >>> override("metadata", {"title": "Bell, twice", "keywords": ["bell"]})
        "metadata={title:'Bell, twice',keywords:[bell]}"

    Raises:
        ConfigError: It has no such form.
    """
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{key!r}: no key of the config; write it as in circuits.depth")
    return f"{key}={_text(value, key)}"


def _text(value: Any, key: str) -> str:
    """Write a value in Hydra's override grammar."""
    match value:
        case None | bool():
            text = {None: "null", True: "true", False: "false"}[value]
        case int() | float():
            # Not NumPy's `repr`, which names the type.
            text = repr(float(value) if isinstance(value, float) else int(value))
        case str() | Path():
            text = _quoted(str(value))
        case Mapping():
            pairs = (f"{_dict_key(name, key)}:{_text(item, key)}" for name, item in value.items())
            text = f"{{{','.join(pairs)}}}"
        case list() | tuple():
            text = f"[{','.join(_text(item, key) for item in value)}]"
        case _ if callable(value):
            text = dotted_name(value, key)
        case _ if hasattr(value, "tolist"):
            # NumPy's scalars and arrays.
            text = _text(value.tolist(), key)
        case _:
            raise ConfigError(
                f"{key}: got an object of type {type(value).__name__}; a value is None, a number, "
                f"text, or a list or mapping of such"
            )
    return text


def _quoted(text: str) -> str:
    if _WORD.fullmatch(text):
        return text
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def _dict_key(name: Any, key: str) -> str:
    if isinstance(name, str) and _DICT_KEY.fullmatch(name):
        return name
    raise ConfigError(
        f"{key}: got {name!r} as a key of a mapping; a key begins with a letter and has letters, "
        f"digits, '_', '.', '-', '/' only"
    )


def dotted_name(target: Callable[..., Any], key: str) -> str:
    """Return the name by which a config refers to a function or class, also one of `__main__`.

    Raises:
        ConfigError: It has no such name.
    """
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
    if getattr(sys.modules.get(str(module)), name, None) is target:
        return f"{module}.{name}"
    raise ConfigError(
        f"{key}: got {name or type(target).__name__}, which has no name in a module; the archive "
        f"records functions by name, so define it at the top level of a module, script or cell"
    )
