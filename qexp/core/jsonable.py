"""Convert anything that a primitive, a backend or a client returns into plain JSON values."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, Final

import numpy as np

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_MAX_REPR: Final = 2000


class Plain(dict[str, Any]):
    """A JSON object that is in no need of being converted and redacted, see `to_plain`."""


_PLAIN: Final = frozenset({str, int, bool, type(None), Plain})


def to_jsonable(obj: Any) -> Any:
    """Convert `obj` to `None`, `bool`, `int`, finite `float`, `str`, `list` and `dict` of these.

    Never fails. Plain JSON values come back equal. Otherwise: tuples, sets (sorted) and arrays
    become lists; NumPy scalars Python numbers; complex numbers `{"real", "imag"}`; non-finite
    floats `"NaN"`, `"Infinity"`, `"-Infinity"`; datetimes ISO 8601 in UTC (naive ones are taken as
    UTC); timedeltas seconds; enums their value; bytes base64; slices `{"start", "stop", "step"}`;
    dataclasses, pydantic models and IBM's execution spans objects with their fields; keys text.
    Anything else becomes its `repr` without memory addresses.
    """
    return _convert(obj, frozenset())


def dumps(obj: Any, redact: Callable[[str], str] | None = None, *, sort_keys: bool = False) -> str:
    """Return compact, strictly valid JSON of any object, as `to_jsonable` converts it.

    `redact` is applied to every text in it, keys included. Where the text is to be hashed, mappings
    are ordered by key.
    """
    plain = to_jsonable(obj)
    if redact is not None:
        plain = map_text(plain, redact)
    return dumps_plain(plain, sort_keys=sort_keys)


def as_text(value: Any) -> str:
    """Return a text as it is, and anything else as JSON."""
    return value if isinstance(value, str) else dumps(value)


def to_plain(obj: Mapping[str, Any], redact: Callable[[str], str]) -> Plain:
    """Return a mapping as `dumps` writes it, for what is written many times."""
    return Plain(map_text(to_jsonable(obj), redact))


dumps_plain = partial(json.dumps, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""`dumps` for what was read as JSON, or converted by `to_jsonable`."""


def map_text(plain: Any, function: Callable[[str], str]) -> Any:
    """Apply `function` to every text in a plain JSON value, keys included."""
    if isinstance(plain, str):
        return function(plain)
    if isinstance(plain, list):
        return [map_text(item, function) for item in plain]
    if isinstance(plain, dict) and not isinstance(plain, Plain):
        return {function(key): map_text(value, function) for key, value in plain.items()}
    return plain


def _convert(obj: Any, parents: frozenset[int]) -> Any:
    # Most of what there is to convert; no subclass, which may have another value or text.
    kind = type(obj)
    if kind in _PLAIN or (kind is float and math.isfinite(obj)):
        return obj
    is_leaf, value = _leaf(obj)
    if is_leaf:
        return value
    if id(obj) in parents:
        return f"<recursive {type(obj).__name__}>"
    try:
        return _container(obj, parents | {id(obj)})
    except Exception:
        # A third-party object may raise anything while it is read; the record goes on without it.
        return _text(obj)


def _leaf(obj: Any) -> tuple[bool, Any]:  # noqa: PLR0911
    """Return True and the value of an object that holds no others, else False."""
    if isinstance(obj, Enum):
        return _leaf(obj.value)
    if obj is None or isinstance(obj, bool | np.bool_):
        return True, None if obj is None else bool(obj)
    if isinstance(obj, str | PurePath):
        return True, str(obj)
    if isinstance(obj, int | np.integer):
        return True, int(obj)
    if isinstance(obj, float | np.floating):
        return True, _float(float(obj))
    if isinstance(obj, complex | np.complexfloating):
        return True, {"real": _float(float(obj.real)), "imag": _float(float(obj.imag))}
    if isinstance(obj, datetime):
        aware = obj if obj.tzinfo is not None else obj.replace(tzinfo=UTC)
        return True, aware.astimezone(UTC).isoformat()
    if isinstance(obj, date | time):
        return True, obj.isoformat()
    if isinstance(obj, timedelta):
        return True, obj.total_seconds()
    if isinstance(obj, bytes | bytearray | memoryview):
        return True, base64.b64encode(bytes(obj)).decode("ascii")
    if isinstance(obj, type) or (callable(obj) and hasattr(obj, "__qualname__")):
        return True, f"{obj.__module__}.{obj.__qualname__}"
    return False, None


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _container(obj: Any, parents: frozenset[int]) -> Any:  # noqa: PLR0911
    def fields(*names: str) -> dict[str, Any]:
        return {name: _convert(getattr(obj, name), parents) for name in names}

    if isinstance(obj, Enum):
        return _convert(obj.value, parents)
    if isinstance(obj, np.ndarray):
        return _convert(obj.tolist(), parents)
    if isinstance(obj, Mapping):
        return {_key(key): _convert(value, parents) for key, value in obj.items()}
    if isinstance(obj, set | frozenset):
        return sorted((_convert(item, parents) for item in obj), key=json.dumps)
    if isinstance(obj, slice):
        return fields("start", "stop", "step")
    if dataclasses.is_dataclass(obj):
        return fields(*(field.name for field in dataclasses.fields(obj)))
    if callable(getattr(obj, "model_dump", None)):
        return _convert(obj.model_dump(), parents)
    if hasattr(obj, "pub_idxs") and hasattr(obj, "start") and not hasattr(obj, "__iter__"):
        # IBM's `ExecutionSpan`: which part of which PUB was executed between `start` and `stop`.
        slices = _convert(getattr(obj, "_data_slices", {}), parents)
        span = fields("start", "stop", "pub_idxs", "size")
        return {"type": type(obj).__name__, **span, "data_slices": slices}
    if isinstance(obj, Iterable) and hasattr(obj, "__len__"):
        return [_convert(item, parents) for item in obj]
    return _text(obj)


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    is_leaf, value = _leaf(key)
    if isinstance(value, str):
        return value
    return json.dumps(value) if is_leaf else _text(key)


def _text(obj: Any) -> str:
    try:
        text = repr(obj)
    except Exception:
        text = f"<{type(obj).__module__}.{type(obj).__qualname__}>"
    return _ADDRESS.sub("", text)[:_MAX_REPR]
