"""Compare two calibrations: relaxation times, readout errors, gate errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from qexp.archive.schema import qubit_value
from qexp.compare.model import Calibration, Moved, Quantity

#: Name of a property of qubits in `BackendProperties` -> its unit.
_QUBIT_PROPERTIES: Final = {"T1": "s", "T2": "s", "readout_error": "1"}

Values: TypeAlias = dict[tuple[str, str], float]
"""(quantity, qubit or gate) -> value."""


def compare_calibrations(
    a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, *, same_device: bool
) -> Calibration:
    """Compare two calibrations.

    Args:
        a: `BackendProperties.to_dict()` of the first run, or None.
        b: The same of the second run.
        same_device: Whether both are of one device, so that its qubits can be compared.
    """
    values_a, values_b = _values(a), _values(b)
    moved = [
        Moved(*key, _unit(key[0]), value, values_b[key])
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
    if not properties:
        return {}
    found = (*_qubit_values(properties), *_gate_errors(properties))
    return {key: value for key, value in found if math.isfinite(value)}


def _qubit_values(properties: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    for name in _QUBIT_PROPERTIES:
        for index, qubit in enumerate(properties.get("qubits") or ()):
            if isinstance(qubit, list):
                yield (name.replace("_", " "), f"q{index}"), qubit_value(qubit, name)


def _gate_errors(properties: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    for gate in properties.get("gates") or ():
        if isinstance(gate, Mapping):
            qubits = "-".join(map(str, gate.get("qubits") or ()))
            error = qubit_value(list(gate.get("parameters") or ()), "gate_error")
            yield ("gate error", f"{gate.get('gate', '?')} {qubits}"), error


def _unit(quantity: str) -> str:
    return _QUBIT_PROPERTIES.get(quantity, "1")


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
