"""Differences between the configs, the software and the calibrations of two runs."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from qexp.archive.header import qubit_value
from qexp.compare.model import Calibration, Change, Moved, Quantity

_UNITS = {"T1": "s", "T2": "s"}

Values: TypeAlias = dict[tuple[str, str], float]
"""(quantity, qubit or gate) -> value."""


def mapping_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the keys that only one mapping has, or with another value; A's order first."""
    changes = []
    for key in dict.fromkeys((*a, *b)):
        if key not in b:
            changes.append(Change(key, "removed", a[key], None))
        elif key not in a:
            changes.append(Change(key, "added", None, b[key]))
        # True == 1, but they are different values of a config.
        elif a[key] != b[key] or isinstance(a[key], bool) != isinstance(b[key], bool):
            changes.append(Change(key, "changed", a[key], b[key]))
    return tuple(changes)


def software_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the differences in Python, platform, repository and packages.

    Uncommitted changes are described by their number of lines, packages by normalised names.
    """
    names = ("python", "platform", "git_commit", "git_diff")
    facts = mapping_changes(*({name: each.get(name) or "" for name in names} for each in (a, b)))
    packages = (package_versions(each.get("distributions") or ()) for each in (a, b))

    def lines(diff: str) -> str:
        return f"{diff.count(chr(10))} lines" if diff else "none"

    return (
        *(replace(c, a=lines(c.a), b=lines(c.b)) if c.key == "git_diff" else c for c in facts),
        *mapping_changes(*packages),
    )


def package_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the version of each of some packages `name==version`, by normalised name, in order.

    https://packaging.python.org/en/latest/specifications/name-normalization says what that is.
    """
    pairs = (item.partition("==") for item in distributions)
    return dict(
        sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, _, version in pairs)
    )


def compare_calibrations(
    a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, *, same_device: bool
) -> Calibration:
    """Compare two calibrations, `BackendProperties.to_dict()`; qubits only of the same device."""
    values_a, values_b = _values(a), _values(b)
    moved = [
        Moved(*key, _UNITS.get(key[0], "1"), value, values_b[key])
        for key, value in values_a.items()
        if same_device and value != values_b.get(key, value)
    ]
    return Calibration(
        known_a=bool(values_a),
        known_b=bool(values_b),
        date_a=_date(a),
        date_b=_date(b),
        same_device=same_device,
        quantities=tuple(
            _summary(name, values_a, values_b)
            for name in dict.fromkeys(name for name, _ in (*values_a, *values_b))
        ),
        moved=tuple(sorted(moved, key=_size, reverse=True)),
    )


def _values(properties: Mapping[str, Any] | None) -> Values:
    properties = properties or {}
    values = {
        (name.replace("_", " "), f"q{index}"): qubit_value(qubit, name)
        for name in ("T1", "T2", "readout_error")
        for index, qubit in enumerate(properties.get("qubits") or ())
        if isinstance(qubit, list)
    }
    for gate in properties.get("gates") or ():
        if isinstance(gate, Mapping):
            where = f"{gate.get('gate', '?')} {'-'.join(map(str, gate.get('qubits') or ()))}"
            parameters = list(gate.get("parameters") or ())
            values["gate error", where] = qubit_value(parameters, "gate_error")
    return {key: value for key, value in values.items() if math.isfinite(value)}


def _size(moved: Moved) -> float:
    """Return how far the ratio of the values is from 1, infinity where there is no ratio."""
    if moved.a > 0 and moved.b > 0:
        return abs(math.log(moved.b / moved.a))
    return math.inf


def _summary(quantity: str, a: Values, b: Values) -> Quantity:
    of_a, of_b = ({key: v for key, v in x.items() if key[0] == quantity} for x in (a, b))
    common = of_a.keys() & of_b.keys()
    return Quantity(
        quantity=quantity,
        unit=_UNITS.get(quantity, "1"),
        num_a=len(of_a),
        num_b=len(of_b),
        num_common=len(common),
        num_changed=sum(of_a[key] != of_b[key] for key in common),
        median_a=statistics.median(of_a.values()) if of_a else math.nan,
        median_b=statistics.median(of_b.values()) if of_b else math.nan,
    )


def _date(properties: Mapping[str, Any] | None) -> str:
    return str((properties or {}).get("last_update_date") or "")
