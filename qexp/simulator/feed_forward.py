"""Circuits as steps between which measurements and decisions by classical bits lie."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from qiskit import QuantumCircuit
from qiskit.circuit import (
    CASE_DEFAULT,
    CircuitInstruction,
    ClassicalRegister,
    Clbit,
    IfElseOp,
    Qubit,
    SwitchCaseOp,
)
from qiskit.circuit.classical import expr, types

from qexp.simulator.circuits import is_channel
from qexp.simulator.protocols import Work

Bits: TypeAlias = bytes
"""Values of all classical bits, a byte for each."""

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "BIT_AND": operator.and_,
    "BIT_OR": operator.or_,
    "BIT_XOR": operator.xor,
    "LOGIC_AND": lambda left, right: left and right,
    "LOGIC_OR": lambda left, right: left or right,
    "EQUAL": operator.eq,
    "NOT_EQUAL": operator.ne,
    "LESS": operator.lt,
    "LESS_EQUAL": operator.le,
    "GREATER": operator.gt,
    "GREATER_EQUAL": operator.ge,
}


class UnknownFlowError(ValueError):
    """Raised for control flow that cannot be followed here; a clause about it."""


@dataclass
class Gates:
    """Gates, resets and delays, on the device's qubits."""

    physical: Mapping[Qubit, int]
    instructions: list[CircuitInstruction] = field(default_factory=list)


class Reading(NamedTuple):
    """A measurement of one of the device's qubits after which the circuit goes on."""

    qubit: int
    bit: int


class Decision(NamedTuple):
    """One of several bodies, or none, as the classical bits say."""

    choose: Callable[[Bits], int | None]
    bodies: list[list[Any]]  # of steps


Steps: TypeAlias = list[Any]
"""`Gates`, `Reading` and `Decision`."""


class Flow(NamedTuple):
    """A circuit in steps."""

    steps: Steps
    final: list[tuple[int, int]]  # qubits that are measured last, and their bits


def to_flow(circuit: QuantumCircuit, *, all_readings: bool = False) -> Flow:
    """Return a circuit in steps.

    With `all_readings`, no difference is made between the last measurements and the others.

    Raises:
        UnknownFlowError: It has loops, variables or unknown operations.
    """
    if circuit.num_vars or circuit.num_stretches:
        raise UnknownFlowError("it has classical variables")
    qubits = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    bits = {bit: index for index, bit in enumerate(circuit.clbits)}
    last = set() if all_readings else _last_measurements(circuit)
    body = [item for index, item in enumerate(circuit.data) if index not in last]
    final = [
        (qubits[circuit.data[index].qubits[0]], bits[circuit.data[index].clbits[0]])
        for index in sorted(last)
    ]
    return Flow(_steps(body, qubits, bits), final)


def _last_measurements(circuit: QuantumCircuit) -> set[int]:
    """Return the measurements after which nothing uses their qubit or their bit."""
    used: set[Qubit | Clbit] = set()
    last = set()
    for index in reversed(range(len(circuit.data))):
        item = circuit.data[index]
        if item.name == "barrier":
            continue
        touched: set[Qubit | Clbit] = {*item.qubits, *item.clbits}
        if item.name == "measure" and used.isdisjoint(touched):
            last.add(index)
        used |= touched
    return last


def _steps(
    items: Iterable[CircuitInstruction], qubits: Mapping[Qubit, int], bits: Mapping[Clbit, int]
) -> Steps:
    steps: Steps = []
    for item in items:
        operation = item.operation
        if item.name == "barrier":
            continue
        if item.name == "measure":
            steps.append(Reading(qubits[item.qubits[0]], bits[item.clbits[0]]))
        elif isinstance(operation, IfElseOp | SwitchCaseOp):
            bodies = [_body(block, item, qubits, bits) for block in operation.blocks]
            decide = _if if isinstance(operation, IfElseOp) else _switch
            steps.append(Decision(decide(operation, bits), bodies))
        elif is_channel(item) or (item.name == "delay" and _is_number(item)):
            if not steps or not isinstance(steps[-1], Gates):
                steps.append(Gates(qubits))
            steps[-1].instructions.append(item)
        else:
            raise UnknownFlowError(f"it has the operation {item.name}")
    return steps


