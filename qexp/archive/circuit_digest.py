"""The identity of a circuit: a listing of its instructions that is the same in every process.

QPY bytes hold random ids, and Qiskit's OpenQASM 3 exporter writes some gate definitions in an
order that varies with the process, so that neither can be hashed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.core.jsonable import to_jsonable

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_AUTOMATIC_NAME: Final = re.compile(r"(?<=circuit-)\d+(-\d+)?")
"""In names that Qiskit gives to circuits without one; it counts up in the process."""
_VARIABLES: Final = (
    *("input_vars", "captured_vars", "declared_vars"),
    *("captured_stretches", "declared_stretches"),
)
_DECIMAL: Final = r"\d[\d.]*(?:e[+-]?\d+)?"
_LINEAR: Final = re.compile(rf"(?:(-?{_DECIMAL}) \+ )?(?:\((-{_DECIMAL})\)\*|({_DECIMAL})\*|-)?")
_MAX_ROUNDS: Final = 5
_EXACT_INTEGERS: Final = 2**53
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


def circuit_sha256(circuit: QuantumCircuit) -> str:
    """Return the SHA-256 of the circuit's `listing`."""
    return hashlib.sha256(listing(circuit).encode("utf-8", "backslashreplace")).hexdigest()


def listing(circuit: QuantumCircuit) -> str:
    """Return a text that is equal for equal circuits; see `docs/archive-format.md`.

    The name and metadata of the circuit, names of quantum registers, labels and the layout do not
    count.

    Args:
        circuit: Any circuit; parameters, control flow and gates of the user's own included.

    Returns:
        One line of compact JSON per instruction, after one line for the circuit itself.
    """
    return "\n".join(map(compact, _rows(circuit)))


def compact(row: Any) -> str:
    """Return a row of a listing, or a part of one, as a line."""
    return _COMPACT.encode(row)


def _rows(circuit: QuantumCircuit) -> list[list[Any]]:
    qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
    clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
    rows = [instruction(item, qubits, clbits) for item in circuit.data]
    return [head(circuit, qubits, clbits), *rows]


def head(
    circuit: QuantumCircuit, qubits: Mapping[Any, int], clbits: Mapping[Any, int]
) -> list[Any]:
    """Return the first row of a listing.

    Args:
        circuit: The circuit.
        qubits: Index of each qubit.
        clbits: Index of each classical bit.
    """
    variables = {
        kind: [[var.name, str(var.type)] for var in getattr(circuit, f"iter_{kind}")()]
        for kind in _VARIABLES
    }
    return [
        "circuit",
        [circuit.num_qubits, circuit.num_clbits],
        parameter(circuit.global_phase, clbits),
        [[qubits[bit] for bit in register] for register in circuit.qregs],
        [[register.name, [clbits[bit] for bit in register]] for register in circuit.cregs],
        {kind: found for kind, found in variables.items() if found},
    ]


def instruction(item: Any, qubits: Mapping[Any, int], clbits: Mapping[Any, int]) -> list[Any]:
    """Return the row of one instruction (`CircuitInstruction`) of a circuit."""
    return [
        *_operation(item.operation, clbits),
        [qubits[bit] for bit in item.qubits],
        [clbits[bit] for bit in item.clbits],
    ]


def _operation(operation: Any, clbits: Mapping[Any, int]) -> list[Any]:
    """Return `[name, parameters, what else decides it]`."""
    params = list(getattr(operation, "params", ()))
    more: dict[str, Any] = {}
    if operation.name in ("if_else", "while_loop"):
        more["condition"] = _condition(operation.condition, clbits)
    elif operation.name == "switch_case":
        more["target"] = parameter(operation.target, clbits)
        more["cases"] = [str(_cases(labels)) for labels, _ in operation.cases_specifier()]
    elif operation.name == "for_loop" and not isinstance(params[0], range):
        params[0] = tuple(map(int, params[0]))
    elif operation.name in ("delay", "box"):
        more = {name: parameter(getattr(operation, name), clbits) for name in ("duration", "unit")}
        more["annotations"] = to_jsonable([repr(a) for a in getattr(operation, "annotations", ())])
    elif hasattr(operation, "base_op"):
        more["modifiers"] = [repr(_modifier(each)) for each in operation.modifiers]
        more["base"] = _operation(operation.base_op, clbits)
    elif hasattr(operation, "tableau"):
        more["tableau"] = parameter(operation.tableau, clbits)
    elif _is_defined_by_its_definition(operation):
        more["definition"] = _rows(operation.definition)
    name = _AUTOMATIC_NAME.sub("", operation.name)
    return [name, [parameter(param, clbits) for param in params], more]


