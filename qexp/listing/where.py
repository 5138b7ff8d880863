"""Conditions on runs: `circuits.depth>=4`, `backend in fake_manila,fake_lima`, `date~2026-11`.

A small language, read here: nothing that is given is executed.
"""

from __future__ import annotations

import difflib
import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qexp.errors import ConfigError
from qexp.listing.entry import LISTED, Entry
from qexp.text import printable

GRAMMAR: Final = (
    "KEY OP VALUE with OP one of == != < <= > >= ~ (contains) in, 'not in' (VALUE,VALUE,...); "
    "joined by &"
)

_CONDITION: Final = re.compile(
    r"\s*(?P<key>[^\s=!<>~&]+)\s*"
    r"(?P<operation>==|!=|<=|>=|<|>|=|~|(?<=\s)not\s+in(?=[\s\[(])|(?<=\s)in(?=[\s\[(]))"
    r"\s*(?P<value>.*?)\s*",
    re.DOTALL,
)
#: Outside of quotes.
_AND: Final = re.compile(r"""\s*&&?\s*(?=(?:[^"']|"[^"]*"|'[^']*')*$)""")
_COMMA: Final = re.compile(r"""\s*,\s*(?=(?:[^"']|"[^"]*"|'[^']*')*$)""")

_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
#: Keys of the config that mean what was found as well: a class of a backend, or none, is declared.
_ALSO: Final = {"backend.name": "backend"}
_LACKS: Final = object()


@dataclass(frozen=True)
class Given:
    """A value of a condition.

    Attributes:
        text: As it was given, without quotes; texts are compared with it.
        parsed: The number, bool or None that it stands for, or the text. What is no text is
            compared with it.
    """

    text: str
    parsed: Any


@dataclass(frozen=True)
class Condition:
    """One comparison.

    Attributes:
        key: A listed field, or the dotted path of a key of the config.
        operation: `"=="`, `"!="`, `"<"`, `"<="`, `">"`, `">="`, `"~"`, `"in"` or `"not in"`.
        values: What is compared with; several for `in`.
    """

    key: str
    operation: str
    values: tuple[Given, ...]

    def holds(self, entry: Entry) -> bool:
        """Whether a run fulfils it; a run that lacks the key does not.

        Of a list any item may fulfil it; for `!=` and `not in` none may be equal.
        """
        found = values_of(entry, self.key)
        if not found:
            return False
        if self.operation in ("!=", "not in"):
            return not any(_equal(one, value) for one in found for value in self.values)
        return any(self._compared(one, value) for one in found for value in self.values)

    def _compared(self, one: Any, value: Given) -> bool:
        if self.operation in ("==", "in"):
            return _equal(one, value)
        if self.operation == "~":
            return value.text.casefold() in _text(one).casefold()
        return _comparable(one, value) and _ORDERS[self.operation](one, _as(one, value))


def parse(expression: str) -> list[Condition]:
    """Read an expression: conditions that all have to hold, joined by `&`.

    Raises:
        ConfigError: It is none.
    """
    return [_condition(part, expression) for part in _AND.split(expression)]


def matching(entries: Sequence[Entry], conditions: Sequence[Condition]) -> list[Entry]:
    """The runs that fulfil all conditions.

    Raises:
        ConfigError: A key is one of no run, or its values cannot be ordered against the one given.
    """
    for condition in conditions:
        require_key(entries, condition.key, "--where")
        _require_order(entries, condition)
    return [entry for entry in entries if all(one.holds(entry) for one in conditions)]


def ordered(entries: Sequence[Entry], key: str, *, is_reversed: bool) -> list[Entry]:
    """Runs by a listed field or a key of the config; those that lack it come last.

    Raises:
        ConfigError: No run has it.
    """
    require_key(entries, key, "--sort")
    ranked = [(values_of(entry, key), entry) for entry in entries]
    known = [(found[0], entry) for found, entry in ranked if found and found[0] is not None]
    lacking = [entry for found, entry in ranked if not found or found[0] is None]
    known.sort(key=lambda pair: _rank(pair[0]), reverse=is_reversed)
    return [entry for _, entry in known] + lacking


