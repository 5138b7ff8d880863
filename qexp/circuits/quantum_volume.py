"""Quantum volume model circuits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from qexp.core.seeds import as_int, child

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit


def quantum_volume_circuits(
    *,
    num_circuits: Annotated[int, Field(gt=0)] = 100,
    num_qubits: Annotated[int, Field(ge=2)] = 5,
    depth: Annotated[int, Field(gt=0)] | None = None,
    seed_sequence: np.random.SeedSequence,
) -> Iterator[QuantumCircuit]:
    """Layers of Haar-random SU(4) on random pairs of qubits, all qubits measured.

    Source: Cross et al., Phys. Rev. A 100, 032328 (2019), arXiv:1811.12926; its protocol needs at
    least 100 circuits.

    Args:
        num_circuits: Number of circuits.
        num_qubits: Qubits of each circuit.
        depth: Layers of each circuit; null for `num_qubits`, the square circuits that define the
            quantum volume.
        seed_sequence: Supplied by qexp.

    Yields:
        Sampler PUBs: measured circuits.
    """
    from qiskit.circuit.library import quantum_volume

    layers = num_qubits if depth is None else depth
    for index in range(num_circuits):
        seed = as_int(child(seed_sequence, index))
        circuit = quantum_volume(num_qubits, layers, seed=seed)
        circuit.measure_all()
        circuit.name = f"quantum_volume_{index:04d}"
        circuit.metadata = {
            "family": "quantum_volume",
            "num_qubits": num_qubits,
            "depth": layers,
            "seed": seed,
        }
        yield circuit
