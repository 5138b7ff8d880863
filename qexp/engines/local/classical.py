"""What Aer 0.18 makes of a circuit's classical values: most is right, some is not.

Tried with every operation of `qiskit.circuit.classical.expr` and all values of two registers:

- Variables (`QuantumCircuit.add_var`, `add_input`) are written behind the end of the classical
  memory, and reading one can end the whole process (`terminate called`).
- A number cast to a truth value, also implicitly (`expr.logic_not(register)`), is negated.
- Indexing, shifts, arithmetic, floats, durations and a switch on an expression are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_Problem: TypeAlias = tuple[str, str]
"""What a circuit has, and what to do instead."""

_UNKNOWN = frozenset({"SHIFT_LEFT", "SHIFT_RIGHT", "ADD", "SUB", "MUL", "DIV", "NEGATE"})


def aer_objection(circuit: QuantumCircuit) -> str | None:
    """Why Aer cannot simulate what a circuit does with classical values, or None."""
    problem = next(_problems(circuit), None)
    if problem is None:
        return None
    what, instead = problem
    return f"it has {what}; {instead}, or run it on IBM's service"


def _problems(circuit: QuantumCircuit) -> Iterator[_Problem]:
    for var in circuit.iter_vars():
        what = f"the classical variable '{var.name}', which Aer cannot simulate"
        yield what, "keep its value in a classical register"
    if not circuit.has_control_flow_op() and "store" not in circuit.count_ops():
        return
    for instruction in circuit.data:
        if instruction.name == "store":
            yield from _of(instruction.operation.lvalue)
            yield from _of(instruction.operation.rvalue)
        elif instruction.is_control_flow():
            operation = instruction.operation
            yield from _of(getattr(operation, "condition", None))
            yield from _of_switch(getattr(operation, "target", None))
            for block in operation.blocks:
                yield from _problems(block)


def _of_switch(target: Any) -> Iterator[_Problem]:
    from qiskit.circuit.classical import expr

    if isinstance(target, expr.Expr) and not isinstance(target, expr.Var):
        yield "a switch on an expression, which Aer does not know", "use if_test"


def _of(node: Any) -> Iterator[_Problem]:
    """What is wrong with an expression; conditions of the older form are none."""
    from qiskit.circuit.classical import expr, types

    if not isinstance(node, expr.Expr):
        return
    if not isinstance(node.type, types.Bool | types.Uint):
        yield _unknown(f"a classical value of type {type(node.type).__name__}")
    if isinstance(node, expr.Cast):
        if isinstance(node.type, types.Bool) and not isinstance(node.operand.type, types.Bool):
            what = "a register that is taken as true or false, which Aer takes for its opposite"
            yield what, "write expr.not_equal(register, 0)"
        yield from _of(node.operand)
    elif isinstance(node, expr.Unary | expr.Binary):
        if node.op.name in _UNKNOWN:
            yield _unknown(f"the classical operation {node.op.name}")
        operands = (node.operand,) if isinstance(node, expr.Unary) else (node.left, node.right)
        for operand in operands:
            yield from _of(operand)
    elif not isinstance(node, expr.Var | expr.Value):
        yield _unknown(f"the classical expression {type(node).__name__}")


def _unknown(what: str) -> _Problem:
    return f"{what}, which Aer does not know", "compare or combine bits and registers"