def values_of(entry: Entry, key: str) -> list[Any]:
    """What a run has under a key: nothing, a value, or the items of a list.

    A key of `circuits`, `primitive` or `transpile` is looked up in every workload where the config
    has several.
    """
    if key in LISTED:
        value = getattr(entry, key)
        return [] if value is None else _items(value)
    parts = key.split(".")
    found = _items(_at(entry.config, parts))
    if not found:
        workloads = entry.config.get("workloads")
        several = workloads.values() if isinstance(workloads, dict) else ()
        found = [item for one in several for item in _items(_at(one, parts))]
    if key in _ALSO and getattr(entry, _ALSO[key]) is not None:
        found = [*found, getattr(entry, _ALSO[key])]
    return found


def require_key(entries: Sequence[Entry], key: str, option: str) -> None:
    """Refuse a key that no run has; where there are no runs, none is known to be wrong.

    Raises:
        ConfigError: The message names what is close, and what is allowed.
    """
    if key in LISTED or not entries or any(values_of(entry, key) for entry in entries):
        return
    keys = sorted({path for entry in entries for path in _paths(entry.config)})
    close = [path for path in keys if path.endswith(f".{key}")]
    close = close or difflib.get_close_matches(key, [*LISTED, *keys], n=1, cutoff=0.6)
    hint = f"did you mean '{printable(close[0])}'? " if close else ""
    beside = [path for path in keys if path.startswith(key.partition(".")[0] + ".")]
    listed = ", ".join(map(printable, [*LISTED, *beside[:20]]))
    raise ConfigError(
        f"{option}: no run has {printable(key)!r}; {hint}allowed: {listed}, and every key of a "
        f"run's config, such as circuits.depth"
    )


def _condition(text: str, expression: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None or not match["value"]:
        shown = printable(expression)
        raise ConfigError(f"--where {shown!r}: not understood; allowed is {GRAMMAR}")
    operation = " ".join(match["operation"].split())
    value = match["value"]
    if operation in ("in", "not in"):
        inner = value[1:-1] if value[0] + value[-1] in ("[]", "()") else value
        return Condition(match["key"], operation, tuple(map(_value, _COMMA.split(inner))))
    return Condition(match["key"], "==" if operation == "=" else operation, (_value(value),))


def _value(text: str) -> Given:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Given(text[1:-1], text[1:-1])
    return Given(text, _parsed(text))


def _parsed(text: str) -> Any:
    """A number, true, false, null, or the text as it is."""
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _require_order(entries: Sequence[Entry], condition: Condition) -> None:
    if condition.operation not in _ORDERS:
        return
    (value,) = condition.values
    values = (one for entry in entries for one in values_of(entry, condition.key))
    found = [one for one in values if one is not None]
    if found and not any(_comparable(one, value) for one in found):
        example = printable(_text(found[0]))
        raise ConfigError(
            f"--where: {printable(condition.key)} is {example!r}, for example, which is neither "
            f"below nor above {printable(value.text)!r}; compare numbers with numbers"
        )


def _at(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _LACKS
    return value


def _items(value: Any) -> list[Any]:
    if value is _LACKS or isinstance(value, dict):
        return []
    return list(value) if isinstance(value, list) else [value]


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _paths(item, f"{prefix}{key}.")
        if not isinstance(item, dict):
            yield f"{prefix}{key}"


def _as(one: Any, value: Given) -> Any:
    """What a value is compared with: a text with what was given, even if it looks like a number."""
    return value.text if isinstance(one, str) else value.parsed


def _equal(one: Any, value: Given) -> bool:
    other = _as(one, value)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _comparable(one: Any, value: Given) -> bool:
    """Whether one is below or above the other: two texts, or two numbers."""
    if isinstance(one, str):
        return True
    return _is_number(one) and _is_number(value.parsed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank(value: Any) -> tuple[int, Any]:
    """Numbers before texts."""
    if isinstance(value, int | float):
        return 0, value
    return 1, _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
