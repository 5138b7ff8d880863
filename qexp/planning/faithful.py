"""Circuits that mean the same to the generator, the transpiler, the simulator and the archive.

Qiskit's transpiler and Aer match gates by name: a gate of the user's own that is called `sx` would
become the device's. QPY matches them by class and parameters: it stores the inverse of a state
preparation as the preparation itself. An operation that would change is replaced by its
definition, in the circuit that is run and in the one that is stored.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.circuit_digest import circuit_sha256
from qexp.archive.circuits import load_circuit, rebuild, write_circuits
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target

_PROVEN: Final = frozenset(
    {"measure", "reset", "barrier", "delay", "unitary", "break_loop", "continue_loop"}
)
"""Names of operations that survive QPY besides Qiskit's standard gates, by a property test in
tests/unit/archive/test_circuit_digest.py."""

_LIBRARIES: Final = ("qiskit.circuit.", "qiskit.quantum_info.", "qiskit_aer.")
_MAX_COMPARED_QUBITS: Final = 4
_MAX_DEPTH: Final = 20


class UnfaithfulError(Exception):
    """A circuit has an operation that changes meaning and has no definition; a clause about it."""


def faithful(circuit: QuantumCircuit, target: Target) -> QuantumCircuit:
    """Return a circuit whose operations mean everywhere what they mean in `circuit`.

    It is `circuit` itself where all of them are Qiskit's standard gates, measurements, resets,
    barriers, delays, matrices, or control flow of these. Any other is written as QPY and read
    back, which takes as long as encoding it.

    Raises:
        UnfaithfulError: There is no such circuit.
    """
    for _ in range(_MAX_DEPTH):
        if is_proven(circuit):
            return circuit
        rebuilt = _named_by_meaning(circuit, target)
        if rebuilt is circuit:
            if survives(circuit, target):
                return circuit
            rebuilt = rebuild(circuit, partial(_storable, target=target))
        if rebuilt is circuit:
            break
        circuit = rebuilt
    lost = next((item.name for item in unproven(circuit) if not _survives(item, target)), None)
    what = "it" if lost is None else f"its instruction '{lost}'"
    raise UnfaithfulError(
        f"{what} is not the same after it was stored as QPY and read back, and has no definition "
        f"to store instead; build it from Qiskit's standard gates"
    )


def survives(circuit: QuantumCircuit, target: Target) -> bool:
    """Return whether a circuit that is written as QPY is read back as the same one.

    Gates of some classes are read back as gates that have but their name and definition; they are
    the same unless the name says something else.
    """
    stream = io.BytesIO()
    try:
        write_circuits([circuit], stream)
        loaded = load_circuit(stream.getvalue(), "")
    except ArchiveError:
        return False
    is_same = circuit_sha256(loaded) == circuit_sha256(circuit)
    return is_same and _named_by_meaning(loaded, target) is loaded


def is_proven(circuit: QuantumCircuit) -> bool:
    """Return whether a circuit has only operations that are known to survive QPY."""
    return not circuit.num_identifiers and next(unproven(circuit), None) is None


def has_proven_names(circuit: QuantumCircuit) -> bool:
    """Return whether a transpiled circuit is proven, at once: no other gate has a known name."""
    names = circuit.count_ops().keys()
    return not circuit.num_identifiers and names <= _proven_names()


def unproven(circuit: QuantumCircuit) -> Iterator[Any]:
    """Yield the operations of a circuit that may not survive QPY, inside control flow too."""
    for item in circuit.data:
        if item.is_standard_gate():
            continue
        operation = item.operation
        if item.is_control_flow() and item.name != "box":
            for block in operation.blocks:
                yield from unproven(block)
        elif item.name not in _PROVEN or not _is_of_library(operation):
            yield operation


def _named_by_meaning(circuit: QuantumCircuit, target: Target) -> QuantumCircuit:
    return rebuild(circuit, lambda operation: _by_meaning(operation, target))


def _by_meaning(  # noqa: PLR0911
    operation: Any, target: Target, *, is_controlled: bool = False
) -> Any:
    """Return what to replace an operation by that has the name of another one; None to keep it.

    In a part of a controlled operation, `is_controlled`, the phase matters.
    """
    from qiskit.circuit import AnnotatedOperation, ControlledGate, Gate, Instruction
    from qiskit.circuit.library import UnitaryGate

    def inner(operation: Any) -> Any:
        return _by_meaning(operation, target, is_controlled=is_controlled)

    if isinstance(operation, AnnotatedOperation):
        base = _renamed(operation.base_op, target)
        return None if base is None else AnnotatedOperation(base, operation.modifiers)
    if not isinstance(operation, Instruction) or _is_of_library(operation, target):
        return None
    if isinstance(operation, ControlledGate):
        base = _renamed(operation.base_gate, target)
        if base is not None:
            # Qiskit made its definition by the name of the gate that is controlled.
            return base.control(operation.num_ctrl_qubits, ctrl_state=operation.ctrl_state)
    definition = operation.definition
    if operation.name not in _known_names() and operation.name not in target.operation_names:
        rebuilt = None if definition is None else rebuild(definition, inner)
        return None if rebuilt is definition else rebuilt
    if (standard := _standard_of(operation, is_controlled)) is not None:
        return standard
    if definition is None:
        has_matrix = isinstance(operation, Gate) and hasattr(operation, "__array__")
        return UnitaryGate(operation.to_matrix()) if has_matrix else None
    return rebuild(definition, inner)


def _renamed(base: Any, target: Target) -> Any:
    """Return a gate that is controlled, by its definition; None where its name says the same."""
    from qiskit import QuantumCircuit

    replacement = _by_meaning(base, target, is_controlled=True)
    if not isinstance(replacement, QuantumCircuit):
        return replacement
    gate = replacement.to_gate()
    gate.name = f"own_{base.name}"
    return gate


def _is_of_library(operation: Any, target: Target | None = None) -> bool:
    """Return whether the class of an operation says what it does, and not its definition."""
    from qiskit.circuit import ControlledGate, Gate, Instruction

    kind = getattr(operation, "base_class", type(operation))
    if kind in (Gate, Instruction, ControlledGate):
        return False
    if target is not None and operation.name in target.operation_names:
        known = target.operation_from_name(operation.name)
        if kind in (known, type(known), getattr(known, "base_class", None)):
            return True
    return str(kind.__module__).startswith(_LIBRARIES)


@cache
def _known_names() -> frozenset[str]:
    """Return the names by which Qiskit's transpiler knows what to do with an operation."""
    from qiskit.circuit import CONTROL_FLOW_OP_NAMES
    from qiskit.circuit.equivalence_library import SessionEquivalenceLibrary
    from qiskit.transpiler.passes.synthesis.plugin import HighLevelSynthesisPluginManager

    return frozenset(
        {
            *_standard_gates(),
            *("barrier", "store", "break_loop", "continue_loop", *CONTROL_FLOW_OP_NAMES),
            *(key.name for key in SessionEquivalenceLibrary.keys()),  # noqa: SIM118 - no mapping
            *HighLevelSynthesisPluginManager().plugins_by_op,
        }
    )


