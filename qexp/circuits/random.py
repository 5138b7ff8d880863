"""Random circuits, the workload of IBM's guide "Run jobs in a batch"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from qexp.core.seeds import as_int, child

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit


def random_circuits(
    *,
    num_circuits: Annotated[int, Field(gt=0)] = 500,
    num_qubits: Annotated[int, Field(gt=0)] = 5,
    depth: Annotated[int, Field(ge=0)] = 5,
    max_operands: Annotated[int, Field(ge=1, le=4)] = 4,
    measure: Literal["active", "all"] = "active",
    conditional: bool = False,
    reset: bool = False,
    seed_sequence: np.random.SeedSequence,
) -> Iterator[QuantumCircuit]:
    """Random circuits of Qiskit's standard gates.

    Source: `random_circuit(5, 5)`, 500 of them in jobs of 100, is the example of
    https://quantum.cloud.ibm.com/docs/guides/run-jobs-batch.

    Args:
        num_circuits: Number of circuits.
        num_qubits: Qubits of each circuit.
        depth: Layers of gates of each circuit; 0 gives the bare measurement.
        max_operands: Most qubits that one gate acts on; `num_qubits` binds first.
        measure: `"active"` measures the qubits that a gate acts on, `"all"` every qubit, both
            into the register `meas`. A circuit without any gate has no active qubit: all of its
            qubits are measured, so that a circuit always has at least one measured bit.
        conditional: Insert measurements into a register `c` and gates that depend on them. The
            measurements make every qubit active; a circuit that drew no condition keeps its `c`,
            never written, so that all circuits have the same registers.
        reset: Insert resets.
        seed_sequence: Supplied by qexp.

    Yields:
        Sampler PUBs: measured circuits.
    """
    from qiskit.circuit.random import random_circuit

    for index in range(num_circuits):
        seed = as_int(child(seed_sequence, index))
        circuit = random_circuit(
            num_qubits,
            depth,
            max_operands=max_operands,
            conditional=conditional,
            reset=reset,
            seed=seed,
        )
        if measure == "all" or not circuit.data:
            circuit.measure_all()
        else:
            circuit.measure_active()
        circuit.name = f"random_{index:04d}"
        circuit.metadata = {
            "family": "random",
            "num_qubits": num_qubits,
            "depth": depth,
            "max_operands": max_operands,
            "conditional": conditional,
            "reset": reset,
            "seed": seed,
        }
        yield circuit