def _body(
    block: QuantumCircuit,
    item: CircuitInstruction,
    qubits: Mapping[Qubit, int],
    bits: Mapping[Clbit, int],
) -> Steps:
    inner_qubits = dict(zip(block.qubits, (qubits[one] for one in item.qubits), strict=True))
    inner_bits = dict(zip(block.clbits, (bits[one] for one in item.clbits), strict=True))
    return _steps(block.data, inner_qubits, {**bits, **inner_bits})


def _is_number(item: CircuitInstruction) -> bool:
    return isinstance(item.params[0], int | float)


def _if(operation: IfElseOp, bits: Mapping[Clbit, int]) -> Callable[[Bits], int | None]:
    condition = _condition(operation.condition, bits)
    otherwise = 1 if len(operation.blocks) > 1 else None
    return lambda seen: 0 if condition(seen) else otherwise


def _switch(operation: SwitchCaseOp, bits: Mapping[Clbit, int]) -> Callable[[Bits], int | None]:
    target = _value(operation.target, bits)
    bodies = {
        label: index
        for index, (labels, _) in enumerate(operation.cases_specifier())
        for label in labels
    }
    default = bodies.pop(CASE_DEFAULT, None)
    return lambda seen: bodies.get(int(target(seen)), default)


def _condition(condition: Any, bits: Mapping[Clbit, int]) -> Callable[[Bits], Any]:
    if isinstance(condition, expr.Expr):
        return _value(condition, bits)
    operand, expected = condition
    value = _value(operand, bits)
    return lambda seen: int(value(seen)) == int(expected)


def _value(node: Any, bits: Mapping[Clbit, int]) -> Callable[[Bits], Any]:
    """Return a function that evaluates a bit, a register or an expression."""
    if isinstance(node, expr.Var):
        return _value(node.var, bits)
    if isinstance(node, Clbit | ClassicalRegister):
        places = [bits[bit] for bit in ([node] if isinstance(node, Clbit) else node)]
        return lambda seen: sum(seen[place] << rank for rank, place in enumerate(places))
    if isinstance(node, expr.Value):
        return lambda _: node.value
    if isinstance(node, expr.Cast) and type(node.type) is type(node.operand.type):
        return _value(node.operand, bits)
    if isinstance(node, expr.Unary) and node.op.name in {"BIT_NOT", "LOGIC_NOT"}:
        operand = _value(node.operand, bits)
        ones = 1 if isinstance(node.type, types.Bool) else (1 << node.type.width) - 1
        return lambda seen: ones ^ int(operand(seen))
    if isinstance(node, expr.Binary) and node.op.name in _BINARY:
        combine = _BINARY[node.op.name]
        left, right = _value(node.left, bits), _value(node.right, bits)
        return lambda seen: combine(left(seen), right(seen))
    raise UnknownFlowError("it has a classical expression that only Aer evaluates")


def pairs(steps: Steps) -> Iterator[tuple[int, int]]:
    """Yield the qubits of all gates on two of them."""
    for step in steps:
        if isinstance(step, Gates):
            for item in step.instructions:
                if len(item.qubits) == 2 and item.name != "barrier":
                    yield step.physical[item.qubits[0]], step.physical[item.qubits[1]]
        elif isinstance(step, Decision):
            for body in step.bodies:
                yield from pairs(body)


def flow_of(work: Work) -> Flow:
    """Return a circuit in steps.

    Raises:
        UnknownFlowError: Its control flow cannot be followed.
    """
    circuit, plain = work.circuit, work.plain
    if plain is None:
        return to_flow(circuit, all_readings=work.is_estimated)
    physical = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    final = [
        (physical[qubit], circuit.find_bit(bit).index)
        for qubit, bits in plain.measured
        for bit in bits
    ]
    return Flow([Gates(physical, list(circuit.data))], final)


def pairs_of(work: Work) -> Iterable[tuple[int, int]]:
    """Return the pairs of the device's qubits that gates act on.

    Raises:
        UnknownFlowError: Its control flow cannot be followed.
    """
    if work.plain is None:
        return pairs(flow_of(work).steps)
    physical = {qubit: index for index, qubit in enumerate(work.circuit.qubits)}
    return [(physical[one], physical[other]) for one, other in work.plain.pairs]
