"""The section on the device: its coupling map, and its calibration as the run began."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qexp.archive.header import qubit_value
from qexp.report.figures.plot import WIDE, WIDE_TEXT
from qexp.report.figures.svg import Drawing, Position
from qexp.report.text import finite, microseconds, percent

NUM_COLOURS = 9
_MARGIN = 20.0
_LEGEND = 56.0
_MOST_HEIGHT = 400.0
_MOST_SPACING = 70.0
_MAX_DRAWN = 500

Pair = tuple[int, int]


@dataclass(frozen=True)
class Device:
    """A device by its calibration; a mapping has the qubits or pairs whose value is known."""

    num_qubits: int
    pairs: set[Pair] = field(default_factory=set)  # coupled qubits, the lower index first
    readout: dict[int, float] = field(default_factory=dict)  # readout error
    single: dict[int, float] = field(default_factory=dict)  # error of the one-qubit gate
    gate: dict[Pair, float] = field(default_factory=dict)  # error of the two-qubit gate
    t1_s: dict[int, float] = field(default_factory=dict)
    t2_s: dict[int, float] = field(default_factory=dict)

    @property
    def is_out_of_order(self) -> bool:
        """True if a qubit or a coupling is out of order."""
        return any(map(is_out_of_order, (*self.gate.values(), *self.readout.values())))

    def describe(self, qubit: int) -> str:
        """Return what is known of a qubit, in one line."""
        quantities = (
            ("readout error", percent(self.readout.get(qubit))),
            ("T1", microseconds(self.t1_s.get(qubit))),
            ("T2", microseconds(self.t2_s.get(qubit))),
        )
        known = [f"{name} {value}" for name, value in quantities if value]
        return ", ".join([f"qubit {qubit}", *known])


def is_out_of_order(error: float) -> bool:
    """Return True for an error as of a coin toss, or of a gate that IBM marks as faulty by 1."""
    return error >= 0.5


def device_section(
    backend: Mapping[str, Any], used: Collection[int], used_pairs: Mapping[Pair, int]
) -> dict[str, Any]:
    """Draw a device and sum up its calibration.

    `backend` is `Archive.backend`; `used_pairs` has the number of gates on each pair of qubits.
    """
    device = _read_device(backend)
    drawing = None
    if device.pairs and device.num_qubits <= _MAX_DRAWN:
        label = f"Coupling map of {backend['name']}, {len(used)} qubits used"
        drawing = coupling_map(label, device, used, used_pairs)
    return {
        "device": device,
        "used": used,
        "used_pairs": used_pairs,
        "map": drawing,
        "calibration": list(_calibration(device, used, used_pairs)),
    }


def _read_device(backend: Mapping[str, Any]) -> Device:
    """Read target and calibration of a backend; values that are not finite are left out."""
    device = Device(int(backend["num_qubits"]))
    for item in (backend.get("target") or {}).get("instructions") or ():
        qubits, error = tuple(item.get("qubits") or ()), finite(item.get("error"))
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
        for name, times_s in (("T1", device.t1_s), ("T2", device.t2_s)):
            if (value := finite(qubit_value(values, name))) is not None:
                times_s[qubit] = value
    return device


def _calibration(
    device: Device, used: Collection[int], used_pairs: Collection[Pair]
) -> Iterator[list[str]]:
    """Format quantity, least, median and largest value, and the median over what is used."""
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


def coupling_map(
    label: str, device: Device, used: Collection[int], used_pairs: Mapping[Pair, int]
) -> Drawing:
    """Draw the graph of a device, with the qubits and pairs that circuits use marked."""
    places = positions(device.num_qubits, device.pairs)
    wide, high = places.max(axis=0)
    spacing = min((WIDE - 2 * _MARGIN) / max(wide, 1), _MOST_HEIGHT / max(high, 1), _MOST_SPACING)
    radius = min(spacing * 0.31, 15.0)
    left = (WIDE - wide * spacing) / 2
    height = high * spacing + 2 * _MARGIN + _LEGEND
    draw = Drawing(WIDE, height, label, "device wide")
    points = [(left + x * spacing, _MARGIN + y * spacing) for x, y in places.tolist()]
    gates, readout = _Colours(device.gate.values()), _Colours(device.readout.values())
    for pair in sorted(device.pairs):
        error, num_gates = device.gate.get(pair), used_pairs.get(pair, 0)
        tip = f"{pair[0]}–{pair[1]}, gate error {percent(error) or 'unknown'}"
        tip += f", used by {num_gates:,} gates" if num_gates else ""
        half = max(1.0, radius * (0.42 if num_gates else 0.17))
        corners = _bar(points[pair[0]], points[pair[1]], half)
        draw.path(corners, f"pair {gates.name(error)}", closed=True, tip=tip)
    size = "big" if radius >= 14 else "mid" if radius >= 9 else "small"
    for qubit, (x, y) in enumerate(points):
        name, tip = readout.name(device.readout.get(qubit)), device.describe(qubit)
        if qubit in used:
            draw.circle(x, y, radius * 1.24, "used-ring", tip)
        draw.circle(x, y, radius, f"qubit {name}", tip)
        if radius >= 5.5:
            draw.text(x, y, str(qubit), f"on-{name} {size}", "middle", tip=tip)
    _draw_legend(draw, readout, "readout error", 10, height - 30)
    _draw_legend(draw, gates, "two-qubit gate error", WIDE / 2 + 10, height - 30)
    return draw


def positions(num_qubits: int, pairs: Collection[Pair]) -> NDArray[np.float64]:
    """Return the places of the qubits on paper; coupled ones are about 1 apart.

    The shape is (num_qubits, 2), x to the right and y downwards, from 0.
    """
    places = _in_rows(num_qubits, pairs)
    if places is None:
        places = _by_distance(num_qubits, pairs)
    return places - places.min(axis=0)


def _in_rows(num_qubits: int, pairs: Collection[Pair]) -> NDArray[np.float64] | None:
    """Place consecutive coupled qubits in a row, each row below a qubit that it is coupled to.

    This draws lines, grids and heavy-hexagonal lattices as IBM numbers them; None for others.
    """
    neighbours: dict[int, list[int]] = {qubit: [] for qubit in range(num_qubits)}
    for a, b in pairs:
        neighbours[a].append(b)
        neighbours[b].append(a)
    places: dict[int, tuple[int, int]] = {}
    start = 0
    while start < num_qubits:
        stop = start + 1
        while stop < num_qubits and stop in neighbours[stop - 1]:
            stop += 1
        above = [(q, n) for q in range(start, stop) for n in neighbours[q] if n in places]
        if start and not above:
            return None
        x, y = 0, 0
        if above:
            qubit, other = above[0]
            x, y = places[other][0] - (qubit - start), places[other][1] + 1
        places |= {q: (x + q - start, y) for q in range(start, stop)}
        start = stop
    lengths = {
        abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) for a, b in pairs
    }
    if len(set(places.values())) < num_qubits or not lengths <= {1}:
        return None
    return np.array([places[q] for q in range(num_qubits)], dtype=np.float64)


def _by_distance(num_qubits: int, pairs: Collection[Pair]) -> NDArray[np.float64]:
    """Place qubits at distances by couplings (Kamada and Kawai), the longer axis horizontal."""
    import rustworkx as rx

    graph = rx.PyGraph()
    graph.add_nodes_from(range(num_qubits))
    graph.add_edges_from_no_data(list(pairs))
    # Started from a circle, the layout would often be folded.
    sprung = rx.spring_layout(graph, num_iter=300, seed=1)
    start = {qubit: (sprung[qubit][0], sprung[qubit][1]) for qubit in range(num_qubits)}
    solved = rx.kamada_kawai_layout(graph, pos=start, max_outer=100 * num_qubits)
    places = np.array([solved[qubit] for qubit in range(num_qubits)])
    places -= places.mean(axis=0)
    _, _, axes = np.linalg.svd(places, full_matrices=False)
    coupled = [places[a] - places[b] for a, b in pairs] or [np.ones(2)]
    return np.asarray(places @ axes.T / np.linalg.norm(coupled, axis=1).mean())


def _bar(start: Position, stop: Position, half: float) -> list[Position]:
    """Return the corners of a bar from place to place, `half` of its thickness to each side."""
    (x1, y1), (x2, y2) = start, stop
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    dx, dy = -(y2 - y1) / length * half, (x2 - x1) / length * half
    return [(x1 + dx, y1 + dy), (x2 + dx, y2 + dy), (x2 - dx, y2 - dy), (x1 - dx, y1 - dy)]


class _Colours:
    """Maps errors to classes `e0` (least) to `e8` on a logarithmic scale; `out` if out of order."""

    def __init__(self, errors: Collection[float]) -> None:
        usable = [error for error in errors if error > 0 and not is_out_of_order(error)]
        self.low, self.high = min(usable, default=1e-3), max(usable, default=1e-1)
        if self.high / self.low < 1.05:
            self.low, self.high = self.low / 1.5, self.high * 1.5

    def name(self, error: float | None) -> str:
        """Return the CSS class of an error."""
        if error is None or math.isnan(error):
            return "unknown"
        if is_out_of_order(error):
            return "out"
        if error <= self.low:
            return "e0"
        share = math.log(error / self.low) / math.log(self.high / self.low)
        return f"e{min(NUM_COLOURS - 1, int(share * NUM_COLOURS))}"


def _draw_legend(draw: Drawing, colours: _Colours, title: str, x: float, y: float) -> None:
    width, step = 200.0, 200.0 / NUM_COLOURS
    draw.text(x, y - 6, title, "tick")
    for k in range(NUM_COLOURS):
        draw.rect(x + k * step, y, step + 0.4, 8, f"e{k}")
    draw.text(x, y + 11 + WIDE_TEXT, percent(colours.low), "tick")
    draw.text(x + width, y + 11 + WIDE_TEXT, percent(colours.high), "tick", "end")
