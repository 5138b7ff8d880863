"""OpenQASM 3 of ordinary circuits, written at a tenth of the cost of Qiskit's own exporter.

The exporter is still used, once per process, to find how a gate is called and defined, and whether
a register can have its name. Unlike the exporter's text, this one keeps exact numbers and the
global phase.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

PROLOGUE: Final = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
_UNITS: Final = frozenset({"s", "ms", "us", "ns", "dt"})
EXACT_INTEGERS: Final = 2**53
"""Every integer up to this magnitude is exact as a float64."""


@dataclass
class Program:
    """A program that is being written."""

    declarations: str  # the declarations of the registers
    qubits: list[str]  # reference to each qubit; `clbits` likewise
    clbits: list[str]
    registers: Sequence[str]  # names of the registers
    statements: list[str] = field(default_factory=list)  # in order, each with a newline
    blocks: dict[str, str] = field(default_factory=dict)  # `gate` blocks that they need, by name

    @classmethod
    def of(cls, circuit: QuantumCircuit) -> Program | None:
        """Return a program without instructions; None if only Qiskit can write it.

        Qubits of a circuit with a layout are physical ones: `$0`.
        """
        phase = number(circuit.global_phase)
        clbits = _names(circuit.clbits, circuit.cregs)
        if circuit.layout is None:
            registers, qubits = circuit.qregs, _names(circuit.qubits, circuit.qregs)
        else:
            registers, qubits = [], [f"${index}" for index in range(circuit.num_qubits)]
        if phase is None or clbits is None or qubits is None or circuit.num_identifiers:
            return None
        classical, quantum = (
            tuple((register.name, register.size) for register in each)
            for each in (circuit.cregs, registers)
        )
        text = declarations(classical, quantum)
        if text is None:
            return None
        program = cls(text, qubits, clbits, [name for name, _ in (*classical, *quantum)])
        if circuit.global_phase:
            program.statements.append(f"gphase({phase});\n")
        return program

    def call(self, gate_class: Callable[..., Any], num_params: int) -> str | None:
        """Return the beginning of a call of a standard gate; None if a register has its name."""
        call, blocks = gate_text(gate_class, num_params)
        if any(name in blocks for name in self.registers):
            return None
        self.blocks |= blocks
        return call

    def append(self, operation: Any, qubits: str, clbits: Sequence[int]) -> bool:
        """Append a measurement, a reset, a barrier or a delay; return False for anything else.

        `qubits` are references to its qubits, `clbits` indices of its classical bits, in order.
        """
        from qiskit.circuit import Barrier, Delay, Measure, Reset

        kind = getattr(operation, "base_class", None)
        if kind is Measure:
            text = f"{self.clbits[clbits[0]]} = measure {qubits}"
        elif kind is Reset:
            text = f"reset {qubits}"
        elif kind is Barrier and qubits:
            text = f"barrier {qubits}"
        elif kind is Delay and (duration := _duration(operation.duration, operation.unit)):
            text = f"delay[{duration}] {qubits}"
        else:
            return False
        self.statements.append(f"{text};\n")
        return True

    def text(self, redact: Callable[[str], str]) -> str:
        """Return the text, redacted as a whole only if the name of a register is: that is slow."""
        text = "".join([PROLOGUE, *self.blocks.values(), self.declarations, *self.statements])
        return text if redact(self.declarations) == self.declarations else redact(text)


@cache
def gate_text(gate_class: Callable[..., Any], num_params: int) -> tuple[str, dict[str, str]]:
    """Return the name to call a standard gate by, and the `gate` blocks it needs: name -> block."""
    from qiskit import QuantumCircuit, qasm3

    gate = gate_class(*[0.5] * num_params)
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, circuit.qubits)
    *before, statement = qasm3.dumps(circuit).removeprefix(PROLOGUE).splitlines(keepends=True)
    blocks = {}
    for block in "".join(before[:-1]).split("}\n")[:-1]:
        name = block.removeprefix("gate ").partition(" ")[0].partition("(")[0]
        blocks[name] = block + "}\n"
    return statement.partition(" ")[0].partition("(")[0], blocks


@lru_cache(maxsize=256)
def declarations(
    classical: tuple[tuple[str, int], ...], quantum: tuple[tuple[str, int], ...]
) -> str | None:
    """Return the declarations of registers, given as names and sizes.

    None if OpenQASM 3 cannot have their names.
    """
    from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm3

    text = "".join(f"bit[{size}] {name};\n" for name, size in classical)
    text += "".join(f"qubit[{size}] {name};\n" for name, size in quantum)
    registers = [ClassicalRegister(size, name) for name, size in classical]
    registers += [QuantumRegister(size, name) for name, size in quantum]
    return text if qasm3.dumps(QuantumCircuit(*registers)) == PROLOGUE + text else None


def number(value: Any) -> str | None:
    """Write a number exactly, in terms of pi if that is exact; None if it has no literal."""
    if type(value) is float:
        text = _PI.get(value) or repr(value)
        # Neither "inf" nor "nan".
        return text if text[-1] != "f" and text[-1] != "n" else None
    return str(value) if type(value) is int and abs(value) <= EXACT_INTEGERS else None


def _duration(duration: Any, unit: str) -> str | None:
    text = number(duration)
    if unit not in _UNITS or text is None or duration < 0:
        return None
    return f"{duration!r}{unit}"


def _names(bits: Sequence[Any], registers: Sequence[Any]) -> list[str] | None:
    """Return `register[index]` of every bit; None unless each is in exactly one register."""
    names = {
        bit: f"{register.name}[{index}]"
        for register in registers
        for index, bit in enumerate(register)
    }
    if not len(names) == len(bits) == sum(register.size for register in registers):
        return None
    return [names[bit] for bit in bits]


def _multiples_of_pi() -> dict[float, str]:
    texts: dict[float, str] = {}
    for divisor in (1, 2, 3, 4, 6, 8, 12, 16):
        for factor in range(1, 17):
            times = "pi" if factor == 1 else f"{factor}*pi"
            text = times if divisor == 1 else f"{times}/{divisor}"
            # Evaluated in the order in which a reader of the text does it.
            texts.setdefault(factor * math.pi / divisor, text)
            texts.setdefault(-factor * math.pi / divisor, f"-{text}")
    return texts


_PI: Final = _multiples_of_pi()
