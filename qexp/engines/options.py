"""Options of a primitive, checked and finalised by IBM's own option models.

The models decide which options exist and which values are in range. Values that they would quietly
convert (`"yes"` to true, `4096.0` to 4096, true to 1) are refused first, by the types that they
declare, because an archived config must say what was run. Messages name the expected types in
words, because pydantic's own about unions are a page long.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

from qexp.core.model import Implementation, PrimitiveKind
from qexp.engines.lazy_client import defer_client
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

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    dict: "a mapping",
    type(None): "null",
}
_FROM_VALIDATORS = {"value_error", "string_pattern_mismatch"}
"""Pydantic's errors that the model as a whole reports later, with IBM's reasons."""


def check_options(
    kind: PrimitiveKind, implementation: Implementation, options: Mapping[str, Any], path: str
) -> None:
    """Check declared options against IBM's models; no import when there are none.

    `path` is that of the options in the config, for messages.

    Raises:
        ConfigError: An option is unknown, has the wrong type, is out of range, contradicts
            another one, or takes a Python object. One line that names every problem.
    """
    if not options:
        return
    silence_deprecations()
    problems = (
        list(_mismatches(options, _options_class(kind, implementation), path))
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
    return finalised(kind, options).model_dump(mode="json")


def finalised(kind: PrimitiveKind, options: Any) -> Any:
    """Return options of a client-side primitive with what its client fills in."""
    return getattr(client_module(kind, "finalize_options"), f"finalize_{kind}_options")(options)


def client_module(kind: PrimitiveKind, name: str) -> Any:
    """Import a module of a client-side primitive, such as `executor_sampler.prepare`."""
    return import_module(f"qiskit_ibm_runtime.executor_{kind}.{name}")


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted paths, as `flatten` yields them, as nested mappings."""
    options: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        node = options
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return options


def flatten(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted path and value of every option, in order; lists and empty mappings are values.

    Each path begins with `prefix`, such as `"simulator."`.
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


def _mismatches(options: Mapping[str, Any], model: Any, path: str) -> Iterator[str]:
    """Yield one line per unknown name, and per value that is not of the declared type.

    `model` is a pydantic model or pydantic dataclass of IBM's.
    """
    fields = _fields_of(model)
    for key, value in options.items():
        where = f"{path}.{key}"
        if key not in fields:
            known = sorted(fields)
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f" did you mean {close[0]!r}?" if close else ""
            yield f"{where}: unknown option,{hint} allowed here: {', '.join(known)}"
            continue
        nested = _nested_model(fields[key])
        if nested is None:
            if not _fits(value, fields[key]):
                yield f"{where}: {value!r} is not allowed, {_expected(fields[key])}"
        elif isinstance(value, Mapping):
            yield from _mismatches(value, nested, where)
        else:
            allowed = ", ".join(sorted(_fields_of(nested)))
            yield f"{where}: {value!r} is not allowed, it holds the options {allowed}"


def _fields_of(model: Any) -> dict[str, Any]:
    if hasattr(model, "model_fields"):
        return {name: field.rebuild_annotation() for name, field in model.model_fields.items()}
    hints = typing.get_type_hints(model, include_extras=True)
    names = (field.name for field in dataclasses.fields(model))
    return {name: hints[name] for name in names if not name.startswith("_")}


def _alternatives(hint: Any) -> list[Any]:
    """Return the members of a union (or the hint alone) without IBM's internal placeholders."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [each for part in typing.get_args(hint) for each in _alternatives(part)]
    if getattr(hint, "__module__", "") == "qiskit_ibm_runtime.options.utils":
        return []
    return [hint]


def _nested_model(hint: Any) -> Any | None:
    from pydantic import BaseModel

    for part in _alternatives(hint):
        if isinstance(part, type) and (
            issubclass(part, BaseModel)
            or (
                hasattr(part, "__pydantic_fields__")
                and part.__module__.startswith("qiskit_ibm_runtime.options.")
            )
        ):
            return part
    return None


def _fits(value: Any, hint: Any) -> bool:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    config = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    try:
        validated = TypeAdapter(hint, config=config).validate_python(value)
    except ValidationError as error:
        return any(each["type"] in _FROM_VALIDATORS for each in error.errors())
    except TypeError:
        # A validator of IBM's needs the model as a whole, and is called again with it.
        return True
    # True equals the literal 1.
    return isinstance(validated, bool) or not isinstance(value, bool)


def _expected(hint: Any) -> str:
    described = list(dict.fromkeys(filter(None, map(_describe, _alternatives(hint)))))
    if described in ([], ["null"]):
        return "it takes Python objects, which YAML cannot express: leave it out"
    listed = [f"a list of ({item})" for item in described]
    words = ["a list of these" if item in listed else item for item in described]
    return f"expected {' or '.join(words)}"


def _describe(hint: Any) -> str | None:
    """Name a type in words; None for a Python object, which YAML cannot express."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        base = _describe(args[0])
        return " ".join([base, *_bounds(args[1:])]) if base else None
    if origin is Literal:
        choices = ", ".join(repr(choice) for choice in args)
        return f"one of {choices}" if len(args) > 1 else choices
    if origin in (list, Sequence) or hint is list:
        items = [_describe(part) for part in _alternatives(args[0])] if args else ["values"]
        return f"a list of ({' or '.join(filter(None, items))})" if any(items) else None
    return _NAMES.get(hint)


def _bounds(metadata: tuple[Any, ...]) -> Iterator[str]:
    for item in metadata:
        for constraint in getattr(item, "metadata", [item]):
            for name, symbol in _BOUNDS.items():
                if getattr(constraint, name, None) is not None:
                    yield f"{symbol} {getattr(constraint, name):g}"


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
