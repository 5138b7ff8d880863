"""The identity of a circuit, and its OpenQASM 3 text, depth and size, from the same pass over it.

The identity is the digest of a listing of the instructions, which is the same in every process.
QPY bytes hold random ids, and Qiskit's OpenQASM 3 exporter writes some gate definitions in an
order that varies with the process, so that neither can be hashed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.expressions import expression_text
from qexp.archive.openqasm3 import EXACT_INTEGERS, Program, number
from qexp.core.jsonable import to_jsonable

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_AUTOMATIC_NAME: Final = re.compile(r"(?<=circuit-)\d+(-\d+)?")
"""In names that Qiskit gives to circuits without one; it counts up in the process."""
_VARIABLES: Final = (
    *("input_vars", "captured_vars", "declared_vars"),
    *("captured_stretches", "declared_stretches"),
)
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


def circuit_sha256(circuit: QuantumCircuit) -> str:
    """Return the SHA-256 of the circuit's `listing`."""
    return _sha256(listing(circuit))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def describe(
    circuit: QuantumCircuit, redact: Callable[[str], str], reading: Reading | None = None
) -> dict[str, Any]:
    """Return `sha256`, `qasm3`, `depth` and `size` of a circuit, as in its row of the archive.

    Qiskit is asked for the OpenQASM 3 text of circuits that hold anything but standard gates with
    bound parameters, measurements, resets, barriers and delays; that costs ten times as much.
    `redact` is applied to the OpenQASM 3 text, which is `""` if it cannot express the circuit.
    """
    read = reading or Reading(circuit)
    return {
        "sha256": _sha256("\n".join(read.lines)),
        "qasm3": read.program.text(redact) if read.program else redact(_qasm3_by_qiskit(circuit)),
        "depth": max(read.levels, default=0) if read.is_sequence else circuit.depth(),
        "size": read.size if read.is_sequence else circuit.size(),
    }


def _qasm3_by_qiskit(circuit: QuantumCircuit) -> str:
    from qiskit import qasm3

    try:
        return qasm3.dumps(circuit)
    except Exception:
        # The exporter raises various errors for boxes, annotations, switch and loose types.
        return ""


def listing(circuit: QuantumCircuit) -> str:
    """Return a text that is equal for equal circuits; see `docs/archive-format.md`.

    The name and metadata of the circuit, names of quantum registers, labels and the layout do not
    count. It has a line of compact JSON for the circuit itself, then one per instruction.
    """
    return "\n".join(map(_compact, _rows(circuit)))


def _rows(circuit: QuantumCircuit) -> list[list[Any]]:
    qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
    clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
    rows = [_instruction(item, qubits, clbits) for item in circuit.data]
    return [_head(circuit, qubits, clbits), *rows]


def _head(
    circuit: QuantumCircuit, qubits: Mapping[Any, int], clbits: Mapping[Any, int]
) -> list[Any]:
    """Return the first row of a listing."""
    variables = {
        kind: [[var.name, str(var.type)] for var in getattr(circuit, f"iter_{kind}")()]
        for kind in _VARIABLES
    }
    return [
        "circuit",
        [circuit.num_qubits, circuit.num_clbits],
        _parameter(circuit.global_phase, clbits),
        [[qubits[bit] for bit in register] for register in circuit.qregs],
        [[register.name, [clbits[bit] for bit in register]] for register in circuit.cregs],
        {kind: declared for kind, declared in variables.items() if declared},
    ]


def _instruction(item: Any, qubits: Mapping[Any, int], clbits: Mapping[Any, int]) -> list[Any]:
    """Return the row of one instruction (`CircuitInstruction`) of a circuit."""
    return [
        *_operation(item.operation, clbits),
        [qubits[bit] for bit in item.qubits],
        [clbits[bit] for bit in item.clbits],
    ]


def _operation(operation: Any, clbits: Mapping[Any, int]) -> list[Any]:
    """Return `[name, parameters, other identifying attributes]`."""
    params = list(getattr(operation, "params", ()))
    more: dict[str, Any] = {}
    if operation.name in ("if_else", "while_loop"):
        more["condition"] = _condition(operation.condition, clbits)
    elif operation.name == "switch_case":
        more["target"] = _parameter(operation.target, clbits)
        more["cases"] = [str(_cases(labels)) for labels, _ in operation.cases_specifier()]
    elif operation.name == "for_loop" and not isinstance(params[0], range):
        params[0] = tuple(map(int, params[0]))
    elif operation.name in ("delay", "box"):
        more = {name: _parameter(getattr(operation, name), clbits) for name in ("duration", "unit")}
        more["annotations"] = to_jsonable([repr(a) for a in getattr(operation, "annotations", ())])
    elif hasattr(operation, "base_op"):
        more["modifiers"] = [repr(_modifier(each)) for each in operation.modifiers]
        more["base"] = _operation(operation.base_op, clbits)
    elif hasattr(operation, "tableau"):
        more["tableau"] = _parameter(operation.tableau, clbits)
    elif _needs_definition(operation):
        more["definition"] = _rows(operation.definition)
    name = _AUTOMATIC_NAME.sub("", operation.name)
    return [name, [_parameter(param, clbits) for param in params], more]


