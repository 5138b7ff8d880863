"""A device: qubits coloured by readout error, couplings by gate error, those used marked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from qexp.report.axes import WIDE
from qexp.report.layout import positions
from qexp.report.svg import Drawing
from qexp.report.text import percent

NUM_COLOURS = 9
_MARGIN = 26.0
_LEGEND = 46.0
_MOST_HEIGHT = 560.0


@dataclass(frozen=True)
class Device:
    """A device by its calibration.

    Attributes:
        num_qubits: Number of qubits.
        pairs: Coupled qubits, the lower index first, each once.
        readout: Qubit -> readout error, where known.
        gate: Pair -> error of its two-qubit gate, where known.
        notes: Qubit -> more that is known of it, in one line.
    """

    num_qubits: int
    pairs: tuple[tuple[int, int], ...]
    readout: Mapping[int, float]
    gate: Mapping[tuple[int, int], float]
    notes: Mapping[int, str]


def is_out_of_order(error: float) -> bool:
    """Whether an error is that of a coin, or of a gate that IBM marks by the error 1."""
    return error >= 0.5


class _Colours:
    """Errors -> classes `e0` (least) to `e8`, on a logarithmic scale; `out` if out of order."""

    def __init__(self, errors: Collection[float]) -> None:
        usable = sorted(e for e in errors if e > 0 and not is_out_of_order(e))
        self.low = usable[0] if usable else 1e-3
        self.high = usable[-1] if usable else 1e-1
        if self.high / self.low < 1.05:
            self.low, self.high = self.low / 1.5, self.high * 1.5

    def name(self, error: float | None) -> str:
        """CSS class of an error."""
        if error is None or math.isnan(error):
            return "unknown"
        if is_out_of_order(error):
            return "out"
        if error <= self.low:
            return "e0"
        share = math.log(error / self.low) / math.log(self.high / self.low)
        return f"e{min(NUM_COLOURS - 1, int(share * NUM_COLOURS))}"


def coupling_map(
    device: Device,
    used: Collection[int],
    used_pairs: Mapping[tuple[int, int], int],
    label: str,
    width: float = WIDE,
) -> Drawing:
    """The device's graph.

    Args:
        device: The device.
        used: Qubits that the circuits act on.
        used_pairs: Pairs that their gates act on, with how many do.
        label: What it shows, in words.
        width: Natural width of the drawing.
    """
    places = positions(device.num_qubits, device.pairs)
    extent = places.max(axis=0)
    scale = min((width - 2 * _MARGIN) / max(extent[0], 1), 96.0 if device.num_qubits <= 8 else 64.0)
    if extent[1] * scale > _MOST_HEIGHT:
        scale = _MOST_HEIGHT / extent[1]
    radius = min(scale * 0.31, 20.0 if device.num_qubits <= 8 else 15.0)
    shift = (width - extent[0] * scale) / 2
    height = extent[1] * scale + 2 * _MARGIN + _LEGEND
    draw = Drawing(width, height, label, "device")
    points = [(shift + x * scale, _MARGIN + y * scale) for x, y in places.tolist()]
    gates, readout = _Colours(device.gate.values()), _Colours(device.readout.values())
    for a, b in device.pairs:
        _coupling(draw, (a, b), points, device.gate.get((a, b)), gates, used_pairs, radius)
    for qubit, (x, y) in enumerate(points):
        error = device.readout.get(qubit)
        name = readout.name(error)
        tip = f"qubit {qubit}" + (f", readout error {percent(error)}" if error is not None else "")
        tip += f", {device.notes[qubit]}" if qubit in device.notes else ""
        if qubit in used:
            draw.circle(x, y, radius + max(1.8, radius * 0.24), "used-ring", tip)
        draw.circle(x, y, radius, f"qubit {name}", tip)
        if radius >= 5.5:
            size = "big" if radius >= 11 else "small"
            draw.text(
                x,
                y + (4 if size == "big" else 2.5),
                str(qubit),
                f"on-{name} {size}",
                "middle",
                tip=tip,
            )
    half = width / 2
    _legend(draw, readout, "readout error", 10, height - 26, half - 30)
    _legend(draw, gates, "two-qubit gate error", half + 10, height - 26, half - 30)
    return draw


def _coupling(
    draw: Drawing,
    pair: tuple[int, int],
    points: Sequence[tuple[float, float]],
    error: float | None,
    colours: _Colours,
    used: Mapping[tuple[int, int], int],
    radius: float,
) -> None:
    (x1, y1), (x2, y2) = points[pair[0]], points[pair[1]]
    tip = f"{pair[0]}–{pair[1]}"
    tip += f", gate error {percent(error)}" if error is not None else ", gate error unknown"
    gates = used.get(pair, 0)
    if gates:
        tip += f", used by {gates:,} gates"
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    half = max(1.2, radius * (0.42 if gates else 0.17))
    dx, dy = -(y2 - y1) / length * half, (x2 - x1) / length * half
    corners = [(x1 + dx, y1 + dy), (x2 + dx, y2 + dy), (x2 - dx, y2 - dy), (x1 - dx, y1 - dy)]
    draw.polygon(corners, f"pair {colours.name(error)}", tip)


def _legend(draw: Drawing, colours: _Colours, title: str, x: float, y: float, width: float) -> None:
    wide = min(width, 220.0)
    draw.text(x, y - 6, title, "tick")
    step = wide / NUM_COLOURS
    for k in range(NUM_COLOURS):
        draw.rect(x + k * step, y, step + 0.4, 8, f"e{k}")
    draw.text(x, y + 21, percent(colours.low), "tick")
    draw.text(x + wide, y + 21, percent(colours.high), "tick", "end")
