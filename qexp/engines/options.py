"""Options of a primitive, checked and finalised by IBM's own option models.

The models decide which options exist and which values are in range. Values that they would quietly
convert (`"yes"` to true, `4096.0` to 4096, true to 1) are refused first, by the types that they
declare, because an archived config must say what was run.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from qexp.core.model import Implementation, PrimitiveKind
from qexp.engines.lazy_client import defer_client
from qexp.engines.option_types import find_mismatches
from qexp.errors import ConfigError
from qexp.text import one_line

DEFAULT_SHOTS = 4096
"""Shots where nothing is declared, as in IBM's options."""

MAX_TAGS = 8
"""Tags of one job (IBM's published API schema)."""

MAX_DECLARED_TAGS = 4
"""Tags that a config may declare; the remaining ones name the run."""

MAX_TAG_LENGTH = 86
"""Characters of one tag (IBM's published API schema)."""

_DEPRECATIONS = (
    "The SamplerV2 class is deprecated",
    "The EstimatorV2 class is deprecated",
    "Setting `max_execution_time` via `EnvironmentOptions` is deprecated",
    "Specifying 'measure_noise_learning.shots_per_randomization' as an integer is deprecated",
)


def check_options(
    kind: PrimitiveKind, implementation: Implementation, options: Mapping[str, Any], path: str
) -> None:
    """Check declared options against IBM's models; no import when there are none.

    Args:
        kind: `"sampler"` or `"estimator"`.
        implementation: `"client"` or `"legacy"`.
        options: The options as declared: a nested plain mapping.
        path: Dotted path of the options in the config, for messages.

    Raises:
        ConfigError: An option is unknown, has the wrong type, is out of range, contradicts
            another one, or takes a Python object. One line that names every problem.
    """
    if not options:
        return
    silence_deprecations()
    problems = (
        list(find_mismatches(options, _options_class(kind, implementation), path))
        or list(_range_problems(options, path))
        or list(_model_problems(kind, implementation, options, path))
    )
    if problems:
        raise ConfigError("; ".join(problems))


def build_options(
    kind: PrimitiveKind, implementation: Implementation, options: Mapping[str, Any]
) -> Any:
    """Return declared options as `SamplerOptions` or `EstimatorOptions` of the implementation."""
    silence_deprecations()
    model = _options_class(kind, implementation)
    if implementation == "client":
        return model.model_validate(options)
    from qiskit_ibm_runtime.options.utils import merge_options_v2

    return model(**merge_options_v2(model(), options))


def dump_options(implementation: Implementation, options: Any) -> dict[str, Any]:
    """Return the finalised form of the options that `build_options` returned, JSON-able."""
    if implementation == "legacy":
        return _without_unset(dataclasses.asdict(options))
    from qiskit_ibm_runtime.options_models import SamplerOptions

    kind: PrimitiveKind = "sampler" if isinstance(options, SamplerOptions) else "estimator"
    finalise = getattr(client_module(kind, "finalize_options"), f"finalize_{kind}_options")
    dumped: dict[str, Any] = finalise(options).model_dump(mode="json")
    return dumped


def client_module(kind: PrimitiveKind, name: str) -> Any:
    """Import a module of a client-side primitive, such as `executor_sampler.prepare`."""
    return import_module(f"qiskit_ibm_runtime.executor_{kind}.{name}")


