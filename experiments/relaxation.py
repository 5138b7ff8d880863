"""T1: excite a qubit, wait, measure; the survival probability decays as exp(-t / T1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def circuits(
    *, num_delays: Annotated[int, Field(ge=2)] = 16, longest_us: Annotated[float, Field(gt=0)] = 400
) -> Iterator[QuantumCircuit]:
    """One circuit for each delay, evenly spaced from 0 to `longest_us` microseconds."""
    from qiskit import QuantumCircuit

    for delay_us in np.linspace(0, longest_us, num_delays):
        circuit = QuantumCircuit(1, name=f"t1_{delay_us:.1f}us")
        circuit.x(0)
        circuit.delay(float(delay_us), 0, unit="us")
        circuit.measure_all()
        circuit.metadata = {"delay_us": float(delay_us)}
        yield circuit
