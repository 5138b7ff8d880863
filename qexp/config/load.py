"""The composed config, checked as a whole, becomes a frozen `RunSpec`.

Nothing here asks a service or builds a circuit; Qiskit is imported only to validate primitive
options that the config sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qexp.config import problems, targets
from qexp.config.analyses import declared_analysis, refuse_nameless
from qexp.config.hydra_setup import typed_overrides
from qexp.config.schema import (
    ExecutionNode,
    PrimitiveNode,
    RootNode,
    TranspileNode,
    WorkloadNode,
)
from qexp.config.sources import source_files
from qexp.core.model import PrimitiveSpec
from qexp.core.policy import ExecutionPolicy
from qexp.core.protocols import Engine, RemoteEngine
from qexp.core.spec import (
    AnalysisSpec,
    Limit,
    PartitionLimits,
    RunSpec,
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
"""What both of IBM's Estimators use when nothing is said (`EstimatorOptions.default_precision`)."""


Generator = Callable[[Any], Iterable[Any]]
"""Makes PUB-likes of a workload's `SeedSequence`."""


def load(config: DictConfig) -> RunSpec:
    """Validate a composed config and freeze it.

    Raises:
        ConfigError: One line for everything that is wrong with a section.
    """
    plain, config = _plain(config)
    root = _checked_root(plain)
    spec = freeze(root, as_yaml(config), generator, declared_analysis)
    return replace(spec, overrides=typed_overrides(), sources=source_files(root))


def check(config: DictConfig) -> int:
    """Validate a composed config as `load` does, for a run that begins later.

    Returns:
        Its seed.

    Raises:
        ConfigError: One line for everything that is wrong with a section.
    """
    plain, _ = _plain(config)
    return freeze(_checked_root(plain), "", generator, declared_analysis).seed


def _checked_root(plain: dict[str, Any]) -> RootNode:
    root = validated(plain)
    if root.run_dir is not None and _is_sweep():
        raise ConfigError("run_dir: names one run, which a sweep cannot go on with; leave out -m")
    return root


def freeze(
    root: RootNode,
    config_yaml: str,
    generator_of: Callable[[Mapping[str, Any], str], Generator],
    analysis_of: Callable[[str, Mapping[str, Any]], AnalysisSpec],
) -> RunSpec:
    """Bind every target of a validated config; nothing of it is called but the engine's.

    Args:
        root: The config.
        config_yaml: Its text, for the archive.
        generator_of: Binds the generator that a `circuits` node (and its path) declares.
        analysis_of: Binds the analysis that a name and its node declare.

    Raises:
        ConfigError: One line for what is wrong with a section.
    """
    engine = _engine(root.engine)
    targets.bind(root.backend, "backend")
    workloads = tuple(
        replace(
            _workload(name, generator_of(circuits, f"{path}circuits"), primitive, transpile, path),
            num_circuits=circuits.get("num_circuits"),
        )
        for name, circuits, primitive, transpile, path in _declared_workloads(root)
    )
    _refuse_unhonoured(engine, workloads)
    if root.engine.get("exact_expectation_values") and not any(
        workload.primitive.kind == "estimator" for workload in workloads
    ):
        raise ConfigError(
            "engine.exact_expectation_values=true: no workload has an Estimator, so that it would "
            "have no effect; leave it out"
        )
    if root.stop_after == "submit" and not isinstance(engine, RemoteEngine):
        raise ConfigError(
            f"stop_after=submit: the jobs of engine '{engine.name}' run in this process and would "
            f"end with it; choose a backend of IBM's service or leave stop_after out"
        )
    return RunSpec(
        experiment=root.name,
        seed=root.seed,
        stop_after=root.stop_after,
        max_time_s=_duration_s(root.batch.max_time, "batch.max_time"),
        workloads=workloads,
        engine=engine,
        policy=_policy(root.execution),
        select_backend=partial(_select_backend, root.backend),
        partition=PartitionLimits(**root.partition.model_dump()),
        limits={name: Limit(**limit) for name, limit in root.limits.model_dump().items()},
        config_yaml=config_yaml,
        overrides=(),
        sources=(),
        metadata=root.metadata.model_dump(),
        analyses=tuple(analysis_of(name, node) for name, node in root.analysis.items()),
    )


def _is_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def _select_backend(node: Mapping[str, Any], pinned: str | None) -> BackendV2:
    backend: BackendV2 = targets.build(node, "backend", {"pinned": pinned})
    return backend


def _policy(node: ExecutionNode) -> ExecutionPolicy:
    outage_s = _duration_s(node.outage, "execution.outage")
    assert outage_s is not None
    return ExecutionPolicy(
        **node.model_dump(exclude={"deadline", "outage"}),
        deadline_s=_duration_s(node.deadline, "execution.deadline"),
        outage_s=outage_s,
    )


