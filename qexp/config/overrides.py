"""Overrides of the command line: as Hydra wants them, and as the user typed them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DOTTED_KEY = re.compile(r"(?!hydra\.)\w+\.[\w.]+=")


def hydra_arguments(arguments: Sequence[str]) -> list[str]:
    """Put overrides first, as Hydra's parser wants them all together, and open nested nodes.

    People write `-m` and `--cfg job` anywhere between the overrides.
    """
    is_override = [
        not item.startswith("-") and ("=" in item or item.startswith("~")) for item in arguments
    ]
    pairs = list(zip(arguments, is_override, strict=True))
    overrides = [item for item, is_one in pairs if is_one]
    return open_nodes(overrides) + [item for item, is_one in pairs if not is_one]


def open_nodes(overrides: Sequence[str]) -> list[str]:
    """Let overrides name keys that no YAML file lists, because qexp itself checks every key.

    The schema, the signature of a node's target and IBM's option models say which keys a node may
    have. They refuse a typo more helpfully than Hydra does, and
    `primitive.options.twirling.enable_gates=true` needs no `+`.
    """
    return [f"++{item}" if _DOTTED_KEY.match(item) else item for item in overrides]


def typed_overrides() -> tuple[str, ...]:
    """Return the overrides of the current run as its user typed them, without added `++`."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return ()
    return tuple(item.lstrip("+") for item in HydraConfig.get().overrides.task)
