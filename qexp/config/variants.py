"""Variants of the primitive: the same circuits with other options, as points of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from qexp.config.messages import did_you_mean
from qexp.config.overrides import override
from qexp.config.schema import RootNode
from qexp.config.sweep_points import Block, Row
from qexp.core.flatten import leaves
from qexp.errors import ConfigError

VARIANT: Final = "variant"
"""The key that chooses one; it is swept also where that is just one."""


def variant_blocks(config: Mapping[str, Any], blocks: Iterable[Block]) -> list[Block]:
    """Return the block of the variants of a sweep's config, none where a block chooses some."""
    names, chosen = config.get("variants"), config.get(VARIANT)
    if not isinstance(names, Mapping) or any(VARIANT in block.keys for block in blocks):
        return []
    swept = names if chosen is None else [chosen]
    rows = tuple(Row((override(VARIANT, str(name)),)) for name in swept)
    return [Block("variants", (VARIANT,), rows, len(rows))] if names else []


def merged_variants(
    plain: Mapping[str, Any], root: RootNode, *, is_sweep: bool
) -> dict[str, dict[str, Any]]:
    """Return the primitive of every variant of a config, also given validated; {}: it has none.

    Raises:
        ConfigError: None is chosen, or there is no such variant, or it makes no difference.
    """
    name, variants = root.variant, root.variants
    if name is None and not variants:
        return {}
    if root.workloads:
        raise ConfigError(
            f"variants: they change the primitive of the top level, not those of the workloads "
            f"{', '.join(root.workloads)}; sweep over workloads.NAME.primitive.KEY, or declare an "
            f"experiment without workloads"
        )
    if name is None:
        raise ConfigError(
            "variants: some are declared that this sweep does not read; name them on the command "
            "line, variant=NAME,NAME, or choose the experiment there, with hydra/sweeper=qexp"
            if is_sweep
            else "variants: a sweep is declared, but this is a single run; add -m, or choose one, "
            f"variant={next(iter(variants))}"
        )
    if name not in variants:
        raise ConfigError(
            f"variant: got {name!r}; {did_you_mean(name, variants)}allowed: "
            f"{', '.join(variants) or 'none, because no variants are declared'}"
        )
    for key in root.sweep.keys or ():
        if key.startswith("variants.") and not f"{key}.".startswith(f"variants.{name}."):
            raise ConfigError(
                f"{key}: swept, but variant={name} does not read it and would run again for each "
                f"value; leave {name} out, or declare a variant for each value"
            )
    base = plain.get("primitive") or {}
    merged = {each: _merged(base, changes) for each, changes in variants.items()}
    _refuse_without_effect(base, merged, name)
    return merged


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old: Any = merged.get(key)
        is_node = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(old, value) if is_node else value
    return merged


def _refuse_without_effect(
    base: Mapping[str, Any], merged: Mapping[str, Mapping[str, Any]], name: str
) -> None:
    """Refuse a variant that is the primitive itself or another, and options that none has."""
    others = {f"variants.{each}": one for each, one in merged.items() if each != name}
    for other, one in {"primitive": base, **others}.items():
        if one == merged[name]:
            raise ConfigError(
                f"variants.{name}: equal to {other} once it is merged into primitive, so that it "
                f"has no effect; change a key of one, or leave it out: '~variants.{name}'"
            )
    declared = dict(leaves(base.get("options") or {}))
    of_each = [dict(leaves(one.get("options") or {})) for one in merged.values()]
    for path, value in declared.items():
        if path and all(path not in one or one[path] != value for one in of_each):
            key = ".".join(("options", *path))
            raise ConfigError(
                f"primitive.{key}: got {value}, which has no effect, because every variant sets "
                f"it; set variants.NAME.{key} instead"
            )
