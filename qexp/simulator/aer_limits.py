"""Limits of Aer 0.18 with classical values: most operations are right, some are not.

Found by trying every operation of `qiskit.circuit.classical.expr` on all values of two registers:

- Variables (`QuantumCircuit.add_var`, `add_input`) are written behind the end of the classical
  memory, and reading one can end the whole process (`terminate called`).
- A number that is cast to a truth value, also implicitly (`expr.logic_not(register)`), is negated.
- Of a value in an expression, also of a register, only the lowest 32 bits count. A condition of the
  older form, `(register, number)`, and a switch on a register are right for any width.
- Indexing, shifts, arithmetic, floats, durations and a switch on an expression are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_MAX_BITS = 32
_UNKNOWN = frozenset({"SHIFT_LEFT", "SHIFT_RIGHT", "ADD", "SUB", "MUL", "DIV", "NEGATE"})


def aer_objection(circuit: QuantumCircuit) -> str | None:
    """Return why Aer cannot simulate the classical values of a circuit, or None.

    Returns:
        A clause about the circuit, such as "it has ...; ... instead".
    """
    problem = next(_problems(circuit), None)
    return None if problem is None else f"it has {problem}, or run it on IBM's service"


def _problems(circuit: QuantumCircuit) -> Iterator[str]:
    """Yield what Aer cannot simulate, each with what to do instead."""
    for var in circuit.iter_vars():
        yield (
            f"the classical variable '{var.name}', which Aer cannot simulate; "
            f"keep its value in a classical register"
        )
    if not circuit.has_control_flow_op() and "store" not in circuit.count_ops():
        return
    for instruction in circuit.data:
        if instruction.name == "store":
            yield from _expression_problems(instruction.operation.lvalue)
            yield from _expression_problems(instruction.operation.rvalue)
        elif instruction.is_control_flow():
            operation = instruction.operation
            yield from _expression_problems(getattr(operation, "condition", None))
            yield from _switch_problems(getattr(operation, "target", None))
            for block in operation.blocks:
                yield from _problems(block)


def _switch_problems(target: Any) -> Iterator[str]:
    from qiskit.circuit.classical import expr

    if isinstance(target, expr.Expr) and not isinstance(target, expr.Var):
        yield "a switch on an expression, which Aer does not know; use if_test"


def _expression_problems(node: Any) -> Iterator[str]:
    """Yield the problems of an expression; conditions of the older, tuple form have none."""
    from qiskit.circuit.classical import expr, types

    if not isinstance(node, expr.Expr):
        return
    if not isinstance(node.type, types.Bool | types.Uint):
        yield _unknown(f"a classical value of type {type(node.type).__name__}")
    elif isinstance(node.type, types.Uint) and node.type.width > _MAX_BITS:
        yield (
            f"a classical value of {node.type.width} bits in an expression, of which Aer compares "
            f"{_MAX_BITS}; use shorter registers, or a condition (register, number)"
        )
    if isinstance(node, expr.Cast):
        if isinstance(node.type, types.Bool) and not isinstance(node.operand.type, types.Bool):
            yield (
                "a register that is taken as true or false, which Aer takes for its opposite; "
                "write expr.not_equal(register, 0)"
            )
        yield from _expression_problems(node.operand)
    elif isinstance(node, expr.Unary | expr.Binary):
        if node.op.name in _UNKNOWN:
            yield _unknown(f"the classical operation {node.op.name}")
        operands = (node.operand,) if isinstance(node, expr.Unary) else (node.left, node.right)
        for operand in operands:
            yield from _expression_problems(operand)
    elif not isinstance(node, expr.Var | expr.Value):
        yield _unknown(f"the classical expression {type(node).__name__}")


def _unknown(what: str) -> str:
    return f"{what}, which Aer does not know; compare or combine bits and registers"
