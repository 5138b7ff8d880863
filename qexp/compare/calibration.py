"""What moved between two calibrations: relaxation times, readout errors, gate errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from qexp.archive.header import qubit_value
from qexp.compare.model import Calibration, Moved, Quantity

_OF_QUBITS = {"T1": "s", "T2": "s", "readout_error": "1"}

Values: TypeAlias = dict[tuple[str, str], float]
"""(quantity, qubit or gate) -> value."""


def compare_calibrations(
    a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, *, same_device: bool
) -> Calibration:
    """Compare two calibrations.

    Args:
        a: `BackendProperties.to_dict()` of the first run, or None.
        b: The same of the second run.
        same_device: Whether a qubit of one is that of the other.
    """
    of_a, of_b = _values(a), _values(b)
    moved = [
        Moved(*key, _unit(key[0]), of_a[key], of_b[key])
        for key in of_a
        if same_device and key in of_b and of_a[key] != of_b[key]
    ]
    moved.sort(key=_how_far, reverse=True)
    names = dict.fromkeys(name for name, _ in (*of_a, *of_b))
    return Calibration(
        known_a=bool(of_a),
        known_b=bool(of_b),
        date_a=_date(a),
        date_b=_date(b),
        same_device=same_device,
        quantities=tuple(_summary(name, of_a, of_b) for name in names),
        moved=tuple(moved),
    )


def _values(properties: Mapping[str, Any] | None) -> Values:
    if not properties:
        return {}
    found = (*_of_qubits(properties), *_of_gates(properties))
    return {key: value for key, value in found if math.isfinite(value)}


def _of_qubits(properties: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    for name in _OF_QUBITS:
        for index, qubit in enumerate(properties.get("qubits") or ()):
            if isinstance(qubit, list):
                yield (name.replace("_", " "), f"q{index}"), qubit_value(qubit, name)


def _of_gates(properties: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    for gate in properties.get("gates") or ():
        if not isinstance(gate, Mapping):
            continue
        error = qubit_value(list(gate.get("parameters") or ()), "gate_error")
        qubits = "-".join(map(str, gate.get("qubits") or ()))
        yield ("gate error", f"{gate.get('gate', '?')} {qubits}"), error


def _unit(quantity: str) -> str:
    return _OF_QUBITS.get(quantity, "1")


def _how_far(moved: Moved) -> float:
    if moved.a > 0 and moved.b > 0:
        return abs(math.log(moved.b / moved.a))
    return math.inf


def _summary(quantity: str, a: Values, b: Values) -> Quantity:
    of_a, of_b = ({key: v for key, v in x.items() if key[0] == quantity} for x in (a, b))
    common = of_a.keys() & of_b.keys()
    return Quantity(
        quantity=quantity,
        unit=_unit(quantity),
        num_a=len(of_a),
        num_b=len(of_b),
        num_common=len(common),
        num_changed=sum(of_a[key] != of_b[key] for key in common),
        median_a=statistics.median(of_a.values()) if of_a else math.nan,
        median_b=statistics.median(of_b.values()) if of_b else math.nan,
    )


def _date(properties: Mapping[str, Any] | None) -> str:
    return str((properties or {}).get("last_update_date") or "")
