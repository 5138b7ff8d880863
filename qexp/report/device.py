"""The section on the device: its map, and its calibration as the run began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from qexp.report.axes import WIDTH
from qexp.report.figures.coupling import Device, coupling_map, is_out_of_order
from qexp.report.parts import Key, Picture, Table, sign, table
from qexp.report.text import date, is_finite, number, percent, plural, seconds

if TYPE_CHECKING:
    from qexp.archive.read import Archive

_MAX_DRAWN = 500
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class DeviceSection:
    """What is known of the device."""

    summary: str
    pictures: tuple[Picture, ...] = ()
    calibration: Table | None = None
    by_qubit: Table | None = None
    by_pair: Table | None = None


def device_section(
    archive: Archive, used: frozenset[int], used_pairs: Mapping[tuple[int, int], int]
) -> DeviceSection:
    """The section.

    Args:
        archive: The run.
        used: Qubits that the circuits act on.
        used_pairs: Pairs that their gates act on, with how many do.
    """
    backend = archive.backend
    times = _times(backend.get("properties"))
    device = _device(backend, times)
    summary = f"{backend['name']}, {plural(backend['num_qubits'], 'qubit')}"
    summary += f", of which the circuits shown above use {len(used)}." if used else "."
    calibrated = (backend.get("properties") or {}).get("last_update_date")
    if calibrated:
        summary += f" Calibration of {date(str(calibrated))}"
        count = len(archive.snapshots)
        summary += f"; {count} calibrations in the course of the run." if count > 1 else "."
    if not device.pairs or device.num_qubits > _MAX_DRAWN:
        return DeviceSection(f"{summary} It has no coupling map that could be drawn.")
    label = f"Coupling map of {backend['name']}, {len(used)} qubits used"
    key = []
    if used:
        ring = sign(("dot", "used-ring"), ("pip", "unknown"))
        key.append(Key(ring, "used by the circuits"))
    if any(map(is_out_of_order, (*device.gate.values(), *device.readout.values()))):
        key.append(Key(sign(("bar", "out")), "out of order"))
    picture = Picture(
        coupling_map(device, used, used_pairs, label),
        "Coupling map",
        "Qubits by readout error, couplings by gate error; thick where used.",
        "two",
        coupling_map(device, used, used_pairs, label, WIDTH),
        tuple(key),
    )
    return DeviceSection(
        summary,
        (picture,),
        _calibration(device, times, used, used_pairs, backend),
        _by_qubit(device, times, used) if device.readout or device.notes else None,
        _by_pair(device, used_pairs) if device.gate else None,
    )


def _device(backend: Mapping[str, Any], times: Mapping[str, Mapping[int, float]]) -> Device:
    target = backend.get("target") or {}
    readout: dict[int, float] = {}
    gates: dict[tuple[int, int], float] = {}
    pairs: set[tuple[int, int]] = set()
    for item in target.get("instructions") or ():
        qubits = list(item.get("qubits") or ())
        error = _error(item)
        if not all(0 <= qubit < backend["num_qubits"] for qubit in qubits):
            continue
        if len(qubits) == 2:
            pair = (min(qubits), max(qubits))
            pairs.add(pair)
            if error is not None:
                gates[pair] = min(error, gates.get(pair, error))
        elif item.get("name") == "measure" and len(qubits) == 1 and error is not None:
            readout[qubits[0]] = error
    notes = {
        qubit: ", ".join(
            f"{name} {seconds(of[qubit])}" for name, of in times.items() if qubit in of
        )
        for qubit in set[int]().union(*times.values())
    }
    return Device(int(backend["num_qubits"]), tuple(sorted(pairs)), readout, gates, notes)


def _error(instruction: Mapping[str, Any]) -> float | None:
    """The error of an instruction of the target, None where it is no finite number."""
    return _finite(instruction.get("error"))


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and is_finite(value) else None


def _by_qubit(
    device: Device, times: Mapping[str, Mapping[int, float]], used: frozenset[int]
) -> Table:
    rows = []
    for qubit in range(device.num_qubits):
        error = device.readout.get(qubit)
        known = [seconds(of[qubit]) if qubit in of else "" for of in times.values()]
        shown = "" if error is None else percent(error)
        rows.append([qubit, shown, *known, "used" if qubit in used else ""])
    return table("#qubit|#readout error|#T1|#T2|", rows)


def _by_pair(device: Device, used_pairs: Mapping[tuple[int, int], int]) -> Table:
    rows = [
        [f"{a}–{b}", percent(error), f"{used_pairs[a, b]:,}" if (a, b) in used_pairs else ""]
        for (a, b), error in sorted(device.gate.items())
    ]
    return table("pair|#gate error|#gates of the circuits shown", rows)


def _times(properties: Mapping[str, Any] | None) -> dict[str, dict[int, float]]:
    """T1 and T2 of every qubit in seconds, where known."""
    found: dict[str, dict[int, float]] = {"T1": {}, "T2": {}}
    for qubit, values in enumerate((properties or {}).get("qubits") or ()):
        for item in values:
            factor = _UNITS_S.get(str(item.get("unit")))
            value = _finite(item.get("value"))
            if item.get("name") in found and factor and value is not None:
                found[item["name"]][qubit] = value * factor
    return found


def _calibration(
    device: Device,
    times: Mapping[str, Mapping[int, float]],
    used: frozenset[int],
    used_pairs: Mapping[tuple[int, int], int],
    backend: Mapping[str, Any],
) -> Table | None:
    singles: dict[int, list[float]] = defaultdict(list)
    for item in (backend.get("target") or {}).get("instructions") or ():
        error = _error(item)
        if item.get("name") in ("sx", "x") and error is not None and item.get("qubits"):
            singles[item["qubits"][0]].append(error)
    rows: list[list[str]] = []

    def add(name: str, values: Mapping[Any, float], marked: Sequence[Any], show: Any) -> None:
        if not values:
            return
        chosen = [values[key] for key in marked if key in values]
        row = [
            name,
            show(min(values.values())),
            show(median(values.values())),
            show(max(values.values())),
        ]
        rows.append([*row, show(median(chosen)) if chosen else ""])

    qubits = sorted(used)
    add("readout error", device.readout, qubits, percent)
    add("one-qubit gate error", {q: min(e) for q, e in singles.items()}, qubits, percent)
    add("two-qubit gate error", device.gate, sorted(used_pairs), percent)
    for name, values in times.items():
        add(name, values, qubits, lambda value: f"{number(value * 1e6)} µs")
    if not rows:
        return None
    return table("|#least|#median|#largest|#used", rows)
