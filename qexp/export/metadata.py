"""Who made the data, with whose money and under which licence: as archived or said at export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qexp.config import messages
from qexp.config.schema import MetadataNode
from qexp.errors import ConfigError


def declared(file: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """Keys of the config's `metadata` that are declared at export.

    Args:
        file: A YAML file with some of the keys, or None.
        settings: `key=value`, the value as YAML; they come after the file.

    Raises:
        ConfigError: The file cannot be read or is no mapping, or a setting has no such form.
    """
    found: dict[str, Any] = {}
    if file is not None:
        try:
            loaded = _yaml(file.read_text(encoding="utf-8"), f"--metadata {file}")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(f"--metadata {file}: cannot be read: {reason}") from None
        if not isinstance(loaded, dict):
            raise ConfigError(f"--metadata {file}: it must be a mapping of keys, as in conf/")
        nested = loaded.get("metadata")
        found |= nested if isinstance(nested, dict) and len(loaded) == 1 else loaded
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: write KEY=VALUE, such as license=CC-BY-4.0")
        found[key.removeprefix("metadata.")] = _yaml(value, f"--set {key}")
    return found


def combined(archived: Mapping[str, Any], at_export: Mapping[str, Any]) -> MetadataNode:
    """The metadata of an archive, with what was declared at export in place of it.

    What a repeated run says of the first, `reproduces`, is none of what can be declared.

    Raises:
        ConfigError: A key or a value is not one that the config takes.
    """
    from pydantic import ValidationError

    declared_before = {name: value for name, value in archived.items() if name != "reproduces"}
    try:
        return MetadataNode.model_validate({**declared_before, **at_export})
    except ValidationError as error:
        raise ConfigError(messages.validation_message(error, MetadataNode, "metadata")) from None


def _yaml(text: str, where: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{where}: it is not valid YAML: {reason}") from None