def flatten(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted path and value of every option, in order; lists and empty mappings are values.

    Args:
        options: A nested mapping.
        prefix: Put before each path, such as `"simulator."`.
    """
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def declared_leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the options that are not None, as `flatten` does."""
    return (leaf for leaf in flatten(options, prefix) if leaf[1] is not None)


def silence_deprecations() -> None:
    """Silence the client's warnings about declared choices: legacy primitive, deprecated option.

    Exactly these messages, and for good: `warnings.catch_warnings` would change the filters of
    all threads, and jobs run in one thread while another writes their results.
    """
    for message in _DEPRECATIONS:
        warnings.filterwarnings("ignore", message, DeprecationWarning)


def _options_class(kind: PrimitiveKind, implementation: Implementation) -> Any:
    # A typo must not cost the import of the whole client.
    defer_client()
    name = "options_models" if implementation == "client" else "options"
    module = import_module(f"qiskit_ibm_runtime.{name}")
    return module.SamplerOptions if kind == "sampler" else module.EstimatorOptions


def _without_unset(value: Any) -> Any:
    from qiskit_ibm_runtime.options.utils import UnsetType

    if isinstance(value, dict):
        kept = {
            key: _without_unset(item)
            for key, item in value.items()
            if key != "_VERSION" and not isinstance(item, UnsetType)
        }
        return {key: item for key, item in kept.items() if item != {}}
    if isinstance(value, list | tuple):
        return [_without_unset(item) for item in value]
    return value


def _range_problems(options: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield values that no job can have, although IBM's models leave their range open."""
    for key, value in declared_leaves(options):
        name = key.rpartition(".")[2]
        if name in {"default_shots", "max_execution_time"} and value < 1:
            yield f"{path}.{key}: got {value}; it must be at least 1"
        elif name == "rep_delay" and value < 0:
            yield f"{path}.{key}: got {value}; it must not be negative (seconds)"


def _model_problems(
    kind: PrimitiveKind, implementation: Implementation, options: Mapping[str, Any], path: str
) -> Iterator[str]:
    """Yield the objections of IBM's model, the limits of tags and the client's own checks."""
    from pydantic import ValidationError

    try:
        built = build_options(kind, implementation, options)
    except ValidationError as error:
        yield from _validation_messages(error, options, path)
        return
    tags = (options.get("environment") or {}).get("job_tags") or ()
    if any(not isinstance(tag, str) or not 0 < len(tag) <= MAX_TAG_LENGTH for tag in tags):
        yield (
            f"{path}.environment.job_tags: {list(tags)!r} is not allowed, "
            f"a tag is a string of 1 to {MAX_TAG_LENGTH} characters"
        )
    elif len(tags) > MAX_DECLARED_TAGS:
        yield (
            f"{path}.environment.job_tags: {len(tags)} tags are not allowed, at most "
            f"{MAX_DECLARED_TAGS} (a job has at most {MAX_TAGS}, the others name the run)"
        )
    if implementation == "client":
        yield from (f"{path}: {objection}" for objection in _rehearse(kind, built))


def _validation_messages(error: Any, options: Mapping[str, Any], path: str) -> list[str]:
    """Return one line per problem, without those of IBM's placeholders in unions."""
    lines = []
    for problem in error.errors(include_url=False):
        if (problem.get("ctx") or {}).get("class") in ("Dict", "UnsetType"):
            continue
        where, value = path, options
        for part in problem["loc"]:
            if isinstance(value, Mapping) and part in value:
                where, value = f"{where}.{part}", value[part]
        reason = one_line(problem["msg"].removeprefix("Value error, "))
        lines.append(f"{where}: {value!r} is not allowed, {reason}")
    return list(dict.fromkeys(lines))


def _rehearse(kind: PrimitiveKind, options: Any) -> Iterator[str]:
    """Let the client-side primitive prepare a trivial PUB, and yield the reason if it refuses."""
    from qiskit import QuantumCircuit
    from qiskit_ibm_runtime.exceptions import IBMInputValueError

    trial = options.model_copy(deep=True)
    trial.dynamical_decoupling.enable = False  # needs the backend
    circuit = QuantumCircuit(1, 1)
    if kind == "sampler":
        circuit.measure(0, 0)
    pub = (circuit, None, 1) if kind == "sampler" else (circuit, "Z")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # IBM warns where it would override what was declared.
            warnings.simplefilter("error", UserWarning)
            client_module(kind, "prepare").prepare([pub], trial)
    except (IBMInputValueError, UserWarning) as error:
        reason = one_line(getattr(error, "message", error))
        if "layer_noise_model" in reason:
            reason += (
                " YAML cannot express one: use primitive.implementation=legacy, which learns it."
            )
        yield reason
