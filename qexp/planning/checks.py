"""Checks of every ISA PUB before the batch opens.

IBM's client-side primitives leave most of them to the service, where a job fails only after it
has waited in the queue.
"""

from __future__ import annotations

import keyword
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from qexp.core.model import PlannedPub
from qexp.core.spec import Limit
from qexp.errors import PlanError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction
    from qiskit.primitives.containers.bindings_array import BindingsArray
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.providers import BackendV2

    from qexp.archive.circuit_digest import Reading
    from qexp.core.model import Pub

Tally: TypeAlias = Mapping[tuple[str, tuple[int, ...]], int]
"""(name of an instruction, qubits that it acts on) -> how often it does."""

# They are no instructions of the processor, and no target lists them.
_DIRECTIVES = frozenset({"barrier", "store"})

# `rzz` is calibrated from 0 to pi/2, with IBM's allowance for rounding:
# https://quantum.cloud.ibm.com/docs/guides/fractional-gates
_RZZ_MAX = math.pi / 2 + 1e-10

_MAX_CONDITION = 2**63 - 1

# A billion billion shots: beyond any job, and still finite arithmetic.
_MIN_PRECISION = 1e-9
# One shot gives as much; above 1e154 its square is too large for a float.
_MAX_PRECISION = 1e6

_CORRECT = "correct it in the generator"

# Divisions, powers and functions that have poles, and complex numbers (`(1i)*a`).
_POLES = re.compile(r"/|\*\*|\^|log|tan|asin|acos|exp|\di\b")


