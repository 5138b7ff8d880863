"""The section on the device: its map, and its calibration as the run began."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from qexp.report.figures.coupling_map import Device, Pair, coupling_map
from qexp.report.figures.svg import Drawing
from qexp.report.text import is_finite, microseconds, percent

_MAX_DRAWN = 500
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class DeviceSection:
    """A device and what the circuits use of it.

    Attributes:
        device: The device by its calibration.
        used: Qubits that the circuits act on.
        used_pairs: Pair -> number of gates of the circuits on it.
        map: The coupling map; None where it cannot be drawn.
        calibration: Quantity, least, median and largest value, median over what is used.
    """

    device: Device
    used: Collection[int]
    used_pairs: Mapping[Pair, int]
    map: Drawing | None
    calibration: list[list[str]]


def device_section(
    backend: Mapping[str, Any], used: Collection[int], used_pairs: Mapping[Pair, int]
) -> DeviceSection:
    """Draw a device and sum up its calibration.

    Args:
        backend: `Archive.backend`.
        used: Qubits that the circuits act on.
        used_pairs: Pair -> number of gates of the circuits on it.
    """
    device = read_device(backend)
    drawing = None
    if device.pairs and device.num_qubits <= _MAX_DRAWN:
        label = f"Coupling map of {backend['name']}, {len(used)} qubits used"
        drawing = coupling_map(label, device, used, used_pairs)
    rows = list(_calibration(device, used, used_pairs))
    return DeviceSection(device, used, used_pairs, drawing, rows)


def read_device(backend: Mapping[str, Any]) -> Device:
    """Read the target and the calibration of a backend; values that are not finite are not known.

    Args:
        backend: `Archive.backend`.
    """
    device = Device(int(backend["num_qubits"]))
    for item in (backend.get("target") or {}).get("instructions") or ():
        qubits, error = tuple(item.get("qubits") or ()), _finite(item.get("error"))
        if not qubits or not all(0 <= qubit < device.num_qubits for qubit in qubits):
            continue
        if len(qubits) == 2:
            pair = (min(qubits), max(qubits))
            device.pairs.add(pair)
            if error is not None:
                device.gate[pair] = min(error, device.gate.get(pair, error))
        elif len(qubits) == 1 and error is not None and item.get("name") == "measure":
            device.readout[qubits[0]] = error
        elif len(qubits) == 1 and error is not None and item.get("name") in ("sx", "x"):
            device.single[qubits[0]] = min(error, device.single.get(qubits[0], error))
    for qubit, values in enumerate((backend.get("properties") or {}).get("qubits") or ()):
        for item in values:
            factor, value = _UNITS_S.get(str(item.get("unit"))), _finite(item.get("value"))
            times_s = {"T1": device.t1_s, "T2": device.t2_s}.get(str(item.get("name")))
            if times_s is not None and factor is not None and value is not None:
                times_s[qubit] = value * factor
    return device


def _calibration(
    device: Device, used: Collection[int], used_pairs: Collection[Pair]
) -> Iterator[list[str]]:
    quantities: list[tuple[str, Mapping[Any, float], Collection[Any], Callable[..., str]]] = [
        ("readout error", device.readout, used, percent),
        ("one-qubit gate error", device.single, used, percent),
        ("two-qubit gate error", device.gate, used_pairs, percent),
        ("T1", device.t1_s, used, microseconds),
        ("T2", device.t2_s, used, microseconds),
    ]
    for name, values, marked, show in quantities:
        if values:
            known = values.values()
            chosen = [values[key] for key in marked if key in values]
            middle = show(median(chosen)) if chosen else ""
            yield [name, show(min(known)), show(median(known)), show(max(known)), middle]


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and is_finite(value) else None
