"""Creators, funding and licence of the data: as archived, or as given at export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qexp.config import messages
from qexp.config.schema import MetadataNode
from qexp.errors import ConfigError
from qexp.text import one_line


def read_metadata(file: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """Read the keys of the config's `metadata` that are given at export.

    Args:
        file: A YAML file with some of the keys, or None.
        settings: `key=value`, the value as YAML; they replace those of the file.

    Raises:
        ConfigError: The file cannot be read or is no mapping, or a setting has another form.
    """
    given: dict[str, Any] = {}
    if file is not None:
        where = f"--metadata {file}"
        try:
            loaded = _parse_yaml(file.read_text(encoding="utf-8"), where)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(f"{where}: cannot be read: {reason}") from None
        if not isinstance(loaded, dict):
            raise ConfigError(f"{where}: it must be a mapping of keys, as in conf/")
        nested = loaded.get("metadata")
        given |= nested if isinstance(nested, dict) and len(loaded) == 1 else loaded
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: write KEY=VALUE, such as license=CC-BY-4.0")
        given[key.removeprefix("metadata.")] = _parse_yaml(value, f"--set {key}")
    return given


def combine(archived: Mapping[str, Any], at_export: Mapping[str, Any]) -> MetadataNode:
    """Return the metadata of an archive, with keys given at export in place of its own.

    `reproduces`, which a repeated run adds, is no key that a user can give; it is left out.

    Raises:
        ConfigError: A key or a value is not one that the config takes.
    """
    from pydantic import ValidationError

    declared = {name: value for name, value in archived.items() if name != "reproduces"}
    try:
        return MetadataNode.model_validate({**declared, **at_export})
    except ValidationError as error:
        raise ConfigError(messages.validation_message(error, MetadataNode, "metadata")) from None


def _parse_yaml(text: str, where: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: it is not valid YAML: {one_line(error)[:200]}") from None
