"""Analyses in a config: of the composed config, of a recorded one, or chosen on a command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from qexp.config import messages
from qexp.config.instantiate import bind, validate
from qexp.config.schema import AnalysesNode, SweepNode
from qexp.core.spec import AnalysisSpec
from qexp.errors import ConfigError

AnalysisGroup: TypeAlias = Literal["analysis", "sweep.analysis"]
"""Node of the config that has analyses: of a run, or of a whole sweep."""

_CHOICE = re.compile(r"[\w./-]+")
_SETTING = re.compile(r"[^\W\d][\w.]*=.*", re.DOTALL)


def declared_analysis(
    name: str, node: Mapping[str, Any], group: AnalysisGroup = "analysis"
) -> AnalysisSpec:
    """Bind the analysis that a node of the config declares.

    Raises:
        ConfigError: The node is refused by `instantiate.bind`.
    """
    path = f"{group}.{name}"
    if "_target_" not in node:
        raise ConfigError(
            f"{path}: nothing is chosen that could take {', '.join(node)}; choose "
            f"{group.replace('.', '/')}={name} "
            f"('python -m qexp --help' lists the choices), or correct the key"
        )
    evaluate = bind(node, path, positional=1)
    return AnalysisSpec(name, node["_target_"], settings(node), evaluate)


def settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a node that are arguments of its target."""
    return {key: value for key, value in node.items() if key != "_target_"}


def validated_analyses(
    plain: Mapping[str, Any], group: AnalysisGroup = "analysis"
) -> dict[str, dict[str, Any]]:
    """Return the nodes by name of a config with the key of a group, or without it.

    Raises:
        ConfigError: The key does not hold a mapping of names to nodes.
    """
    if group == "sweep.analysis":
        sweep = plain.get("sweep")
        nodes = sweep.get("analysis") if isinstance(sweep, Mapping) else None
        return validate(SweepNode, {"analysis": nodes or {}}, "sweep").analysis
    refuse_nameless(plain)
    return validate(AnalysesNode, plain).analysis


def refuse_nameless(plain: Mapping[str, Any]) -> None:
    """Refuse an analysis without a name above it, which is the form of the other groups.

    Raises:
        ConfigError: `analysis` has a `_target_` of its own.
    """
    nodes = plain.get("analysis")
    if isinstance(nodes, Mapping) and isinstance(nodes.get("_target_"), str):
        raise ConfigError(
            f"analysis._target_: an analysis needs a name above it, also in its own file: "
            f"'NAME: {{_target_: {nodes['_target_']}}}'"
        )


def chosen_analyses(
    name: str, changes: Sequence[str], group: AnalysisGroup = "analysis"
) -> tuple[AnalysisSpec, ...]:
    """Bind the analyses in `conf/analysis/NAME.yaml`, of the current folder or qexp's own.

    Those of the group `"sweep.analysis"` are in `conf/sweep/analysis/NAME.yaml`; `changes` of their
    settings are as on the command line: `max_qubits=8`.

    Raises:
        ConfigError: There is no such choice, or it has no such setting.
    """
    folder = group.replace(".", "/")
    if not _CHOICE.fullmatch(name):
        raise ConfigError(f"{folder}={name}: a choice is the name of a file in conf/{folder}")
    bad = [change for change in changes if not _SETTING.fullmatch(change)]
    if bad:
        raise ConfigError(f"{bad[0]}: a setting of an analysis is key=value")
    choice = f"{folder}={name}"
    nodes = _composed([choice], group)
    if changes and len(nodes) > 1:
        raise ConfigError(
            f"{choice}: declares {', '.join(nodes)}, so that settings on the command line could be "
            f"of either; set them in its file"
        )
    if changes:
        (node,) = nodes
        settled = [f"++{group}.{node}.{change}" for change in changes]
        nodes = _composed([choice, *settled], group)
    missing = [f"{key}.{k}" for key, node in nodes.items() for k, v in node.items() if v == "???"]
    if missing:
        raise ConfigError(messages.missing(*(f"{group}.{key}" for key in missing)))
    return tuple(declared_analysis(key, node, group) for key, node in nodes.items())


def _composed(overrides: list[str], group: AnalysisGroup) -> dict[str, dict[str, Any]]:
    """Compose the nodes below a group of qexp's config with these overrides."""
    from omegaconf import OmegaConf

    from qexp.config.hydra_internals import composed
    from qexp.config.paths import make_experiments_importable

    make_experiments_importable()
    with messages.one_line_errors(), composed(overrides) as config:
        node = OmegaConf.select(config, group, default={})
        plain = OmegaConf.to_container(node, resolve=True) if node else {}
    nested: Any = plain
    for key in reversed(group.split(".")):
        nested = {key: nested}
    return validated_analyses(nested, group)
