"""One pass over a circuit: its identity, its OpenQASM 3 text, its depth and its size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from qexp.archive.circuit_digest import compact, head, instruction, parameter
from qexp.archive.openqasm3 import Program, number

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


class Description(NamedTuple):
    """Description of a circuit beside its QPY.

    Attributes:
        sha256: Its identity, see `qexp.archive.circuit_digest`.
        qasm3: OpenQASM 3, `""` where it cannot be expressed in it.
        depth: As `QuantumCircuit.depth()`.
        size: As `QuantumCircuit.size()`.
    """

    sha256: str
    qasm3: str
    depth: int
    size: int


def describe(circuit: QuantumCircuit, redact: Callable[[str], str]) -> Description:
    """Describe a circuit.

    Qiskit is asked for the OpenQASM 3 text of circuits that hold anything but standard gates with
    bound parameters, measurements, resets, barriers and delays; that costs ten times as much.

    Args:
        circuit: Any circuit.
        redact: Applied to the OpenQASM 3 text.
    """
    walk = _Walk(circuit)
    walk.run()
    listing = "\n".join(walk.lines).encode("utf-8", "backslashreplace")
    return Description(
        hashlib.sha256(listing).hexdigest(),
        walk.program.text(redact) if walk.program else redact(_by_qiskit(circuit)),
        max(walk.levels, default=0) if walk.is_sequence else circuit.depth(),
        walk.size if walk.is_sequence else circuit.size(),
    )


def _by_qiskit(circuit: QuantumCircuit) -> str:
    from qiskit import qasm3

    try:
        return qasm3.dumps(circuit)
    except Exception:
        # The exporter raises various errors for boxes, annotations, switch and loose types.
        return ""


class _Operands(dict[tuple[Any, ...], tuple[str, str, list[int]]]):
    """Qubits of an instruction -> their indices as JSON, their names, their indices."""

    def __init__(self, indices: Mapping[Any, int], names: list[str]) -> None:
        super().__init__()
        self._indices = indices
        self._names = names

    def __missing__(self, qubits: tuple[Any, ...]) -> tuple[str, str, list[int]]:
        indices = [self._indices[qubit] for qubit in qubits]
        names = ", ".join([self._names[index] for index in indices]) if self._names else ""
        self[qubits] = found = (_json(indices), names, indices)
        return found


def _json(indices: list[int]) -> str:
    return f"[{','.join(map(str, indices))}]"


class _Walk:
    """One pass over a circuit.

    Attributes:
        lines: The circuit's listing.
        program: OpenQASM 3; None where only Qiskit can write it.
        levels: Depth reached at every qubit, then at every classical bit.
        size: Number of instructions without directives.
        is_sequence: True without control flow, where `levels` and `size` are right.
    """

    def __init__(self, circuit: QuantumCircuit) -> None:
        self._circuit = circuit
        self._qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
        self._clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
        self.lines = [compact(head(circuit, self._qubits, self._clbits))]
        self.program = Program.of(circuit)
        self.levels = [0] * (len(self._qubits) + len(self._clbits))
        self.size = 0
        self.is_sequence = True
        self._operands = _Operands(self._qubits, self.program.qubits if self.program else [])
        self._numbers: dict[float, tuple[str, str]] = {}
        self._expressions: dict[str, str] = {}

    def run(self) -> None:
        """Visit the instructions: standard gates here, as most are such, others in `_other`."""
        lines, levels, operands, param = self.lines, self.levels, self._operands, self._param
        statements = self.program.statements if self.program else []
        gates: dict[str, tuple[str, str]] = {}
        for item in self._circuit.data:
            if not item.is_standard_gate():
                self._other(item)
                continue
            name = item.name
            if name not in gates:
                gates[name] = self._gate(item)
            line, call = gates[name]
            indices_json, names, indices = operands[item.qubits]
            if params := item.params:
                exact, text = param(params[0]) if len(params) == 1 else self._params(params)
                lines.append(f"{line}{exact}],{{}},{indices_json},[]]")
                statements.append(f"{call}({text}) {names};\n")
            else:
                lines.append(f"{line}],{{}},{indices_json},[]]")
                statements.append(f"{call} {names};\n")
            self.size += 1
            if len(indices) == 1:
                levels[indices[0]] += 1
            else:
                self._raise_levels(indices, 1)

    def _gate(self, item: Any) -> tuple[str, str]:
        """Return the beginnings of a gate's lines in the listing and in the program."""
        call = None
        if self.program and item.qubits:
            operation = item.operation
            call = self.program.call(operation.base_class, len(operation.params))
        if call is None:
            self.program = None
        return f"[{compact(item.name)},[", call or ""

    def _params(self, params: Any) -> tuple[str, str]:
        exact, texts = zip(*map(self._param, params), strict=True)
        return ",".join(exact), ", ".join(texts)

    def _param(self, value: Any) -> tuple[str, str]:
        """Return a parameter of a gate as the listing and as the program have it."""
        # Zero, -0.0 and integers are equal to numbers that are written in another way.
        is_known_by_value = type(value) is float and value != 0.0
        if hasattr(value, "parameters"):
            return self._expression(value)
        if is_known_by_value and value in self._numbers:
            return self._numbers[value]
        text = number(value)
        if text is None:
            self.program = None
        found = (compact(parameter(value, self._clbits)), text or "")
        if is_known_by_value:
            self._numbers[value] = found
        return found

    def _expression(self, value: Any) -> tuple[str, str]:
        self.program = None
        text = str(value)
        if text not in self._expressions:
            self._expressions[text] = compact(parameter(value, self._clbits))
        return self._expressions[text], ""

    def _other(self, item: Any) -> None:
        from qiskit.circuit import Barrier, ControlFlowOp, Measure, Reset, Store

        operation = item.operation
        indices_json, names, indices = self._operands[item.qubits]
        bits = [self._clbits[bit] for bit in item.clbits]
        if getattr(operation, "base_class", None) in (Measure, Barrier, Reset):
            self.lines.append(f"[{compact(operation.name)},[],{{}},{indices_json},{_json(bits)}]")
        else:
            self.lines.append(compact(instruction(item, self._qubits, self._clbits)))
        if isinstance(operation, ControlFlowOp | Store):
            self.is_sequence, self.program = False, None
            return
        step = 0 if getattr(operation, "_directive", False) else 1
        self.size += step
        self._raise_levels([*indices, *(len(self._qubits) + bit for bit in bits)], step)
        if self.program and not self.program.append(operation, names, bits):
            self.program = None

    def _raise_levels(self, indices: list[int], step: int) -> None:
        levels = self.levels
        level = step + max([levels[index] for index in indices], default=0)
        for index in indices:
            levels[index] = level
