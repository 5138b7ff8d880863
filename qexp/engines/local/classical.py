"""What Aer 0.18 makes of a circuit's classical values: most is right, some is not.

Tried with every operation of `qiskit.circuit.classical.expr` and all values of two registers:

- Variables (`QuantumCircuit.add_var`, `add_input`) are written behind the end of the classical
  memory, and reading one can end the whole process (`terminate called`).
- A number cast to a truth value, also implicitly (`expr.logic_not(register)`), is negated.
- Indexing, shifts, arithmetic, floats, durations and a switch on an expression are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_UNKNOWN = frozenset({"SHIFT_LEFT", "SHIFT_RIGHT", "ADD", "SUB", "MUL", "DIV", "NEGATE"})


def aer_objection(circuit: QuantumCircuit) -> str | None:
    """Why Aer cannot simulate what a circuit does with classical values, or None."""
    problem = next(_problems(circuit), None)
    if problem is None:
        return None
    return f"it has {problem}; change it, or run it on IBM's service"


def _problems(circuit: QuantumCircuit) -> Iterator[str]:
    for var in circuit.iter_vars():
        yield (
            f"the classical variable '{var.name}', which Aer cannot simulate (keep the value in a "
            f"classical register)"
        )
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


def _of_switch(target: Any) -> Iterator[str]:
    from qiskit.circuit.classical import expr

    if isinstance(target, expr.Expr) and not isinstance(target, expr.Var):
        yield "a switch on an expression, which Aer does not know (use if_test)"


def _of(node: Any) -> Iterator[str]:
    """What is wrong with an expression; conditions of the older form are none."""
    from qiskit.circuit.classical import expr, types

    if not isinstance(node, expr.Expr):
        return
    if not isinstance(node.type, types.Bool | types.Uint):
        yield f"a classical value of type {type(node.type).__name__}, which Aer does not know"
    if isinstance(node, expr.Cast):
        if isinstance(node.type, types.Bool) and not isinstance(node.operand.type, types.Bool):
            yield (
                "a register that is taken as true or false, which Aer takes for its opposite "
                "(write expr.not_equal(register, 0))"
            )
        yield from _of(node.operand)
    elif isinstance(node, expr.Unary | expr.Binary):
        if node.op.name in _UNKNOWN:
            yield f"the classical operation {node.op.name}, which Aer does not know"
        operands = (node.operand,) if isinstance(node, expr.Unary) else (node.left, node.right)
        for operand in operands:
            yield from _of(operand)
    elif not isinstance(node, expr.Var | expr.Value):
        yield f"the classical expression {type(node).__name__}, which Aer does not know"
