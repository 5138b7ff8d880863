"""Expressions of parameters as texts that are the same before and after QPY."""

from __future__ import annotations

import io
import re
from typing import Any, Final

_DECIMAL: Final = r"\d[\d.]*(?:e[+-]?\d+)?"
_LINEAR: Final = re.compile(rf"(?:(-?{_DECIMAL}) \+ )?(?:\((-{_DECIMAL})\)\*|({_DECIMAL})\*|-)?")
_MAX_ROUNDS: Final = 5


def expression_text(value: Any) -> str:
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