# QPY turns numbers of several kinds into one, and so does the listing.


def _condition(condition: Any, clbits: Mapping[Any, int]) -> Any:
    """Return the condition of a branch or a loop as JSON."""
    from qiskit.circuit import Clbit

    if not isinstance(condition, tuple):
        return _parameter(condition, clbits)
    bits, value = condition
    return _parameter((bits, (bool if isinstance(bits, Clbit) else int)(value)), clbits)


def _cases(labels: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(int(label) if isinstance(label, bool) else label for label in labels)


def _modifier(modifier: Any) -> Any:
    kinds = {"power": float, "num_ctrl_qubits": int, "ctrl_state": int}
    values = {name: kinds[name](value) for name, value in vars(modifier).items()}
    return type(modifier)(**values)


def _needs_definition(operation: Any) -> bool:
    """Return False for standard gates (named) and matrices (whose definition is synthesised)."""
    from qiskit.circuit import ControlFlowOp
    from qiskit.circuit.library import (
        HamiltonianGate,
        LinearFunction,
        PermutationGate,
        UnitaryGate,
    )

    matrices = (UnitaryGate, PermutationGate, LinearFunction, HamiltonianGate)
    return (
        getattr(operation, "_standard_gate", None) is None
        and not isinstance(operation, (ControlFlowOp, *matrices))
        and getattr(operation, "definition", None) is not None
    )


def _parameter(value: Any, clbits: Mapping[Any, int]) -> Any:  # noqa: PLR0911
    """Return a parameter, condition or operand as JSON; numbers exactly."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | complex | np.number):
        return _number(value)

    # Imported after the return for numbers, because the imports cost more than a number.
    from qiskit import QuantumCircuit
    from qiskit.circuit import Clbit, Parameter, ParameterExpression, Register
    from qiskit.circuit.classical.expr import Expr

    if isinstance(value, np.ndarray):
        exact = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        digest = hashlib.sha256(exact.tobytes()).hexdigest()
        return [exact.dtype.str, list(exact.shape), digest]
    if isinstance(value, QuantumCircuit):
        return _rows(value)
    if isinstance(value, Parameter):
        return {"parameter": value.name}
    if isinstance(value, ParameterExpression):
        text = expression_text(value)
        is_name = [parameter.name for parameter in value.parameters] == [text]
        return {"parameter" if is_name else "expression": text}
    if isinstance(value, Clbit):
        return {"clbits": [clbits[value]]}
    if isinstance(value, Register):
        return {"clbits": [clbits[bit] for bit in value]}
    if isinstance(value, Expr):
        return _classical(value, clbits)
    if isinstance(value, tuple | list):
        return [_parameter(item, clbits) for item in value]
    return to_jsonable(value if isinstance(value, range) else repr(value))


def _number(value: Any) -> Any:
    """Return the exact hexadecimal form of a real number, or two of a complex one.

    Qiskit and QPY turn some integers into real numbers, so they have this form too up to 2^53.
    """
    if isinstance(value, complex | np.complexfloating):
        return [float(value.real).hex(), float(value.imag).hex()]
    if isinstance(value, int | np.integer) and abs(int(value)) > EXACT_INTEGERS:
        return int(value)
    return float(value).hex()


def _classical(node: Any, clbits: Mapping[Any, int]) -> list[Any]:
    """Return a classical expression as nested lists: `[class, type, operation, operands]`."""
    operation = getattr(node, "op", None)
    operands = [
        _parameter(getattr(node, name), clbits)
        for name in ("left", "right", "operand", "target", "index", "value")
        if hasattr(node, name)
    ]
    if hasattr(node, "var"):
        operands.append(node.name if node.name is not None else _parameter(node.var, clbits))
    name = None if operation is None else operation.name
    return [type(node).__name__, str(node.type), name, operands]


@dataclass
class _Call:
    """A standard gate on some qubits, and how often it was met."""

    indices: list[int]
    line: str  # in the listing; with parameters, what precedes these
    statement: str  # the same in OpenQASM 3
    line_end: str = ""  # what follows the parameters
    statement_end: str = ""
    number: int = 0


class Reading:
    """One pass over a circuit.

    Attributes:
        lines: The circuit's listing.
        program: OpenQASM 3; None if only Qiskit can write it.
        levels: Depth reached at every qubit, then at every classical bit.
        is_sequence: False with control flow, where `levels`, `size` and `tally` are not right.
    """

    def __init__(self, circuit: QuantumCircuit) -> None:
        self._qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
        self._clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
        self.lines = [_compact(_head(circuit, self._qubits, self._clbits))]
        self.program = Program.of(circuit)
        self.levels = [0] * (len(self._qubits) + len(self._clbits))
        self.is_sequence = True
        self._numbers: dict[float, tuple[str, str]] = {}
        self._expressions: dict[str, str] = {}
        self._calls: defaultdict[str, dict[tuple[Any, ...], _Call]] = defaultdict(dict)
        self._others: Counter[tuple[str, tuple[int, ...]]] = Counter()
        self._directives = 0
        self._run(circuit)

    @property
    def tally(self) -> Counter[tuple[str, tuple[int, ...]]]:
        """(name of an instruction, indices of its qubits) -> how often it acts on these."""
        found = self._others.copy()
        for name, calls in self._calls.items():
            found.update({(name, tuple(each.indices)): each.number for each in calls.values()})
        return found

    @property
    def size(self) -> int:
        """Number of instructions without directives."""
        calls = chain.from_iterable(each.values() for each in self._calls.values())
        return sum(call.number for call in calls) + self._others.total() - self._directives

    def _run(self, circuit: QuantumCircuit) -> None:
        """Visit the instructions: standard gates, the usual case, here; others in `_other`."""
        calls, levels, param = self._calls, self.levels, self._param
        add_line = self.lines.append
        add_statement = (self.program.statements if self.program else []).append
        for item in circuit.data:
            if not item.is_standard_gate():
                self._other(item)
                continue
            on_qubits, qubits = calls[item.name], item.qubits
            call = on_qubits.get(qubits)
            if call is None:
                call = on_qubits[qubits] = self._call(item)
            call.number += 1
            if call.line_end:
                params = item.params
                exact, text = param(params[0]) if len(params) == 1 else self._params(params)
                add_line(call.line + exact + call.line_end)
                add_statement(call.statement + text + call.statement_end)
            else:
                add_line(call.line)
                add_statement(call.statement)
            indices = call.indices
            if len(indices) == 1:
                levels[indices[0]] += 1
            else:
                self._raise_levels(indices, 1)

    def _call(self, item: Any) -> _Call:
        """Return how a standard gate is written on its qubits."""
        call, operation = None, item.operation
        if self.program and item.qubits:
            call = self.program.call(operation.base_class, len(operation.params))
        if call is None:
            self.program = None
        indices, names = self._operands(item.qubits)
        line, end = f"[{_compact(item.name)},[", f"],{{}},{_compact(indices)},[]]"
        if operation.params:
            return _Call(indices, line, f"{call}(", end, f") {names};\n")
        return _Call(indices, line + end, f"{call} {names};\n")

    def _operands(self, qubits: Sequence[Any]) -> tuple[list[int], str]:
        """Return the indices of qubits, and the references to them in the program."""
        indices = [self._qubits[qubit] for qubit in qubits]
        names = self.program.qubits if self.program else None
        return indices, ", ".join([names[index] for index in indices]) if names else ""

    def _params(self, params: Any) -> tuple[str, str]:
        exact, texts = zip(*map(self._param, params), strict=True)
        return ",".join(exact), ", ".join(texts)

    def _param(self, value: Any) -> tuple[str, str]:
        """Return a parameter of a gate as the listing and as the program have it."""
        # Equal values are cached, unless they are written differently: 0.0 and -0.0, 1 and 1.0.
        is_cached = type(value) is float and value != 0.0
        if is_cached and (known := self._numbers.get(value)):
            return known
        if hasattr(value, "parameters"):
            return self._expression(value)
        text = number(value)
        if text is None:
            self.program = None
        exact = f'"{value.hex()}"' if is_cached else _compact(_parameter(value, self._clbits))
        texts = (exact, text or "")
        if is_cached:
            self._numbers[value] = texts
        return texts

    def _expression(self, value: Any) -> tuple[str, str]:
        self.program = None
        text = str(value)
        if text not in self._expressions:
            self._expressions[text] = _compact(_parameter(value, self._clbits))
        return self._expressions[text], ""

    def _other(self, item: Any) -> None:
        from qiskit.circuit import Barrier, ControlFlowOp, Measure, Reset, Store

        operation = item.operation
        indices, names = self._operands(item.qubits)
        bits = [self._clbits[bit] for bit in item.clbits]
        if getattr(operation, "base_class", None) in (Measure, Barrier, Reset):
            self.lines.append(
                f"[{_compact(operation.name)},[],{{}},{_compact(indices)},{_compact(bits)}]"
            )
        else:
            self.lines.append(_compact(_instruction(item, self._qubits, self._clbits)))
        self._others[item.name, tuple(indices)] += 1
        if isinstance(operation, ControlFlowOp | Store):
            self.is_sequence, self.program = False, None
            return
        step = 0 if getattr(operation, "_directive", False) else 1
        self._directives += 1 - step
        self._raise_levels([*indices, *(len(self._qubits) + bit for bit in bits)], step)
        if self.program and not self.program.append(operation, names, bits):
            self.program = None

    def _raise_levels(self, indices: list[int], step: int) -> None:
        levels = self.levels
        level = step + max([levels[index] for index in indices], default=0)
        for index in indices:
            levels[index] = level