def instructions(
    circuit: QuantumCircuit, qubits: Mapping[Any, int] | None = None
) -> Iterator[tuple[CircuitInstruction, tuple[int, ...]]]:
    """Yield every instruction with the circuit's qubit indices, inside control flow too.

    `qubits` has the index of each qubit in the outermost circuit, for blocks of control flow.
    """
    index = qubits or {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        indices = tuple(index[qubit] for qubit in instruction.qubits)
        yield instruction, indices
        # Qiskit builds a Python object for `.operation`, which would dominate the cost.
        if instruction.is_control_flow():
            for block in instruction.operation.blocks:
                inner = dict(zip(block.qubits, indices, strict=True))
                yield from instructions(block, inner)


def tally(circuit: QuantumCircuit, reading: Reading | None = None) -> Tally:
    """Count how often each instruction acts on which qubits, inside control flow too.

    A `reading` of the circuit, if there is one, has counted them already.
    """
    if reading is not None and reading.is_sequence:
        return reading.tally
    return Counter((instruction.name, qubits) for instruction, qubits in instructions(circuit))


@dataclass(frozen=True)
class Hardware:
    """Capabilities of a backend, read once; the faults are those that its calibration reports."""

    name: str
    supports: Callable[[str, tuple[int, ...]], bool]  # an instruction, on qubits in this order
    bounds_rzz: bool  # angles of `rzz` are restricted, unlike on a simulator
    faulty_qubits: frozenset[int]
    faulty_edges: frozenset[tuple[int, ...]]

    @classmethod
    def of(cls, backend: BackendV2) -> Hardware:
        """Read a backend's target, and its calibration where it has one."""
        read, target = getattr(backend, "properties", None), backend.target
        properties = read() if callable(read) else None
        qubits = properties.faulty_qubits() if properties else ()
        gates = properties.faulty_gates() if properties else ()
        return cls(
            name=backend.name,
            supports=cache(target.instruction_supported),
            bounds_rzz="rzz" in target.operation_names and not _is_simulator(backend),
            faulty_qubits=frozenset(qubits),
            faulty_edges=frozenset(tuple(gate.qubits) for gate in gates if len(gate.qubits) > 1),
        )


def check_pub(
    pub: PlannedPub,
    counts: Tally,
    hardware: Hardware,
    limits: Mapping[str, Limit],
    objection: Callable[[Pub], str | None],
) -> None:
    """Refuse a PUB that the service or the engine would refuse, or whose results would be lost.

    `counts` is the `tally` of its ISA circuit, and `objection` the engine's, see
    `Engine.pub_objection`. Of the limits, those of the gates of a circuit are checked here, as far
    as they are given.

    Raises:
        PlanError: The first thing that is wrong.
    """
    problems = _problems(pub, counts, hardware, limits, objection)
    if problem := next(problems, None):
        raise PlanError(
            f"PUB {pub.index} of workload '{pub.workload}': circuit "
            f"'{pub.logical.circuit.name}': {problem}"
        )


def _problems(
    pub: PlannedPub,
    counts: Tally,
    hardware: Hardware,
    limits: Mapping[str, Limit],
    objection: Callable[[Pub], str | None],
) -> Iterator[str]:
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    isa = pub.isa
    if not pub.logical.circuit.num_qubits:
        yield "it has no qubits; add one"
    if isinstance(isa, SamplerPub):
        yield from _registers(isa.circuit)
    else:
        yield from _observables(isa)
    yield from _not_finite(pub.logical)
    if isa.parameter_values.size == 0:
        yield "its array of parameter values is empty; give at least one parameter set"
    yield from _instructions(counts, hardware, limits)
    yield from _conditions(isa.circuit)
    if hardware.bounds_rzz and any(name == "rzz" for name, _ in counts):
        yield from _rzz_angles(isa.circuit, isa.parameter_values)
    if objected := objection(isa):
        yield objected


def _registers(circuit: QuantumCircuit) -> Iterator[str]:
    from qiskit.primitives import DataBin

    for register in circuit.cregs:
        name = register.name
        if register.size == 0:
            yield f"classical register '{name}' has no bits; remove it"
        if not name.isidentifier() or keyword.iskeyword(name):
            yield (
                f"classical register '{name}' cannot be read back as data.{name}; rename it to "
                f"letters, digits and underscores that are no Python keyword"
            )
        if hasattr(DataBin, name) or name in ("self", *DataBin._RESTRICTED_NAMES):
            yield (
                f"classical register '{name}' has the name of an attribute of Qiskit's DataBin; "
                f"rename it, for instance to '{name.strip('_').lower()}_bits'"
            )
    if not _measures_into_register(circuit):
        yield (
            "it measures no bit of a classical register, so that a Sampler would return "
            "nothing; add measurements (circuit.measure_all())"
        )


def _measures_into_register(circuit: QuantumCircuit) -> bool:
    kept = {bit for register in circuit.cregs for bit in register}
    return any(
        # Control flow names the bits that its blocks write to.
        (instruction.name.startswith("measure") or instruction.is_control_flow())
        and not kept.isdisjoint(instruction.clbits)
        for instruction in reversed(circuit.data)
    )


def _observables(pub: EstimatorPub) -> Iterator[str]:
    if not pub.precision >= _MIN_PRECISION:
        yield (
            f"precision {pub.precision} is below {_MIN_PRECISION}; set a larger one in the PUB or "
            f"as primitive.precision"
        )
    if pub.precision > _MAX_PRECISION:
        yield (
            f"precision {pub.precision} is above {_MAX_PRECISION:g}; set a smaller one in the PUB "
            f"or as primitive.precision"
        )
    if pub.observables.size == 0:
        yield "its array of observables is empty; give at least one observable"
    if _ends_in_measurement(pub.circuit):
        yield (
            "it ends in a measurement, but an Estimator measures its observables itself; remove "
            "it (circuit.remove_final_measurements())"
        )


def _ends_in_measurement(circuit: QuantumCircuit) -> bool:
    # In a dynamic circuit such a measurement may have been acted upon.
    names = circuit.count_ops()
    if circuit.has_control_flow_op() or not any(name.startswith("measure") for name in names):
        return False
    last = {
        qubit: instruction.name
        for instruction in circuit.data
        if instruction.name not in {"barrier", "delay"}
        for qubit in instruction.qubits
    }
    return any(name.startswith("measure") for name in last.values())


def _instructions(counts: Tally, hardware: Hardware, limits: Mapping[str, Limit]) -> Iterator[str]:
    gates: Counter[str] = Counter()
    for (name, qubits), number in counts.items():
        if name in _DIRECTIVES:
            continue
        gates[name] += number
        gates["two-qubit"] += number * (len(qubits) == 2)
        if not hardware.supports(name, qubits):
            yield (
                f"instruction '{name}' on qubits {list(qubits)} is not in the instruction set of "
                f"backend {hardware.name}; check the transpile keys of the config"
            )
        if not hardware.faulty_qubits.isdisjoint(qubits) or qubits in hardware.faulty_edges:
            yield (
                f"instruction '{name}' uses qubits {list(qubits)}, which the calibration of "
                f"backend {hardware.name} reports as faulty; set transpile.initial_layout to "
                f"others or choose another backend"
            )
    for gate in ("rz", "sx", "two-qubit"):
        key = f"circuit_{gate.replace('-', '_')}_gates"
        if key in limits and gates[gate] > limits[key].value:
            yield (
                f"it has {gates[gate]} {gate} gates, more than the {limits[key].value:.10g} that "
                f"limits.{key} allows in one circuit; use a shallower circuit"
            )


def _conditions(circuit: QuantumCircuit) -> Iterator[str]:
    """Refuse numbers in conditions that QPY cannot hold."""
    for instruction, _ in instructions(circuit) if circuit.has_control_flow_op() else ():
        is_flow = instruction.is_control_flow()
        condition = getattr(instruction.operation, "condition", None) if is_flow else None
        if isinstance(condition, tuple) and condition[1] > _MAX_CONDITION:
            name, number = condition[0].name, condition[1]
            yield (
                f"it compares register '{name}' with {number}, and only numbers below 2**63 can be "
                f"stored in such a condition; write expr.equal({name}, {number}) "
                f"(qiskit.circuit.classical), or on a simulator compare registers of up to 32 bits"
            )


def _not_finite(pub: Pub) -> Iterator[str]:
    """Yield numbers of a PUB that are NaN or infinite, or become so when parameters are bound."""
    with_poles: dict[str, Any] = {}
    yield from _constants_not_finite(pub.circuit, with_poles)
    for observable in pub.observables.ravel().tolist() if hasattr(pub, "observables") else ():
        for term, coefficient in observable.items():
            if not math.isfinite(coefficient):
                yield f"its observable has the coefficient {coefficient} for {term}; {_CORRECT}"
    values = pub.parameter_values
    names = [name for each in values.data for name in each]
    if not names:
        return
    rows = values.as_array().reshape(-1, len(names))
    for row, column in np.argwhere(~np.isfinite(rows)).tolist():
        yield f"parameter '{names[column]}' is {rows[row, column]} in set {row}; {_CORRECT}"
    for text, expression in with_poles.items():
        columns = {one: names.index(one.name) for one in expression.parameters if one.name in names}
        if len(columns) < len(expression.parameters):
            # Loops have parameters of their own.
            continue
        for row, numbers in enumerate(rows.tolist()):
            if not _has_value(expression, {p: numbers[k] for p, k in columns.items()}):
                yield f"the angle {text} is no finite real number in set {row}; {_CORRECT}"


def _constants_not_finite(circuit: QuantumCircuit, with_poles: dict[str, Any]) -> Iterator[str]:
    """Yield numbers in a circuit that are not finite; gather expressions that need not be."""
    from qiskit.circuit import Parameter, ParameterExpression

    phase = circuit.global_phase
    if isinstance(phase, float) and not math.isfinite(phase):
        yield f"its global phase is {phase}; {_CORRECT}"
    if _has_plain_angles(circuit):
        return
    for instruction, qubits in instructions(circuit):
        name = instruction.name
        is_numeric = instruction.is_standard_gate() or name == "delay"
        for value in instruction.params if is_numeric else ():
            if isinstance(value, float) and not math.isfinite(value):
                what = "duration" if name == "delay" else "angle"
                yield f"{name} on qubits {list(qubits)} has the {what} {value}; {_CORRECT}"
            if isinstance(value, ParameterExpression) and not isinstance(value, Parameter):
                text = str(value)
                if _POLES.search(text):
                    with_poles[text] = value


def _has_plain_angles(circuit: QuantumCircuit) -> bool:
    """Return True if a circuit has gates of Qiskit's with finite numbers alone, told at once."""
    if circuit.has_control_flow_op() or "delay" in circuit.count_ops():
        return False
    angles = chain.from_iterable(item.params for item in circuit.data if item.is_standard_gate())
    return all(type(angle) is float and math.isfinite(angle) for angle in angles)


def _has_value(expression: Any, values: Mapping[Any, float]) -> bool:
    try:
        return math.isfinite(float(expression.bind(values)))
    except Exception:
        # Qiskit raises four kinds of errors for infinite, undefined and complex numbers.
        return False


def _rzz_angles(circuit: QuantumCircuit, values: BindingsArray) -> Iterator[str]:
    for instruction, qubits in instructions(circuit):
        if instruction.name != "rzz":
            continue
        for angle in _angles(instruction.params[0], values):
            if not 0 <= angle <= _RZZ_MAX:
                yield (
                    f"rzz on qubits {list(qubits)} has the angle {angle:.6g}, but only 0 to pi/2 "
                    f"is calibrated; keep its parameter values in this range, or turn "
                    f"use_fractional_gates off in the backend's config"
                )


def _angles(angle: Any, values: BindingsArray) -> Iterator[float]:
    """Yield the smallest and the largest angle over all parameter sets."""
    parameters = getattr(angle, "parameters", ())
    if not parameters:
        yield float(angle)
        return
    columns = [name for names in values.data for name in names]
    used = {parameter: columns.index(parameter.name) for parameter in parameters}
    flat = np.unique(values.ravel().as_array()[:, list(used.values())], axis=0)
    bound = [float(angle.bind(dict(zip(used, row, strict=True)))) for row in flat.tolist()]
    yield min(bound)
    yield max(bound)


def _is_simulator(backend: Any) -> bool:
    configuration = getattr(backend, "configuration", None)
    if callable(configuration):
        return bool(getattr(configuration(), "simulator", False))
    return bool(getattr(backend, "simulator", False))