@cache
def _standard_gates() -> dict[str, Any]:
    from qiskit.circuit.library import get_standard_gate_name_mapping

    return dict(get_standard_gate_name_mapping())


@cache
def _proven_names() -> frozenset[str]:
    return frozenset({*_standard_gates(), *_PROVEN})


def _standard_of(operation: Any, is_controlled: bool) -> Any:
    """Return the standard gate that has the name and the matrix of an operation; None without one.

    Matrices may differ by a phase where the operation is not controlled.
    """
    from qiskit import QuantumCircuit
    from qiskit.exceptions import QiskitError
    from qiskit.quantum_info import Operator

    standard = _standard_gates().get(operation.name)
    if (
        standard is None
        or not standard.num_qubits == operation.num_qubits <= _MAX_COMPARED_QUBITS
        or len(standard.params) != len(operation.params)
        or operation.num_clbits
    ):
        return None
    own, other = (QuantumCircuit(operation.num_qubits) for _ in range(2))
    try:
        standard = standard.base_class(*operation.params)
        own.append(operation, own.qubits)
        other.append(standard, other.qubits)
        values = np.random.default_rng(0).uniform(1, 2, own.num_parameters)
        bound = dict(zip(own.parameters, values.tolist(), strict=True))
        one, two = (Operator(each.assign_parameters(bound)) for each in (own, other))
    except (QiskitError, TypeError, ValueError):
        # It is no unitary.
        return None
    is_same = np.allclose(one, two, rtol=0, atol=1e-10) if is_controlled else one.equiv(two)
    return standard if is_same else None


def _storable(operation: Any, target: Target) -> Any:
    """Return the definition of an operation that does not survive QPY; None to keep it."""
    from qiskit.circuit import AnnotatedOperation

    if _survives(operation, target):
        return None
    if isinstance(operation, AnnotatedOperation):
        base = getattr(operation.base_op, "definition", None)
        if base is None:
            return None
        storable = rebuild(base, partial(_storable, target=target))
        return AnnotatedOperation(storable.to_gate(), operation.modifiers)
    return getattr(operation, "definition", None)


def _survives(operation: Any, target: Target) -> bool:
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(operation.num_qubits, operation.num_clbits)
    circuit.append(operation, circuit.qubits, circuit.clbits)
    return survives(circuit, target)
