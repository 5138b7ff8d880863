"""Greenberger-Horne-Zeilinger states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit

Size = Annotated[int, Field(ge=2)]


def ghz_circuits(
    *,
    num_qubits: Size | Annotated[list[Size], Field(min_length=1)] = 5,
    num_circuits: Annotated[int, Field(gt=0)] = 1,
    method: Literal["linear", "log"] = "linear",
    seed_sequence: np.random.SeedSequence,
) -> Iterator[QuantumCircuit]:
    """Circuits that prepare (|0...0> + |1...1>)/sqrt(2) and measure all qubits.

    Source of the logarithmic depth: Cruz et al., arXiv:1807.05572. The ideal outcomes are all
    zeros and all ones, half of the shots each.

    Args:
        num_qubits: Size of the state, or a list of sizes.
        num_circuits: Circuits per size. They are equal, and spread over the run: size by size,
            then again from the first, so that more of them extend the list at its end.
        method: `"linear"`: a chain of CNOTs between neighbours, n - 1 deep. `"log"`: each step
            doubles the number of entangled qubits, ceil(log2 n) deep, with distant CNOTs.
        seed_sequence: Supplied by qexp; these circuits draw nothing.

    Yields:
        Sampler PUBs: measured circuits.
    """
    from qiskit import QuantumCircuit

    del seed_sequence
    sizes = [num_qubits] if isinstance(num_qubits, int) else num_qubits
    for index in range(num_circuits * len(sizes)):
        repetition, position = divmod(index, len(sizes))
        size = sizes[position]
        circuit = QuantumCircuit(size, name=f"ghz_{index:04d}")
        circuit.h(0)
        for control, target in _links(size, method):
            circuit.cx(control, target)
        circuit.measure_all()
        circuit.metadata = {
            "family": "ghz",
            "num_qubits": size,
            "method": method,
            "repetition": repetition,
        }
        yield circuit


def _links(size: int, method: Literal["linear", "log"]) -> list[tuple[int, int]]:
    if method == "linear":
        return [(qubit, qubit + 1) for qubit in range(size - 1)]
    links = []
    width = 1
    while width < size:
        links += [(qubit, qubit + width) for qubit in range(min(width, size - width))]
        width *= 2
    return links
