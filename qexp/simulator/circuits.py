"""Circuits as the methods take them: restricted to active qubits, plain, or refused by Aer.

A qubit that is only idle stays in |0> and is entangled with nothing, so it changes no outcome. A
circuit that uses five of 127 qubits is simulated on these five, with exactly the same distribution.

Limits of Aer 0.18 with classical values, found by trying every operation of
`qiskit.circuit.classical.expr` on all values of two registers; most operations are right:

- Variables (`QuantumCircuit.add_var`, `add_input`) are written behind the end of the classical
  memory, and reading one can end the whole process (`terminate called`).
- A number that is cast to a truth value, also implicitly (`expr.logic_not(register)`), is negated.
- Of a value in an expression, also of a register, only the lowest 32 bits count. A condition of the
  older form, `(register, number)`, and a switch on a register are right for any width.
- Indexing, shifts, arithmetic, floats, durations and a switch on an expression are unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Clbit, Qubit
from qiskit.circuit.classical import expr, types
from qiskit.circuit.controlflow import CONTROL_FLOW_OP_NAMES

# Instructions that leave an idle qubit in |0>: a delay only relaxes it towards that state.
_IDLE = frozenset({"barrier", "delay", "break_loop", "continue_loop"})
_LOOP_EXITS = frozenset({"break_loop", "continue_loop"})

_MAX_AER_BITS = 32
_MAX_CHANNEL_QUBITS = 2

_UNKNOWN_TO_AER = frozenset({"SHIFT_LEFT", "SHIFT_RIGHT", "ADD", "SUB", "MUL", "DIV", "NEGATE"})


class ActiveCircuit(NamedTuple):
    """A circuit on its active qubits.

    It has all classical bits, registers, variables and parameters of the original but no barriers,
    which Aer ignores. Where every qubit is active it is the original itself.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]  # the original index of each of its qubits, ascending


def restrict_to_active(circuit: QuantumCircuit, keep: Iterable[int] = ()) -> ActiveCircuit:
    """Drop the idle qubits of a circuit.

    Args:
        circuit: Any circuit, with control flow, resets, measurements or parameters.
        keep: Indices of qubits to keep even if idle, such as those on which an observable acts.
    """
    active = active_qubits(circuit)
    indices = {index for index, qubit in enumerate(circuit.qubits) if qubit in active}
    # Aer takes no circuit without qubits.
    indices = (indices | set(keep)) or {0}
    if len(indices) >= circuit.num_qubits:
        return ActiveCircuit(circuit, tuple(range(circuit.num_qubits)))
    ordered = tuple(sorted(indices))
    return ActiveCircuit(_restrict(circuit, [circuit.qubits[index] for index in ordered]), ordered)


def active_qubits(circuit: QuantumCircuit) -> set[Qubit]:
    """Return the qubits on which more than barriers and delays act, in nested blocks too."""
    active: set[Qubit] = set()
    for instruction in circuit.data:
        name = instruction.name
        if name in CONTROL_FLOW_OP_NAMES:
            for block in instruction.operation.blocks:
                outer = dict(zip(block.qubits, instruction.qubits, strict=True))
                active.update(outer[qubit] for qubit in active_qubits(block))
        elif name not in _IDLE:
            active.update(instruction.qubits)
    return active


def _restrict(circuit: QuantumCircuit, qubits: Sequence[Qubit]) -> QuantumCircuit:
    """Return the circuit on some of its qubits, all active ones among them."""
    restricted = QuantumCircuit(
        list(qubits),
        list(circuit.clbits),
        *circuit.cregs,
        name=circuit.name,
        global_phase=circuit.global_phase,
        metadata=circuit.metadata,
        inputs=circuit.iter_input_vars(),
        captures=(*circuit.iter_captured_vars(), *circuit.iter_captured_stretches()),
    )
    for var in circuit.iter_declared_vars():
        restricted.add_uninitialized_var(var)
    for stretch in circuit.iter_declared_stretches():
        restricted.add_stretch(stretch)
    kept = set(qubits)
    for instruction in circuit.data:
        name = instruction.name
        if name in _LOOP_EXITS or name in CONTROL_FLOW_OP_NAMES:
            restricted._append(_restrict_flow(instruction, kept))
        elif name != "barrier" and (name != "delay" or kept.issuperset(instruction.qubits)):
            restricted._append(instruction)
    return restricted


def _restrict_flow(instruction: CircuitInstruction, kept: set[Qubit]) -> CircuitInstruction:
    """Return control flow, or the exit of a loop, on the kept qubits alone."""
    places = [place for place, qubit in enumerate(instruction.qubits) if qubit in kept]
    operation = instruction.operation
    if instruction.name in _LOOP_EXITS:
        operation = type(operation)(len(places), len(instruction.clbits))
    else:
        operation = operation.replace_blocks(
            _restrict(block, [block.qubits[place] for place in places])
            for block in operation.blocks
        )
    qubits = [instruction.qubits[place] for place in places]
    return instruction.replace(operation=operation, qubits=qubits)


