"""The config group `analysis`: what the config, a recorded one or the command line declares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from qexp.config import problems, targets
from qexp.config.schema import AnalysesNode
from qexp.core.spec import AnalysisSpec
from qexp.errors import ConfigError

_CHOICE = re.compile(r"[\w./-]+")
_SETTING = re.compile(r"[^\W\d][\w.]*=.*", re.DOTALL)


def declared_analysis(name: str, node: Mapping[str, Any]) -> AnalysisSpec:
    """The analysis that a node of the config declares, bound.

    Raises:
        ConfigError: As `targets.bind`.
    """
    path = f"analysis.{name}"
    if "_target_" not in node:
        raise ConfigError(
            f"{path}: nothing is chosen that could take {', '.join(node)}; choose analysis={name} "
            f"('python -m qexp --help' lists the choices), or correct the key"
        )
    evaluate = targets.bind(node, path, positional=1)
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    return AnalysisSpec(name, node["_target_"], arguments, evaluate)


def validated_analyses(plain: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> node of a config that has the key `analysis`, or nothing in it.

    Raises:
        ConfigError: It is no mapping of names to nodes.
    """
    from pydantic import ValidationError

    refuse_nameless(plain)
    try:
        return AnalysesNode.model_validate(plain).analysis
    except ValidationError as error:
        raise ConfigError(problems.of_validation(error, AnalysesNode)) from None


def refuse_nameless(plain: Mapping[str, Any]) -> None:
    """Refuse an analysis that has no name above it, which is what the other groups look like.

    Raises:
        ConfigError: There is one.
    """
    nodes = plain.get("analysis")
    if isinstance(nodes, Mapping) and isinstance(nodes.get("_target_"), str):
        raise ConfigError(
            f"analysis._target_: an analysis needs a name above it, also in its own file: "
            f"'NAME: {{_target_: {nodes['_target_']}}}'"
        )


def chosen_analyses(name: str, settings: Sequence[str]) -> tuple[AnalysisSpec, ...]:
    """The analyses in `conf/analysis/NAME.yaml`, of the current folder or qexp's own.

    Args:
        name: The choice.
        settings: Changes to what it declares, as on the command line: `max_qubits=8`.

    Raises:
        ConfigError: There is no such choice, or a setting is none of its own.
    """
    if not _CHOICE.fullmatch(name):
        raise ConfigError(f"analysis={name}: a choice is the name of a file in conf/analysis")
    bad = [setting for setting in settings if not _SETTING.fullmatch(setting)]
    if bad:
        raise ConfigError(f"{bad[0]}: a setting of an analysis is key=value")
    nodes = _composed([f"analysis={name}"])
    if settings and len(nodes) > 1:
        raise ConfigError(
            f"analysis={name}: declares {', '.join(nodes)}, so that settings on the command line "
            f"could be of either; set them in its file"
        )
    if settings:
        nodes = _composed(
            [f"analysis={name}", *(f"++analysis.{node}.{s}" for node in nodes for s in settings)]
        )
    return tuple(declared_analysis(key, node) for key, node in nodes.items())


def _composed(overrides: list[str]) -> dict[str, dict[str, Any]]:
    """The nodes below `analysis` of qexp's config with these overrides."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from qexp.config import hydra_problems
    from qexp.config.hydra_setup import register, shipped_root

    register()
    try:
        with initialize_config_dir(str(shipped_root() / "conf"), version_base="1.3"):
            config = compose("qexp", overrides)
            node = OmegaConf.select(config, "analysis", default={})
            plain = OmegaConf.to_container(node, resolve=True) if node else {}
    except Exception as error:
        problem = hydra_problems.of_composing(error)
        if problem is None:
            raise
        raise ConfigError(problem) from None
    return validated_analyses({"analysis": plain})
