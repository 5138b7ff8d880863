"""The form that a job's result must have: a result of another form is not this job's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qexp.core.model import JobRequest

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives import PrimitiveResult

    from qexp.core.model import Pub

_ESTIMATES = ("evs", "stds")
"""Fields of an Estimator's data that have the PUB's shape; others may have further axes."""


@dataclass(frozen=True)
class ExpectedPub:
    """The form of one PUB's result."""

    shape: tuple[int, ...]  # of parameter values, broadcast with observables
    registers: Mapping[str, int] | None  # name -> bits; None for an Estimator
    idle: frozenset[str] = frozenset()  # registers that nothing is measured into


def expected_form(pubs: Iterable[Pub]) -> tuple[ExpectedPub, ...]:
    """Return the form of the result of a job with these PUBs."""
    return tuple(_expected(pub) for pub in pubs)


def _expected(pub: Any) -> ExpectedPub:
    shape = tuple(pub.shape)
    if hasattr(pub, "observables"):
        return ExpectedPub(shape, None)
    registers = {register.name: register.size for register in pub.circuit.cregs}
    return ExpectedPub(shape, registers, _idle(pub.circuit))


def _idle(circuit: QuantumCircuit) -> frozenset[str]:
    """Return the registers without a measurement outside control flow, which may be left out."""
    if len(circuit.cregs) < 2:
        return frozenset()
    written = {
        bit
        for instruction in circuit.data
        if instruction.clbits and instruction.operation.name == "measure"
        for bit in instruction.clbits
    }
    return frozenset(each.name for each in circuit.cregs if written.isdisjoint(each))


def find_mismatch(
    result: PrimitiveResult[Any],
    expected: Sequence[ExpectedPub] | None,
    request: JobRequest,
    options: Mapping[str, Any],
) -> str | None:
    """Return a clause about the first difference of a job's result from the expected form, or None.

    Where the form of its PUBs is not known, their number and the shots are. The options are as
    finalised.
    """
    num_pubs = request.num_pubs if expected is None else len(expected)
    if len(result) != num_pubs:
        return f"{len(result)} PUB results instead of {num_pubs}"
    is_classified = _section(options, "execution").get("meas_type") in {None, "classified"}
    least_shots = _least_shots(request, options)
    for index, pub in enumerate(result):
        form = None if expected is None else expected[index]
        problem = _wrong_form(pub.data, form, is_classified) or _missing_shots(
            pub.data, least_shots
        )
        if problem:
            return f"{problem} of PUB {index}"
    return None


def _wrong_form(data: Any, form: ExpectedPub | None, is_classified: bool) -> str | None:
    if form is None:
        return None
    # A service may leave the shape of the whole out; that of each field decides.
    if tuple(data.shape) not in {(), form.shape}:
        return f"shape {tuple(data.shape)} instead of {form.shape}"
    fields = dict(data.items())
    if form.registers is None:
        return _wrong_estimates(fields, form.shape)
    return _wrong_registers(fields, form, form.registers, is_classified)


def _wrong_estimates(fields: Mapping[str, Any], shape: tuple[int, ...]) -> str | None:
    import numpy as np

    for name in _ESTIMATES:
        if name not in fields:
            return f"{', '.join(map(repr, fields)) or 'nothing'} instead of {name!r}"
        if np.shape(fields[name]) != shape:
            return f"shape {np.shape(fields[name])} instead of {shape} in {name!r}"
    return None


def _wrong_registers(
    fields: Mapping[str, Any], form: ExpectedPub, registers: Mapping[str, int], is_classified: bool
) -> str | None:
    from qiskit.primitives import BitArray

    if not registers.keys() - form.idle <= fields.keys() <= registers.keys():
        found, wanted = (", ".join(map(repr, names)) or "none" for names in (fields, registers))
        return f"registers {found} instead of {wanted}"
    for name, bits in fields.items():
        if isinstance(bits, BitArray):
            if bits.num_bits != registers[name]:
                return f"{bits.num_bits} bits instead of {registers[name]} in {name!r}"
            shape = tuple(bits.shape)
        elif is_classified:
            return f"{type(bits).__name__} instead of bits in {name!r}"
        else:
            # Kerneled data have axes for shots and bits; averaged ones lack that of shots.
            shape = tuple(bits.shape[: len(form.shape)])
        if shape != form.shape:
            return f"shape {shape} instead of {form.shape} in {name!r}"
    return None


def _least_shots(request: JobRequest, options: Mapping[str, Any]) -> int | None:
    """Return the shots that every register has, or None; twirling rounds shots up."""
    twirling = _section(options, "twirling")
    is_twirled = twirling.get("enable_gates") or twirling.get("enable_measure")
    return None if is_twirled else request.partition.shots


def _missing_shots(data: Any, least: int | None) -> str | None:
    from qiskit.primitives import BitArray

    for name, bits in data.items():
        if least is not None and isinstance(bits, BitArray) and bits.num_shots < least:
            return f"{bits.num_shots} of {least} shots in {name!r}"
    return None


def _section(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = options.get(name)
    return section if isinstance(section, Mapping) else {}
