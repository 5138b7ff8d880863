"""A circuit as a drawing: wires, gates in layers, folded into lines that fit a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qexp.report.figures.angles import angle
from qexp.report.svg import Drawing, text_width

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MAX_QUBITS = 24
MAX_INSTRUCTIONS = 400
MAX_LINES = 5
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
    "rx": "Rx",
    "ry": "Ry",
    "rz": "Rz",
    "rxx": "Rxx",
    "ryy": "Ryy",
    "rzz": "Rzz",
    "rzx": "Rzx",
    "p": "P",
    "u": "U",
    "r": "R",
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
    """One instruction as drawn.

    Attributes:
        rows: Rows of the qubits it acts on, in the order of its operands.
        controls: How many of the first of them are controls, and for each whether it is open.
        kind: `"box"`, `"x"`, `"dot"`, `"swap"`, `"measure"`, `"barrier"`.
        name: Text in the box.
        values: Second line in the box.
        target: For a measurement the classical bit.
        tip: All of it.
    """

    rows: tuple[int, ...]
    controls: tuple[bool, ...]
    kind: str
    name: str
    values: str
    target: str
    tip: str

    @property
    def span(self) -> tuple[int, int]:
        """Its first and last row."""
        return min(self.rows), max(self.rows)

    @property
    def width(self) -> float:
        """Width of its box."""
        if self.kind in ("x", "dot", "swap", "barrier"):
            return 18.0 if self.kind != "barrier" else 6.0
        if self.kind == "measure":
            return 24.0 + (text_width(self.target, 8.5) + 2 if self.target else 0)
        wide = max(text_width(self.name, 12), text_width(self.values, 8.5))
        numbered = 9.0 if len(self.rows) - len(self.controls) > 1 else 0.0
        return max(_BOX, wide + 9 + numbered)


@dataclass
class _Layer:
    """Gates at the same x."""

    gates: list[Gate] = field(default_factory=list)

    @property
    def width(self) -> float:
        return max(gate.width for gate in self.gates) + _GAP


def draw_circuit(circuit: QuantumCircuit, label: str) -> tuple[Drawing, str]:
    """Draw a circuit; qubits on which nothing acts are left out.

    Args:
        circuit: Any circuit.
        label: What it is, in words.

    Returns:
        The drawing, and what it leaves out, `""` for nothing.
    """
    gates, wires, notes = _gates(circuit)
    layers = _layers(gates, len(wires))
    left = max((text_width(wire, 11) for wire in wires), default=0) + 16
    lines = _lines(layers, _FOLD - left - 10)[:MAX_LINES]
    drawn = sum(len(layer.gates) for line in lines for layer in line)
    if drawn < len(gates) or len(circuit.data) > MAX_INSTRUCTIONS:
        notes.insert(0, f"the first {drawn:,} of {len(circuit.data):,} instructions")
    width = max((sum(layer.width for layer in line) for line in lines), default=0) + left + 14
    high = len(wires) * _WIRE + _LINE_GAP
    draw = Drawing(width, max(1, len(lines)) * high - _LINE_GAP + 8, label, "circuit")
    for number, line in enumerate(lines):
        top = number * high + _WIRE / 2 + 2
        long = sum(layer.width for layer in line)
        for row, wire in enumerate(wires):
            y = top + row * _WIRE
            draw.text(left - 10, y + 4, wire, "wire-name", "end")
            draw.line(left - 4, y, left + long + 6, y, "wire")
        x = left + 2
        for layer in line:
            for gate in layer.gates:
                _draw(draw, gate, x + (layer.width - _GAP) / 2 + _GAP / 2, top)
            x += layer.width
    return draw, "; ".join(notes)


def _gates(circuit: QuantumCircuit) -> tuple[list[Gate], list[str], list[str]]:
    """The gates, the names of the rows, and what was left out."""
    notes = []
    data = circuit.data[:MAX_INSTRUCTIONS]
    position = {qubit: k for k, qubit in enumerate(circuit.qubits)}
    acting = sorted({position[q] for item in data if item.name != "barrier" for q in item.qubits})
    if len(acting) > MAX_QUBITS:
        notes.append(f"the first {MAX_QUBITS} of {len(acting):,} qubits")
        acting = acting[:MAX_QUBITS]
    row_of = {qubit: row for row, qubit in enumerate(acting)}
    bits = {bit: k for k, bit in enumerate(circuit.clbits)}
    gates = []
    for item in data:
        operands = [position[qubit] for qubit in item.qubits]
        rows = tuple(row_of[q] for q in operands if q in row_of)
        # A gate of which a part is not shown would be drawn as another one.
        if rows and (len(rows) == len(operands) or item.name == "barrier"):
            gates.append(_gate(item, rows, [bits[bit] for bit in item.clbits]))
    is_physical = circuit.layout is not None
    wires = [f"Q{qubit}" if is_physical else f"q{qubit}" for qubit in acting]
    return gates, wires, notes


def _gate(item: Any, rows: tuple[int, ...], bits: Sequence[int]) -> Gate:
    operation = item.operation
    name = operation.name
    values = ", ".join(angle(value) for value in operation.params[:3] if _is_number(value))
    tip = f"{name}({values})" if values else name
    if name == "barrier":
        return Gate(rows, (), "barrier", "", "", "", tip)
    if name == "measure":
        return Gate(rows, (), "measure", "", "", str(bits[0]), f"measured into bit {bits[0]}")
    if name == "swap":
        return Gate(rows, (), "swap", "", "", "", tip)
    controls = int(getattr(operation, "num_ctrl_qubits", 0) or 0)
    if not 0 < controls < len(rows):
        shown = _NAMES.get(name) or _cut(getattr(operation, "label", None) or _title(name))
        return Gate(rows, (), "box", shown, values, "", tip)
    state = int(operation.ctrl_state)
    is_open = tuple(not state >> k & 1 for k in range(controls))
    base = operation.base_gate.name
    kind = {"x": "x", "z": "dot", "swap": "swap"}.get(base, "box")
    return Gate(rows, is_open, kind, _NAMES.get(base) or _cut(_title(base)), values, "", tip)


def _title(name: str) -> str:
    return name.upper() if len(name) <= 2 else name


def _cut(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _is_number(value: Any) -> bool:
    from qiskit.circuit import ParameterExpression

    return isinstance(value, int | float | ParameterExpression)


def _layers(gates: Sequence[Gate], num_rows: int) -> list[_Layer]:
    """As far left as the rows that each gate spans allow."""
    layers: list[_Layer] = []
    reached = [0] * num_rows
    for gate in gates:
        first, last = gate.span
        at = max(reached[first : last + 1])
        if at == len(layers):
            layers.append(_Layer())
        layers[at].gates.append(gate)
        reached[first : last + 1] = [at + 1] * (last + 1 - first)
    return layers


def _lines(layers: Sequence[_Layer], width: float) -> list[list[_Layer]]:
    lines: list[list[_Layer]] = [[]]
    used = 0.0
    for layer in layers:
        if lines[-1] and used + layer.width > width:
            lines.append([])
            used = 0.0
        lines[-1].append(layer)
        used += layer.width
    return lines


def _draw(draw: Drawing, gate: Gate, x: float, top: float) -> None:
    first, last = gate.span
    y_of = [top + row * _WIRE for row in gate.rows]
    if gate.kind == "barrier":
        for y in y_of:
            draw.line(x, y - _WIRE / 2 + 2, x, y + _WIRE / 2 - 2, "barrier")
        return
    if last > first and (gate.controls or gate.kind == "swap"):
        draw.line(x, top + first * _WIRE, x, top + last * _WIRE, "link")
    for y, is_open in zip(y_of, gate.controls, strict=False):
        draw.circle(x, y, 4, "control-open" if is_open else "control", gate.tip)
    _draw_targets(draw, gate, x, y_of[len(gate.controls) :])


def _draw_targets(draw: Drawing, gate: Gate, x: float, targets: Sequence[float]) -> None:
    if gate.kind == "dot":
        draw.circle(x, targets[0], 4, "control", gate.tip)
    elif gate.kind == "x":
        y = targets[0]
        draw.circle(x, y, 8, "target", gate.tip)
        draw.line(x - 8, y, x + 8, y, "cross")
        draw.line(x, y - 8, x, y + 8, "cross")
    elif gate.kind == "swap":
        for y in targets:
            draw.line(x - 5, y - 5, x + 5, y + 5, "cross")
            draw.line(x - 5, y + 5, x + 5, y - 5, "cross")
    elif gate.kind == "measure":
        _meter(draw, gate, x, targets[0])
    else:
        _box(draw, gate, x, targets)


def _box(draw: Drawing, gate: Gate, x: float, targets: Sequence[float]) -> None:
    low, high = min(targets), max(targets)
    wide, numbered = gate.width, len(targets) > 1
    if len(targets) == 2 and high - low > _WIRE * 1.5:
        # Wires between the two stay visible.
        draw.line(x, low, x, high, "link")
        for number, y in enumerate(targets):
            draw.rect(x - wide / 2, y - _BOX / 2, wide, _BOX, "gate", gate.tip, 3)
            draw.text(x - wide / 2 + 3, y + 3, str(number), "operand")
            _name(draw, gate, x + 4, y)
        return
    draw.rect(x - wide / 2, low - _BOX / 2, wide, high - low + _BOX, "gate", gate.tip, 3)
    if numbered:
        for number, y in enumerate(targets):
            draw.text(x - wide / 2 + 3, y + 3, str(number), "operand")
    _name(draw, gate, x + (4.0 if numbered else 0.0), (low + high) / 2)


def _name(draw: Drawing, gate: Gate, x: float, y: float) -> None:
    if gate.values:
        draw.text(x, y - 0.5, gate.name, "gate-name", "middle")
        draw.text(x, y + 9, gate.values, "gate-value", "middle")
    else:
        draw.text(x, y + 4.2, gate.name, "gate-name", "middle")


def _meter(draw: Drawing, gate: Gate, x: float, y: float) -> None:
    left = x - gate.width / 2
    middle = left + 12
    draw.rect(left, y - 11, 24, 22, "meter", gate.tip, 3)
    draw.curve(
        f"M{middle - 7:.1f} {y + 5:.1f}A7 7 0 0 1 {middle + 7:.1f} {y + 5:.1f}", "meter-line"
    )
    draw.line(middle, y + 5, middle + 5, y - 5, "meter-line")
    draw.text(left + 26, y - 4, gate.target, "bit-name")