def _plain(config: DictConfig) -> tuple[dict[str, Any], DictConfig]:
    """The config without Hydra's own node: as plain values, and as it is."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        if "hydra" in config:
            config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        missing = sorted(OmegaConf.missing_keys(config))
        plain = {} if missing else OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(problems.of_interpolation(error)) from None
    if missing:
        raise ConfigError(problems.missing(*missing))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}, config


def as_yaml(config: DictConfig) -> str:
    """A config as the text that is recorded; `qexp.config.recorded.parse` gives it back."""
    import yaml  # type: ignore[import-untyped]
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(config, resolve=True)
    if not any(separator in text for separator in "\x85\u2028\u2029"):
        return text
    # PyYAML writes these as they are, and reads them as line breaks.
    plain = OmegaConf.to_container(config, resolve=True)
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=False))


def validated(plain: dict[str, Any]) -> RootNode:
    """The config's shape, checked.

    Raises:
        ConfigError: One line for everything that is wrong with it.
    """
    from pydantic import ValidationError

    if "experiment" in plain:
        raise ConfigError(f"experiment: unknown key; {problems.PACKAGE_HINT}")
    _refuse_unchosen(plain)
    refuse_nameless(plain)
    try:
        return RootNode.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(problems.of_validation(error, RootNode)) from None


def _refuse_unchosen(plain: dict[str, Any]) -> None:
    """Overrides of circuits or a primitive where none was chosen, a misspelt workload included."""
    workloads = plain.get("workloads")
    named = workloads if isinstance(workloads, dict) else {}
    places = {"": plain, **{f"workloads.{name}.": node for name, node in named.items()}}
    for prefix, place in places.items():
        for part, key in (("circuits", "_target_"), ("primitive", "kind")):
            node = place.get(part) if isinstance(place, dict) else None
            if isinstance(node, dict) and node and key not in node:
                listed = f"; the workloads are: {', '.join(map(str, named))}" if named else ""
                raise ConfigError(problems.nothing_chosen(f"{prefix}{part}", node) + listed)


def _engine(node: Mapping[str, Any]) -> Engine:
    engine = targets.build(node, "engine")
    if not isinstance(engine, Engine):
        raise ConfigError(
            f"engine._target_: {node['_target_']} is no engine; it must have the members of "
            f"qexp.core.protocols.Engine"
        )
    return engine


_Declared = tuple[str, dict[str, Any], PrimitiveNode, TranspileNode, str]


def _declared_workloads(root: RootNode) -> Iterable[_Declared]:
    """Each workload with the top level filled in, and the prefix of its keys."""
    nodes = root.workloads or {"main": WorkloadNode()}
    for part, unset in (("circuits", None), ("primitive", None), ("transpile", TranspileNode())):
        unused = all(getattr(node, part) is not None for node in nodes.values())
        if unused and getattr(root, part) not in (None, unset):
            names = ", ".join(f"workloads.{name}.{part}" for name in nodes)
            raise ConfigError(
                f"{part}: would have no effect, because every workload declares its own; "
                f"set {names} instead"
            )
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
        yield name, circuits, primitive, node.transpile or root.transpile or TranspileNode(), prefix


def _workload(
    name: str,
    generate: Generator,
    primitive: PrimitiveNode,
    transpile: TranspileNode,
    prefix: str,
) -> WorkloadSpec:
    layout = transpile.initial_layout
    return WorkloadSpec(
        name=name,
        generate=generate,
        primitive=_primitive(primitive, f"{prefix}primitive"),
        transpile=TranspileSpec(
            **transpile.model_dump(exclude={"initial_layout"}),
            initial_layout=tuple(layout) if layout is not None else None,
        ),
    )


def generator(node: Mapping[str, Any], path: str) -> Generator:
    """The generator that a `circuits` node declares.

    Raises:
        ConfigError: As `targets.bind`.
    """
    bound = targets.bind(node, path)
    return partial(
        _generate,
        bound,
        takes_sequence=targets.accepts(bound, "seed_sequence"),
        takes_rng=targets.accepts(bound, "rng"),
    )


def _generate(
    bound: Callable[..., Iterable[Any]],
    sequence: np.random.SeedSequence,
    *,
    takes_sequence: bool,
    takes_rng: bool,
) -> Iterable[Any]:
    supplied: dict[str, Any] = {}
    if takes_sequence:
        supplied["seed_sequence"] = sequence
    if takes_rng:
        import numpy as np

        supplied["rng"] = np.random.default_rng(sequence)
    return bound(**supplied)


def _primitive(node: PrimitiveNode, path: str) -> PrimitiveSpec:
    """Settle shots and precision, which may be declared here or among IBM's options."""
    check_options(node.kind, node.implementation, node.options, f"{path}.options")
    shots, precision = node.shots, node.precision
    declared_shots = node.options.get("default_shots")
    declared_precision = node.options.get("default_precision")
    if node.kind == "sampler":
        if precision is not None:
            raise ConfigError(
                f"{path}.precision: got {precision}, but a sampler takes shots; "
                f"set {path}.shots instead"
            )
        _refuse_twice(path, "shots", shots, declared_shots)
        shots = shots or declared_shots or DEFAULT_SHOTS
    else:
        if shots is not None:
            raise ConfigError(
                f"{path}.shots: got {shots}, but an estimator takes a precision; "
                f"set {path}.precision (4096 shots give {DEFAULT_PRECISION})"
            )
        _refuse_twice(path, "precision", precision, declared_precision)
        if precision is None and declared_precision is None and declared_shots:
            precision = 1 / math.sqrt(declared_shots)
        precision = precision or declared_precision or DEFAULT_PRECISION
    return PrimitiveSpec(node.kind, node.implementation, shots, precision, node.options)


def _refuse_twice(path: str, what: str, value: float | None, declared: float | None) -> None:
    if value is not None and declared is not None:
        raise ConfigError(
            f"{path}.{what}: got {value}, but {path}.options.default_{what} says {declared}; "
            f"keep one of them (null in the other)"
        )


def _refuse_unhonoured(engine: Engine, workloads: Iterable[WorkloadSpec]) -> None:
    if engine.allow_ignored_options:
        return
    for workload in workloads:
        ignored = engine.unhonoured(workload.primitive)
        if ignored:
            listed = ", ".join(f"{key}={value}" for key, value in ignored.items())
            raise ConfigError(
                f"primitive.options of workload '{workload.name}': the engine '{engine.name}' "
                f"does not honour {listed}; remove it, choose another engine, or set "
                f"engine.allow_ignored_options=true to run without it"
            )


def _duration_s(value: str | int | None, key: str) -> int | None:
    try:
        return parse_duration_s(value)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
