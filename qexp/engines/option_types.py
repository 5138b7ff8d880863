"""Declared options against the types of IBM's option models.

Pydantic's lax mode would convert mistakes (`"yes"`, `4096.0`), and its messages about unions are a
page long: here each value is validated strictly, and a message names the expected types in words.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

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


def find_mismatches(options: Mapping[str, Any], model: Any, path: str) -> Iterator[str]:
    """Yield one line per unknown name, and per value that is not of the declared type.

    Args:
        options: The options as declared.
        model: A pydantic model or pydantic dataclass of IBM's.
        path: Dotted path of the options in the config.
    """
    fields = _fields(model)
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
            yield from find_mismatches(value, nested, where)
        else:
            allowed = ", ".join(sorted(_fields(nested)))
            yield f"{where}: {value!r} is not allowed, it holds the options {allowed}"


def _fields(model: Any) -> dict[str, Any]:
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
