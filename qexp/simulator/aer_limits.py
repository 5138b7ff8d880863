"""Limits of Aer 0.18 with classical values: most operations are right, some are not.

Found by trying every operation of `qiskit.circuit.classical.expr` on all values of two registers:

- Variables (`QuantumCircuit.add_var`, `add_input`) are written behind the end of the classical
  memory, and reading one can end the whole process (`terminate called`).
- A number that is cast to a truth value, also implicitly (`expr.logic_not(register)`), is negated.
- Indexing, shifts, arithmetic, floats, durations and a switch on an expression are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_UNKNOWN = frozenset({"SHIFT_LEFT", "SHIFT_RIGHT", "ADD", "SUB", "MUL", "DIV", "NEGATE"})


def aer_objection(circuit: QuantumCircuit) -> str | None:
    """Return why Aer cannot simulate the classical values of a circuit, or None.

    Returns:
        A clause about the circuit, such as "it has ...; ... instead".
    """
    problem = next(_problems(circuit), None)
    return None if problem is None else f"it has {problem}, or run it on IBM's service"


def _problems(circuit: QuantumCircuit, *, is_nested: bool = False) -> Iterator[str]:
    """Yield what Aer cannot simulate, each with what to do instead."""
    for var in circuit.iter_vars():
        yield (
            f"the classical variable '{var.name}', which Aer cannot simulate; "
            f"keep its value in a classical register"
        )
    names = circuit.count_ops()
    for name in names:
        if name.startswith("save_"):
            yield f"'{name}', whose data a primitive does not return; remove it"
        if name == "quantum_channel":
            yield "an error of Aer's, which QPY does not hold; make it a Kraus instruction"
    if not (circuit.has_control_flow_op() or {"store", "delay"} & names.keys()):
        return
    for instruction in circuit.data:
        if instruction.name == "delay":
            yield from _delay_problems(instruction.params[0])
        elif instruction.name == "store":
            yield from _expression_problems(instruction.operation.lvalue)
            yield from _expression_problems(instruction.operation.rvalue)
        elif instruction.is_control_flow():
            operation = instruction.operation
            condition = getattr(operation, "condition", None)
            yield from _expression_problems(condition)
            target = getattr(operation, "target", None)
            yield from _switch_problems(target)
            if is_nested and not (condition is None and target is None):
                yield from _bit_problems(target if condition is None else condition)
            for block in operation.blocks:
                yield from _problems(block, is_nested=True)


def _bit_problems(condition: Any) -> Iterator[str]:
    """Yield the bits of a condition within a block that Aer does not find in the circuit."""
    from qiskit.circuit import Clbit
    from qiskit.circuit.classical import expr

    if isinstance(condition, expr.Expr):
        operands = [var.var for var in expr.iter_vars(condition)]
    else:
        operands = [condition[0] if isinstance(condition, tuple) else condition]
    for operand in operands:
        # A bit of no register of its own is another object after it was stored.
        bits = [operand] if isinstance(operand, Clbit) else list(operand)
        if any("register=" not in repr(bit) for bit in bits):
            yield (
                "a condition within a block on a classical bit that belongs to no register, which "
                "Aer cannot find; make it a bit of a register"
            )


def _delay_problems(duration: Any) -> Iterator[str]:
    from qiskit.circuit.classical import expr

    if isinstance(duration, expr.Expr):
        yield (
            "a delay of a stretch or of an expression, which Aer cannot simulate; give it a number"
        )


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
