"""Declared options against the types that IBM's option models declare.

Pydantic's lax mode converts where YAML's author made a mistake, and its messages about unions are
a page long; this compares types one to one and says in words what is expected.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal


def mismatches(options: Mapping[str, Any], model: Any, path: str) -> Iterator[str]:
    """Compare declared options with the fields and types that a model declares.

    Args:
        options: The options as declared.
        model: A pydantic model or pydantic dataclass of IBM's.
        path: Dotted path of the options in the config.

    Yields:
        One line per unknown name and per value that is not of the declared type.
    """
    fields = _fields(model)
    for key, value in options.items():
        where = f"{path}.{key}"
        if key not in fields:
            yield _unknown(str(key), sorted(fields), where)
            continue
        nested = _nested_model(fields[key])
        if nested is None:
            if not _fits(value, fields[key]):
                yield f"{where}: {value!r} is not allowed, {_expected(fields[key])}"
        elif isinstance(value, Mapping):
            yield from mismatches(value, nested, where)
        else:
            allowed = ", ".join(sorted(_fields(nested)))
            yield f"{where}: {value!r} is not allowed, it holds the options {allowed}"


def _unknown(key: str, known: list[str], where: str) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" did you mean {close[0]!r}?" if close else ""
    return f"{where}: unknown option,{hint} allowed here: {', '.join(known)}"


def _fields(model: Any) -> dict[str, Any]:
    if hasattr(model, "model_fields"):
        return {name: field.rebuild_annotation() for name, field in model.model_fields.items()}
    hints = typing.get_type_hints(model, include_extras=True)
    names = (field.name for field in dataclasses.fields(model))
    return {name: hints[name] for name in names if not name.startswith("_")}


def _alternatives(hint: Any) -> list[Any]:
    """The members of a union (or the hint alone), without IBM's internal placeholders."""
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
    alternatives = _alternatives(hint)
    if len(alternatives) > 1:
        return any(_fits(value, part) for part in alternatives)
    (hint,) = alternatives
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _fits(value, args[0]) and all(
            test(value, bound) for _, bound, test in _bounds(args[1:]) if value is not None
        )
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    if origin in (list, Sequence) or hint is list:
        return isinstance(value, list | tuple) and all(
            _fits(item, args[0] if args else Any) for item in value
        )
    return _is_plain(value, hint)


def _is_plain(value: Any, hint: Any) -> bool:
    if hint in (int, float):
        wanted = int if hint is int else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool) and math.isfinite(value)
    if hint is dict:
        return isinstance(value, Mapping)
    base = typing.get_origin(hint) or hint or type(None)
    return hint is Any or (isinstance(base, type) and isinstance(value, base))


def _bounds(metadata: tuple[Any, ...]) -> Iterator[tuple[str, Any, Any]]:
    flat = [each for item in metadata for each in getattr(item, "metadata", [item])]
    for item in flat:
        for name, symbol, test in (
            ("ge", ">=", lambda value, bound: value >= bound),
            ("gt", ">", lambda value, bound: value > bound),
            ("le", "<=", lambda value, bound: value <= bound),
            ("lt", "<", lambda value, bound: value < bound),
        ):
            if getattr(item, name, None) is not None:
                yield symbol, getattr(item, name), test


def _expected(hint: Any) -> str:
    described = list(dict.fromkeys(filter(None, map(_describe, _alternatives(hint)))))
    if described in ([], ["null"]):
        return "it takes Python objects, which YAML cannot express: leave it out"
    listed = [f"a list of ({item})" for item in described]
    words = ["a list of these" if item in listed else item for item in described]
    return f"expected {' or '.join(words)}"


def _describe(hint: Any) -> str | None:
    """What YAML can say for `hint`, in words; None for a Python object."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        base = _describe(args[0])
        bounds = [f"{symbol} {bound:g}" for symbol, bound, _ in _bounds(args[1:])]
        return " ".join([base, *bounds]) if base else None
    if origin is Literal:
        choices = ", ".join(repr(choice) for choice in args)
        return f"one of {choices}" if len(args) > 1 else choices
    if origin in (list, Sequence) or hint is list:
        items = [_describe(part) for part in _alternatives(args[0])] if args else ["values"]
        return f"a list of ({' or '.join(filter(None, items))})" if any(items) else None
    names = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "a string",
        dict: "a mapping",
        type(None): "null",
    }
    return names.get(hint)