@dataclass(frozen=True)
class PlainCircuit:
    """A circuit of gates, resets and delays whose measurements all come last."""

    circuit: QuantumCircuit
    qubits: tuple[int, ...]  # indices of the qubits that anything acts on, ascending
    # The measured qubits and their bits: several where a qubit is measured again at once.
    measured: tuple[tuple[Qubit, tuple[Clbit, ...]], ...]
    gates: int  # number of instructions
    pairs: Mapping[tuple[Qubit, ...], int]  # number of instructions on each two qubits

    @property
    def pair_gates(self) -> int:
        """Number of instructions on two qubits."""
        return sum(self.pairs.values())

    @property
    def bits(self) -> tuple[Clbit, ...]:
        """All bits that are read into, in the order of `measured`."""
        return tuple(bit for _, bits in self.measured for bit in bits)


def as_plain(circuit: QuantumCircuit) -> PlainCircuit | None:
    """Return the circuit as one that methods without Aer can simulate, or None."""
    if circuit.num_vars or circuit.num_stretches:
        return None
    acted: list[tuple[Qubit, ...]] = []
    measured: dict[Qubit, list[Clbit]] = {}
    delays = 0
    for instruction in circuit.data:
        # Standard gates, the usual case, first.
        if not instruction.is_standard_gate():
            name = instruction.name
            if name == "barrier":
                continue
            if name == "delay":
                # A parametric delay has another channel for each parameter set.
                if not isinstance(instruction.params[0], int | float):
                    return None
                delays += 1
                continue
            if name == "measure":
                qubits = instruction.qubits
                measured.setdefault(qubits[0], []).append(instruction.clbits[0])
                acted.append(qubits)
                continue
            if name != "reset":
                return None
        qubits = instruction.qubits
        if len(qubits) > _MAX_CHANNEL_QUBITS or (
            measured and not measured.keys().isdisjoint(qubits)
        ):
            return None
        acted.append(qubits)
    on_qubits = Counter(acted)
    used = frozenset(chain.from_iterable(on_qubits))
    indices = tuple(index for index, qubit in enumerate(circuit.qubits) if qubit in used)
    read_into = tuple((qubit, tuple(bits)) for qubit, bits in measured.items())
    pairs = {qubits: number for qubits, number in on_qubits.items() if len(qubits) == 2}
    plain = PlainCircuit(circuit, indices, read_into, delays + on_qubits.total(), pairs)
    # A bit that is written twice loses its first value.
    return plain if len(set(plain.bits)) == len(plain.bits) else None


def is_channel(instruction: CircuitInstruction) -> bool:
    """Return whether an instruction is a reset, or a standard gate on one or two qubits."""
    return instruction.name == "reset" or (
        instruction.is_standard_gate() and len(instruction.qubits) <= _MAX_CHANNEL_QUBITS
    )


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
            if isinstance(target, expr.Expr) and not isinstance(target, expr.Var):
                yield "a switch on an expression, which Aer does not know; use if_test"
            if is_nested and not (condition is None and target is None):
                yield from _bit_problems(target if condition is None else condition)
            for block in operation.blocks:
                yield from _problems(block, is_nested=True)


def _bit_problems(condition: Any) -> Iterator[str]:
    """Yield the bits of a condition within a block that Aer does not find in the circuit."""
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
    if isinstance(duration, expr.Expr):
        yield (
            "a delay of a stretch or of an expression, which Aer cannot simulate; give it a number"
        )


def _expression_problems(node: Any) -> Iterator[str]:
    """Yield the problems of an expression; conditions of the older, tuple form have none."""
    if not isinstance(node, expr.Expr):
        return
    if not isinstance(node.type, types.Bool | types.Uint):
        yield _unknown(f"a classical value of type {type(node.type).__name__}")
    elif isinstance(node.type, types.Uint) and node.type.width > _MAX_AER_BITS:
        yield (
            f"a classical value of {node.type.width} bits in an expression, of which Aer compares "
            f"{_MAX_AER_BITS}; use shorter registers, or a condition (register, number)"
        )
    if isinstance(node, expr.Cast):
        if isinstance(node.type, types.Bool) and not isinstance(node.operand.type, types.Bool):
            yield (
                "a register that is taken as true or false, which Aer takes for its opposite; "
                "write expr.not_equal(register, 0)"
            )
        yield from _expression_problems(node.operand)
    elif isinstance(node, expr.Unary | expr.Binary):
        if node.op.name in _UNKNOWN_TO_AER:
            yield _unknown(f"the classical operation {node.op.name}")
        operands = (node.operand,) if isinstance(node, expr.Unary) else (node.left, node.right)
        for operand in operands:
            yield from _expression_problems(operand)
    elif not isinstance(node, expr.Var | expr.Value):
        yield _unknown(f"the classical expression {type(node).__name__}")


def _unknown(feature: str) -> str:
    return f"{feature}, which Aer does not know; compare or combine bits and registers"
