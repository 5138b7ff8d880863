"""Conditions on runs: `circuits.depth>=4`, `backend in fake_manila,fake_lima`, `date~2026-11`.

A small language: expressions are parsed, never executed.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from qexp.core.flatten import flatten
from qexp.core.jsonable import as_text
from qexp.errors import ConfigError
from qexp.listing.summary import LISTED, RunEntry
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
_OUTSIDE_QUOTES: Final = r"""(?=(?:[^"']|"[^"]*"|'[^']*')*$)"""
_AND: Final = re.compile(rf"\s*&&?\s*{_OUTSIDE_QUOTES}")
_COMMA: Final = re.compile(rf"\s*,\s*{_OUTSIDE_QUOTES}")
_WORDS: Final = {"true": True, "false": False, "null": None, "none": None}
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Value(NamedTuple):
    """A value of a condition."""

    text: str  # as it was typed, without quotes
    parsed: Any  # the number, bool or None that it stands for, or the text

    def form_for(self, own: Any) -> Any:
        """Return the form to compare with a value of a run: the text if that is one."""
        return self.text if isinstance(own, str) else self.parsed


@dataclass(frozen=True)
class Condition:
    """One comparison."""

    key: str  # a field of `RunEntry`, or the dotted path of a key of the config
    operation: str  # "==", "!=", "<", "<=", ">", ">=", "~", "in" or "not in"
    values: tuple[Value, ...]  # several for `in`

    def holds(self, run: RunEntry) -> bool:
        """Return True if a run fulfils the condition; a run that lacks the key does not.

        One item of a list is enough; for `!=` and `not in` none may be equal.
        """
        pairs = [(own, value) for own in values_of(run, self.key) for value in self.values]
        if self.operation in ("!=", "not in"):
            return bool(pairs) and not any(_is_equal(*pair) for pair in pairs)
        if self.operation in ("==", "in"):
            return any(_is_equal(*pair) for pair in pairs)
        if self.operation == "~":
            return any(value.text.casefold() in as_text(own).casefold() for own, value in pairs)
        is_ordered = _ORDERS[self.operation]
        return any(
            _has_order(own, value) and is_ordered(own, value.form_for(own)) for own, value in pairs
        )


def parse(expression: str) -> list[Condition]:
    """Read conditions that all have to hold, joined by `&`.

    Raises:
        ConfigError: The expression is not understood.
    """
    return [_condition(part, expression) for part in _AND.split(expression)]


def matching(runs: Sequence[RunEntry], conditions: Sequence[Condition]) -> list[RunEntry]:
    """Return the runs that fulfil all conditions.

    Raises:
        ConfigError: No run has a key, or its values cannot be ordered against the value.
    """
    for condition in conditions:
        _require_key(runs, condition.key, "--where")
        _require_order(runs, condition)
    return [run for run in runs if all(one.holds(run) for one in conditions)]


def ordered(runs: Sequence[RunEntry], key: str, *, is_descending: bool) -> list[RunEntry]:
    """Sort runs by a field or a key of the config; those that lack it come last.

    Raises:
        ConfigError: No run has the key.
    """
    _require_key(runs, key, "--sort")
    firsts = [(next(iter(values_of(run, key)), None), run) for run in runs]
    ranked = [(_rank(value), run) for value, run in firsts if value is not None]
    ranked.sort(key=operator.itemgetter(0), reverse=is_descending)
    return [run for _, run in ranked] + [run for value, run in firsts if value is None]


def values_of(run: RunEntry, key: str) -> list[Any]:
    """Return the values that a run has under a key: none, one, or the items of a list.

    A key of `circuits`, `primitive` or `transpile` is looked up in every workload where the config
    has several. `backend.name` is both the declared backend and the one that ran.
    """
    if key in LISTED:
        value = getattr(run, key)
        return [] if value is None else _items(value)
    path = key.split(".")
    values = list(_values_at(run.config, path))
    if not values and isinstance(workloads := run.config.get("workloads"), dict):
        values = [item for one in workloads.values() for item in _values_at(one, path)]
    if key == "backend.name" and run.backend is not None:
        values.append(run.backend)
    return values


def _require_key(runs: Sequence[RunEntry], key: str, option: str) -> None:
    """Refuse a key that no run has; where there are no runs, no key is known to be wrong."""
    if key in LISTED or not runs or any(values_of(run, key) for run in runs):
        return
    keys = sorted({path for run in runs for path in flatten(run.config)})
    close = [path for path in keys if path.endswith(f".{key}")]
    close = close or difflib.get_close_matches(key, [*LISTED, *keys], n=1, cutoff=0.6)
    hint = f"did you mean '{printable(close[0])}'? " if close else ""
    siblings = [path for path in keys if path.startswith(key.partition(".")[0] + ".")]
    listed = ", ".join(map(printable, [*LISTED, *siblings[:20]]))
    raise ConfigError(
        f"{option}: no run has {printable(key)!r}; {hint}allowed: {listed}, and every key of a "
        f"run's config, such as circuits.depth"
    )


def _require_order(runs: Sequence[RunEntry], condition: Condition) -> None:
    if condition.operation not in _ORDERS:
        return
    (value,) = condition.values
    own = [one for run in runs for one in values_of(run, condition.key) if one is not None]
    if own and not any(_has_order(one, value) for one in own):
        example = printable(as_text(own[0]))
        raise ConfigError(
            f"--where: {printable(condition.key)} is {example!r}, for example, which is neither "
            f"below nor above {printable(value.text)!r}; compare numbers with numbers"
        )


def _condition(text: str, expression: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None or not match["value"]:
        raise ConfigError(
            f"--where {printable(expression)!r}: not understood; allowed is {GRAMMAR}"
        )
    key, value = match["key"], match["value"]
    operation = " ".join(match["operation"].split())
    if operation in ("in", "not in"):
        inner = value[1:-1] if value[0] + value[-1] in ("[]", "()") else value
        return Condition(key, operation, tuple(map(_value, _COMMA.split(inner))))
    return Condition(key, "==" if operation == "=" else operation, (_value(value),))


def _value(text: str) -> Value:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Value(text[1:-1], text[1:-1])
    if text.lower() in _WORDS:
        return Value(text, _WORDS[text.lower()])
    for number in (int, float):
        try:
            return Value(text, number(text))
        except ValueError:
            continue
    return Value(text, text)


def _values_at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return
    if not isinstance(value, dict):
        yield from _items(value)


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _is_equal(own: Any, value: Value) -> bool:
    other = value.form_for(own)
    if isinstance(own, bool) or isinstance(other, bool):
        return own is other
    return bool(own == other)


def _has_order(own: Any, value: Value) -> bool:
    """Return True if one can be below or above the other: two texts, or two numbers."""
    return isinstance(own, str) or (_is_number(own) and _is_number(value.parsed))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank(value: Any) -> tuple[int, Any]:
    """Sort numbers before texts."""
    return (0, value) if isinstance(value, int | float) else (1, as_text(value))
