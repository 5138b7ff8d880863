"""A circuit as a drawing: wires, gates in layers, folded into lines that fit a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from qexp.report.figures.svg import Drawing, text_width
from qexp.text import shortened

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MAX_QUBITS = 24
MAX_INSTRUCTIONS = 400
MAX_LINES = 5
_LARGEST_DENOMINATOR = 16
_WIRE = 34.0
_BOX = 24.0
_GAP = 8.0
_FOLD = 1080.0
_LINE_GAP = 22.0

_NAMES = {
    "id": "I",
    "sx": "√X",
    "sxdg": "√X†",
    "sdg": "S†",
    "tdg": "T†",
    "u1": "U₁",
    "u2": "U₂",
    "u3": "U₃",
    **{name: name.capitalize() for name in ("rx", "ry", "rz", "rxx", "ryy", "rzz", "rzx")},
    "ecr": "ECR",
    "iswap": "iSWAP",
    "dcx": "DCX",
    "unitary": "U",
    "reset": "|0⟩",
    "if_else": "if",
    "while_loop": "while",
    "for_loop": "for",
    "switch_case": "switch",
    "PauliEvolution": "exp",
}


@dataclass(frozen=True)
class Gate:
    """One instruction as drawn."""

    rows: tuple[int, ...]  # of the qubits it acts on, in the order of its operands
    kind: str  # "box", "x", "dot", "swap", "measure" or "barrier"
    tip: str
    name: str = ""  # text in the box
    values: str = ""  # second line in the box
    controls: tuple[bool, ...] = ()  # True for an open one; they are the first rows
    target: str = ""  # classical bit of a measurement

    @property
    def width(self) -> float:
        """Width of its symbol."""
        if self.kind == "box":
            texts = max(text_width(self.name, 12), text_width(self.values, 8.5))
            numbered = 9.0 if len(self.rows) - len(self.controls) > 1 else 0.0
            return max(_BOX, texts + 9 + numbered)
        if self.kind == "measure":
            return 24.0 + (text_width(self.target, 8.5) + 2 if self.target else 0)
        return 6.0 if self.kind == "barrier" else 18.0


Layer = list[Gate]
"""Gates at the same x."""


def draw_circuit(circuit: QuantumCircuit, label: str) -> tuple[Drawing, str]:
    """Draw a circuit without idle qubits; return the drawing and a note on what it leaves out."""
    gates, wires, notes = _gates(circuit)
    left = max((text_width(wire, 11) for wire in wires), default=0) + 16
    lines = _fold(_layers(gates, len(wires)), _FOLD - left - 10)[:MAX_LINES]
    num_drawn = sum(len(layer) for line in lines for layer in line)
    if num_drawn < len(gates) or len(circuit.data) > MAX_INSTRUCTIONS:
        notes.insert(0, f"the first {num_drawn:,} of {len(circuit.data):,} instructions")
    lengths = [sum(map(_layer_width, line)) for line in lines]
    high = len(wires) * _WIRE + _LINE_GAP
    height = max(1, len(lines)) * high - _LINE_GAP + 8
    draw = Drawing(max(lengths, default=0) + left + 14, height, label, "circuit")
    for number, (line, length) in enumerate(zip(lines, lengths, strict=True)):
        top = number * high + _WIRE / 2 + 2
        for row, wire in enumerate(wires):
            y = top + row * _WIRE
            draw.text(left - 10, y + 4, wire, "wire-name", "end")
            draw.line(left - 4, y, left + length + 6, y, "wire")
        starts = accumulate(map(_layer_width, line), initial=left + 2)
        for start, layer in zip(starts, line, strict=False):
            for gate in layer:
                _draw_gate(draw, gate, start + _layer_width(layer) / 2, top)
    return draw, "; ".join(notes)


def _gates(circuit: QuantumCircuit) -> tuple[list[Gate], list[str], list[str]]:
    """Return the gates, the names of the rows, and notes on what was left out."""
    notes = []
    data = circuit.data[:MAX_INSTRUCTIONS]
    position = {qubit: k for k, qubit in enumerate(circuit.qubits)}
    acting = sorted({position[q] for item in data if item.name != "barrier" for q in item.qubits})
    if len(acting) > MAX_QUBITS:
        notes.append(f"the first {MAX_QUBITS} of {len(acting):,} qubits")
        acting = acting[:MAX_QUBITS]
    row_of = {circuit.qubits[qubit]: row for row, qubit in enumerate(acting)}
    bits = {bit: k for k, bit in enumerate(circuit.clbits)}
    gates = []
    for item in data:
        rows = tuple(row_of[qubit] for qubit in item.qubits if qubit in row_of)
        # A gate drawn in part would look like another gate.
        if rows and (len(rows) == len(item.qubits) or item.name == "barrier"):
            gates.append(_gate(item, rows, [bits[bit] for bit in item.clbits]))
    prefix = "q" if circuit.layout is None else "Q"
    return gates, [f"{prefix}{qubit}" for qubit in acting], notes


def _gate(item: Any, rows: tuple[int, ...], bits: Sequence[int]) -> Gate:
    operation, name = item.operation, item.operation.name
    values = ", ".join(
        angle_text(value) for value in getattr(operation, "params", ())[:3] if _is_number(value)
    )
    tip = f"{name}({values})" if values else name
    if name == "measure":
        return Gate(rows, name, f"measured into bit {bits[0]}", target=str(bits[0]))
    if name in ("barrier", "swap"):
        return Gate(rows, name, tip)
    num_controls = int(getattr(operation, "num_ctrl_qubits", 0) or 0)
    if not 0 < num_controls < len(rows):
        shown = _NAMES.get(name) or shortened(getattr(operation, "label", None) or _title(name), 14)
        return Gate(rows, "box", tip, shown, values)
    state, base = int(operation.ctrl_state), operation.base_gate.name
    kind = {"x": "x", "z": "dot", "swap": "swap"}.get(base, "box")
    shown = _NAMES.get(base) or shortened(_title(base), 14)
    is_open = tuple(not state >> k & 1 for k in range(num_controls))
    return Gate(rows, kind, tip, shown, values, is_open)


def angle_text(value: Any) -> str:
    """Format a parameter: `π/2`, `−3π/4`, `0.79`, or an expression, cut where it is long."""
    if not isinstance(value, int | float):
        return shortened(str(value), 12)
    share = Fraction(value / math.pi).limit_denominator(_LARGEST_DENOMINATOR)
    text = f"{abs(value):.3g}"
    if share and abs(float(share) * math.pi - value) < 1e-9:
        top, bottom = abs(share.numerator), share.denominator
        text = f"{'' if top == 1 else top}π{'' if bottom == 1 else f'/{bottom}'}"
    return f"−{text}" if value < 0 else text


def _title(name: str) -> str:
    return name.upper() if len(name) <= 2 else name


def _is_number(value: Any) -> bool:
    from qiskit.circuit import ParameterExpression

    return isinstance(value, int | float | ParameterExpression)


def _layers(gates: Sequence[Gate], num_rows: int) -> list[Layer]:
    """Put each gate as far left as the rows that it spans allow."""
    layers: list[Layer] = []
    reached = [0] * num_rows
    for gate in gates:
        first, stop = min(gate.rows), max(gate.rows) + 1
        at = max(reached[first:stop])
        if at == len(layers):
            layers.append([])
        layers[at].append(gate)
        reached[first:stop] = [at + 1] * (stop - first)
    return layers


def _layer_width(layer: Layer) -> float:
    return max(gate.width for gate in layer) + _GAP


def _fold(layers: Sequence[Layer], width: float) -> list[list[Layer]]:
    lines: list[list[Layer]] = [[]]
    used = 0.0
    for layer in layers:
        if lines[-1] and used + _layer_width(layer) > width:
            lines.append([])
            used = 0.0
        lines[-1].append(layer)
        used += _layer_width(layer)
    return lines


def _draw_gate(draw: Drawing, gate: Gate, x: float, top: float) -> None:
    y_of = [top + row * _WIRE for row in gate.rows]
    if gate.kind == "barrier":
        for y in y_of:
            draw.line(x, y - _WIRE / 2 + 2, x, y + _WIRE / 2 - 2, "barrier")
        return
    if len(y_of) > 1 and (gate.controls or gate.kind == "swap"):
        draw.line(x, min(y_of), x, max(y_of), "link")
    for y, is_open in zip(y_of, gate.controls, strict=False):
        draw.circle(x, y, 4, "control-open" if is_open else "control", gate.tip)
    targets = y_of[len(gate.controls) :]
    y = targets[0]
    if gate.kind == "dot":
        draw.circle(x, y, 4, "control", gate.tip)
    elif gate.kind == "x":
        draw.circle(x, y, 8, "target", gate.tip)
        draw.line(x - 8, y, x + 8, y, "cross")
        draw.line(x, y - 8, x, y + 8, "cross")
    elif gate.kind == "swap":
        for y in targets:
            draw.line(x - 5, y - 5, x + 5, y + 5, "cross")
            draw.line(x - 5, y + 5, x + 5, y - 5, "cross")
    elif gate.kind == "measure":
        _draw_meter(draw, gate, x - gate.width / 2, y)
    else:
        _draw_box(draw, gate, x, targets)


def _draw_box(draw: Drawing, gate: Gate, x: float, targets: Sequence[float]) -> None:
    low, high = min(targets), max(targets)
    is_numbered = len(targets) > 1
    boxes = [(low, high)]
    if len(targets) == 2 and high - low > _WIRE * 1.5:
        # Wires between the two stay visible.
        draw.line(x, low, x, high, "link")
        boxes = [(y, y) for y in targets]
    left = x - gate.width / 2
    for start, stop in boxes:
        height = stop - start + _BOX
        draw.rect(left, start - _BOX / 2, gate.width, height, "gate", gate.tip, 3)
    if is_numbered:
        for number, y in enumerate(targets):
            draw.text(left + 3, y + 3, str(number), "operand")
    for start, stop in boxes:
        middle, y = x + (4.0 if is_numbered else 0.0), (start + stop) / 2
        draw.text(middle, y - 0.5 if gate.values else y + 4.2, gate.name, "gate-name", "middle")
        if gate.values:
            draw.text(middle, y + 9, gate.values, "gate-value", "middle")


def _draw_meter(draw: Drawing, gate: Gate, left: float, y: float) -> None:
    middle = left + 12
    draw.rect(left, y - 11, 24, 22, "meter", gate.tip, 3)
    draw.arc((middle - 7, y + 5), 7, (middle + 7, y + 5), "meter-line")
    draw.line(middle, y + 5, middle + 5, y - 5, "meter-line")
    draw.text(left + 26, y - 4, gate.target, "bit-name")
