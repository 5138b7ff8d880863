"""From the composed config, checked as a whole, to a frozen `RunSpec`.

Nothing here asks a service or builds a circuit; Qiskit is imported only to validate primitive
options that the config sets.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from qexp.config import messages
from qexp.config.analyses import AnalysisGroup, declared_analysis, refuse_nameless
from qexp.config.instantiate import accepts, bind, build, validate
from qexp.config.overrides import typed_overrides
from qexp.config.schema import (
    ExecutionNode,
    PrimitiveNode,
    RootNode,
    TranspileNode,
    WorkloadNode,
)
from qexp.config.sources import source_files
from qexp.config.sweep_points import refuse_declared
from qexp.config.variants import merged_variants
from qexp.core.model import PrimitiveSpec, config_sections
from qexp.core.protocols import Engine, RemoteEngine
from qexp.core.spec import (
    AnalysisSpec,
    ExecutionPolicy,
    Limit,
    PartitionLimits,
    RunSpec,
    SharingPolicy,
    TranspileSpec,
    WorkloadSpec,
)
from qexp.engines.options import DEFAULT_SHOTS, check_options
from qexp.errors import ConfigError
from qexp.text import parse_duration_s

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig
    from qiskit.providers import BackendV2

DEFAULT_PRECISION = 1 / 64
"""Default of both of IBM's Estimators (`EstimatorOptions.default_precision`)."""

Generator = Callable[[Any], Iterable[Any]]
"""Makes PUB-likes from a workload's `SeedSequence`."""

GeneratorOf = Callable[[Mapping[str, Any], str], Generator]
"""Binds the generator of a `circuits` node, given the node and its path."""


def generator(node: Mapping[str, Any], path: str) -> Generator:
    """Bind the generator that a `circuits` node declares.

    Raises:
        ConfigError: The node is refused by `instantiate.bind`.
    """
    bound = bind(node, path)
    takes = [name for name in ("seed_sequence", "rng") if accepts(bound, name)]
    return partial(_generate, bound, takes)


def load(config: DictConfig, generator_of: GeneratorOf = generator) -> RunSpec:
    """Validate a composed config and freeze it; `generator_of` binds generators of circuits.

    Raises:
        ConfigError: One line for everything that is wrong with a section.
    """
    plain, root = _composed(config)
    spec = freeze(root, as_yaml(plain), generator_of, declared_analysis)
    return replace(spec, overrides=typed_overrides(), sources=source_files(root))


def checked_root(config: DictConfig) -> RootNode:
    """Validate the shape of a composed config.

    Raises:
        ConfigError: One line for everything that is wrong with a section.
    """
    return _composed(config)[1]


