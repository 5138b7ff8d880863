"""Nested mappings and lists as flat ones: the path of every value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value that is no map with keys and no list of maps or lists, with its path."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, str(key)))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, str(index)))
    else:
        yield path, value


def flatten(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of a nested mapping by dotted path: `{"circuits.depth": 5, "seed": 7}`."""
    return {".".join(path): leaf for path, leaf in leaves(value) if path}