# QPY turns numbers of several kinds into one, and so does the listing.


def _condition(condition: Any, clbits: Mapping[Any, int]) -> Any:
    """Return the condition of a branch or a loop as JSON."""
    from qiskit.circuit import Clbit

    if not isinstance(condition, tuple):
        return parameter(condition, clbits)
    bits, value = condition
    return parameter((bits, (bool if isinstance(bits, Clbit) else int)(value)), clbits)


def _cases(labels: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(int(label) if isinstance(label, bool) else label for label in labels)


def _modifier(modifier: Any) -> Any:
    kinds = {"power": float, "num_ctrl_qubits": int, "ctrl_state": int}
    values = {name: kinds[name](value) for name, value in vars(modifier).items()}
    return type(modifier)(**values)


def _is_defined_by_its_definition(operation: Any) -> bool:
    """Return False for standard gates, known by name, and for matrices, whose is synthesised."""
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


def parameter(value: Any, clbits: Mapping[Any, int]) -> Any:  # noqa: PLR0911
    """Return a parameter, condition or operand as JSON; numbers exactly."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | complex | np.number):
        return _number(value)

    # Not for numbers: an import costs more than they do.
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
        text = _expression(value)
        is_name = [parameter.name for parameter in value.parameters] == [text]
        return {"parameter" if is_name else "expression": text}
    if isinstance(value, Clbit):
        return {"clbits": [clbits[value]]}
    if isinstance(value, Register):
        return {"clbits": [clbits[bit] for bit in value]}
    if isinstance(value, Expr):
        return _classical(value, clbits)
    if isinstance(value, tuple | list):
        return [parameter(item, clbits) for item in value]
    return to_jsonable(value if isinstance(value, range) else repr(value))


def _expression(value: Any) -> str:
    """Return the text of an expression of parameters, in the form that it has after QPY.

    `1*a` becomes `a` there, and `-a*b` may become `b*(-a)`.
    """
    from qiskit import QuantumCircuit, qpy

    text = str(value)
    for _ in range(_MAX_ROUNDS):
        if _is_linear(text, value):
            break
        circuit, stream = QuantumCircuit(1), io.BytesIO()
        circuit.rz(value, 0)
        qpy.dump(circuit, stream)
        stream.seek(0)
        (value,) = qpy.load(stream)[0].data[0].params
        text, before = str(value), text
        if text == before:
            break
    return text


def _is_linear(text: str, value: Any) -> bool:
    """Return whether an expression is `offset + factor*name`, which QPY does not change."""
    names = [parameter.name for parameter in getattr(value, "parameters", ())]
    if len(names) != 1 or not text.endswith(names[0]):
        return False
    match = _LINEAR.fullmatch(text.removesuffix(names[0]))
    if match is None:
        return False
    offset, *factors = match.groups()
    return (offset is None or float(offset) != 0) and all(
        factor is None or float(factor) not in (0, 1, -1) for factor in factors
    )


def _number(value: Any) -> Any:
    """Return the exact hexadecimal form of a real number, or two of a complex one.

    Integers too, since Qiskit and QPY turn some into real numbers; as they are above 2^53.
    """
    if isinstance(value, complex | np.complexfloating):
        return [float(value.real).hex(), float(value.imag).hex()]
    if isinstance(value, int | np.integer) and abs(int(value)) > _EXACT_INTEGERS:
        return int(value)
    return float(value).hex()


def _classical(node: Any, clbits: Mapping[Any, int]) -> list[Any]:
    """Return a classical expression as nested lists: `[class, type, operation, operands]`."""
    operation = getattr(node, "op", None)
    operands = [
        parameter(getattr(node, name), clbits)
        for name in ("left", "right", "operand", "target", "index", "value")
        if hasattr(node, name)
    ]
    if hasattr(node, "var"):
        operands.append(node.name if node.name is not None else parameter(node.var, clbits))
    name = None if operation is None else operation.name
    return [type(node).__name__, str(node.type), name, operands]