def _composed(config: DictConfig) -> tuple[dict[str, Any], RootNode]:
    """Return a composed config as plain values, its variant merged, and the same validated."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    plain = _plain(config)
    root = validated(plain)
    is_sweep = HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN
    if root.run_dir is not None and is_sweep:
        raise ConfigError("run_dir: names one run, which a sweep cannot resume; leave out -m")
    refuse_declared(root.sweep, is_sweep=is_sweep)
    variants = merged_variants(plain, root, is_sweep=is_sweep)
    if not variants:
        return plain, root
    base = plain.get("primitive") or {}
    _check_variants(json.dumps(base, default=str), json.dumps(variants, default=str))
    # A copy, because the text of a config has no aliases.
    plain = {**plain, "primitive": copy.deepcopy(variants[str(root.variant)])}
    return plain, validated(plain)


@lru_cache(maxsize=1000)
def _check_variants(primitive: str, variants: str) -> None:
    """Refuse a variant that could not be run, chosen or not; JSON, because points have the same."""
    for name, node in json.loads(variants).items():
        path = f"variants.{name}"
        try:
            _primitive(validate(PrimitiveNode, node, path), path)
        except ConfigError:
            # What is wrong in all of them names its own key.
            _primitive(validate(PrimitiveNode, json.loads(primitive), "primitive"), "primitive")
            raise


def freeze(
    root: RootNode,
    config_yaml: str,
    generator_of: GeneratorOf,
    analysis_of: Callable[[str, Mapping[str, Any], AnalysisGroup], AnalysisSpec],
) -> RunSpec:
    """Bind every target of a validated config; only the engine's is called.

    `config_yaml` is its text, for the archive; `analysis_of` binds an analysis, given its name, its
    node and its group.

    Raises:
        ConfigError: One line for everything that is wrong with a section.
    """
    engine = _engine(root.engine)
    bind(root.backend, "backend")
    workloads, policy = tuple(_workloads(root, generator_of)), _policy(root.execution)
    _refuse_impossible(root, engine, workloads)
    return RunSpec(
        experiment=root.name,
        seed=root.seed,
        simulation_seed=root.simulation_seed,
        stop_after=root.stop_after,
        max_time_s=_duration_s(root.batch.max_time, "batch.max_time"),
        budget_s=_duration_s(root.budget.qpu, "budget.qpu"),
        workloads=workloads,
        engine=engine,
        policy=policy,
        select_backend=partial(_select_backend, root.backend, policy.outage_s),
        partition=PartitionLimits(**root.partition.model_dump()),
        limits={name: Limit(**limit) for name, limit in root.limits.model_dump().items()},
        config=config_sections(config_yaml),
        metadata=root.metadata.model_dump(),
        analyses=tuple(analysis_of(*each, "analysis") for each in root.analysis.items()),
        sweep_analyses=tuple(
            analysis_of(*each, "sweep.analysis") for each in root.sweep.analysis.items()
        ),
        sharing=SharingPolicy(
            root.sweep.order, _duration_s(root.sweep.pack, "sweep.pack"), root.sweep.block
        ),
        keeps_raw=root.archive.raw,
        place=json.dumps([root.backend, root.engine], default=str),
    )


def validated(plain: dict[str, Any]) -> RootNode:
    """Check the shape of a config.

    Raises:
        ConfigError: One line for everything that is wrong with it.
    """
    if "experiment" in plain:
        raise ConfigError(f"experiment: unknown key; {messages.PACKAGE_HINT}")
    _refuse_unchosen(plain)
    refuse_nameless(plain)
    return validate(RootNode, plain)


def as_yaml(plain: Mapping[str, Any]) -> str:
    """Return a config as the text to record; `recorded_config.parse` reads it back."""
    import yaml  # type: ignore[import-untyped]
    from omegaconf._utils import get_omega_conf_dumper

    # What `OmegaConf.to_yaml` does, which would resolve all once more.
    text: str = yaml.dump(
        plain, Dumper=get_omega_conf_dumper(), sort_keys=False, allow_unicode=True
    )
    if not any(separator in text for separator in "\x85\u2028\u2029"):
        return text
    # PyYAML writes these as they are, and reads them as line breaks.
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=False))


def _plain(config: DictConfig) -> dict[str, Any]:
    """Return the config without Hydra's own node, as plain values."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    keys, plain = [str(key) for key in config if key != "hydra"], {}
    try:
        for key in keys:
            plain[key] = config[key]
            if OmegaConf.is_config(plain[key]):
                plain[key] = OmegaConf.to_container(plain[key], resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        missing = set[str]()
        with suppress(OmegaConfBaseException):
            missing = OmegaConf.missing_keys(OmegaConf.masked_copy(config, keys))
        raise ConfigError(
            messages.missing(*sorted(missing)) if missing else messages.interpolation_message(error)
        ) from None
    return plain


def _refuse_unchosen(plain: dict[str, Any]) -> None:
    """Refuse keys of circuits or of a primitive that was not chosen, as of a misspelt workload."""
    workloads = plain.get("workloads")
    named = workloads if isinstance(workloads, dict) else {}
    places = {"": plain, **{f"workloads.{name}.": node for name, node in named.items()}}
    for prefix, place in places.items():
        for part, key in (("circuits", "_target_"), ("primitive", "kind")):
            node = place.get(part) if isinstance(place, dict) else None
            if isinstance(node, dict) and node and key not in node:
                listed = f"; the workloads are: {', '.join(map(str, named))}" if named else ""
                raise ConfigError(messages.nothing_chosen(f"{prefix}{part}", node) + listed)


def _engine(node: Mapping[str, Any]) -> Engine:
    engine = build(node, "engine")
    if not isinstance(engine, Engine):
        raise ConfigError(
            f"engine._target_: {node['_target_']} is no engine; it must have the members of "
            f"qexp.core.protocols.Engine"
        )
    return engine


def _select_backend(node: Mapping[str, Any], outage_s: float, pinned: str | None) -> BackendV2:
    return build(node, "backend", {"pinned": pinned, "outage_s": outage_s})


def _generate(
    bound: Callable[..., Iterable[Any]], takes: Iterable[str], sequence: np.random.SeedSequence
) -> Iterable[Any]:
    supplied: dict[str, Any] = {"seed_sequence": sequence}
    if "rng" in takes:
        import numpy as np

        supplied["rng"] = np.random.default_rng(sequence)
    return bound(**{name: supplied[name] for name in takes})


def _policy(node: ExecutionNode) -> ExecutionPolicy:
    outage_s = _duration_s(node.outage, "execution.outage")
    assert outage_s is not None
    return ExecutionPolicy(
        **node.model_dump(exclude={"deadline", "outage"}),
        deadline_s=_duration_s(node.deadline, "execution.deadline"),
        outage_s=outage_s,
    )


def _duration_s(value: str | int | None, key: str) -> int | None:
    try:
        return parse_duration_s(value)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def _workloads(root: RootNode, generator_of: GeneratorOf) -> Iterable[WorkloadSpec]:
    """Yield each workload, with the top level filled in."""
    nodes = root.workloads or {"main": WorkloadNode()}
    _refuse_unused(root, nodes)
    for name, node in nodes.items():
        prefix = f"workloads.{name}." if root.workloads else ""
        circuits = node.circuits or root.circuits
        primitive = node.primitive or root.primitive
        if circuits is None or primitive is None:
            part = "circuits" if circuits is None else "primitive"
            raise ConfigError(
                f"{prefix}{part}: nothing is declared to run; choose an experiment "
                f"(experiment=random_sampling) or a choice ({part}=...); "
                f"'python -m qexp --help' lists them"
            )
        yield WorkloadSpec(
            name=name,
            generate=generator_of(circuits, f"{prefix}circuits"),
            primitive=_primitive(primitive, f"{prefix}primitive"),
            transpile=_transpile(node.transpile or root.transpile or TranspileNode()),
            num_circuits=circuits.get("num_circuits"),
            circuits=repr(circuits),
        )


def _refuse_unused(root: RootNode, nodes: Mapping[str, WorkloadNode]) -> None:
    """Refuse a part of the top level that every workload replaces by its own."""
    for part, unset in (("circuits", None), ("primitive", None), ("transpile", TranspileNode())):
        is_unused = all(getattr(node, part) is not None for node in nodes.values())
        if is_unused and getattr(root, part) not in (None, unset):
            names = ", ".join(f"workloads.{name}.{part}" for name in nodes)
            raise ConfigError(
                f"{part}: would have no effect, because every workload declares its own; "
                f"set {names} instead"
            )


def _transpile(node: TranspileNode) -> TranspileSpec:
    layout = node.initial_layout
    return TranspileSpec(
        **node.model_dump(exclude={"initial_layout"}),
        initial_layout=tuple(layout) if layout is not None else None,
    )


def _primitive(node: PrimitiveNode, path: str) -> PrimitiveSpec:
    """Settle shots or precision, which may be declared here or among IBM's options."""
    check_options(node.kind, node.implementation, node.options, f"{path}.options")
    is_sampler = node.kind == "sampler"
    taken, other = ("shots", "precision") if is_sampler else ("precision", "shots")
    value, declared = getattr(node, taken), node.options.get(f"default_{taken}")
    if getattr(node, other) is not None:
        instead = "a sampler takes shots" if is_sampler else "an estimator takes a precision"
        scale = "" if is_sampler else f" (4096 shots give {DEFAULT_PRECISION})"
        raise ConfigError(
            f"{path}.{other}: got {getattr(node, other)}, but {instead}; set {path}.{taken} "
            f"instead{scale}"
        )
    if value is not None and declared is not None:
        raise ConfigError(
            f"{path}.{taken}: got {value}, but {path}.options.default_{taken} says {declared}; "
            f"keep one of them (null in the other)"
        )
    value, shots = value or declared, node.options.get("default_shots")
    if is_sampler:
        return _spec(node, value or DEFAULT_SHOTS, None)
    return _spec(node, None, value or (1 / math.sqrt(shots) if shots else DEFAULT_PRECISION))


def _spec(node: PrimitiveNode, shots: int | None, precision: float | None) -> PrimitiveSpec:
    return PrimitiveSpec(node.kind, node.implementation, shots, precision, node.options)


def _refuse_impossible(root: RootNode, engine: Engine, workloads: tuple[WorkloadSpec, ...]) -> None:
    """Refuse combinations that the engine cannot run, or would run without an effect."""
    for workload in workloads:
        ignored = {} if engine.allow_ignored_options else engine.ignored_options(workload.primitive)
        if ignored:
            listed = ", ".join(f"{key}={value}" for key, value in ignored.items())
            is_off = workload.primitive.implementation == "client" and any(
                key.startswith(("resilience.", "twirling.")) for key in ignored
            )
            switch = "switch on what it tunes, as by resilience_level, " if is_off else ""
            raise ConfigError(
                f"primitive.options of workload '{workload.name}': the engine '{engine.name}' "
                f"does not honour {listed}; remove it, {switch}choose another "
                f"engine, or set engine.allow_ignored_options=true to run without it"
            )
    kinds = {workload.primitive.kind for workload in workloads}
    if root.engine.get("exact_expectation_values") and "estimator" not in kinds:
        raise ConfigError(
            "engine.exact_expectation_values=true: no workload has an Estimator, so that it would "
            "have no effect; leave it out"
        )
    analysis = (root.sweep.value or "").partition(".")[0]
    if analysis and analysis not in root.analysis:
        raise ConfigError(
            f"sweep.value: got {root.sweep.value}, but no analysis '{analysis}' is declared; "
            f"allowed: those of {', '.join(root.analysis) or 'none'}; or choose analysis={analysis}"
        )
    if root.stop_after == "submit" and not isinstance(engine, RemoteEngine):
        raise ConfigError(
            f"stop_after=submit: the jobs of engine '{engine.name}' run in this process and would "
            f"end with it; choose a backend of IBM's service or leave stop_after out"
        )
