"""Trotterised dynamics of the transverse-field Ising chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp


def ising_pubs(
    *,
    steps: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)],
    num_qubits: Annotated[int, Field(ge=2)] = 6,
    coupling: Annotated[float, Field(allow_inf_nan=False)] = 1.0,
    field: Annotated[float, Field(allow_inf_nan=False)] = 1.0,
    dt: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.25,
    order: Literal[1, 2] = 2,
    periodic: bool = False,
    seed_sequence: np.random.SeedSequence,
) -> Iterator[tuple[QuantumCircuit, list[SparsePauliOp]]]:
    """Evolution of |0...0> under H = -coupling sum Z_i Z_j - field sum X_i, one PUB per time.

    Sources: Lloyd, Science 273, 1073 (1996) for the product formula, and its symmetrised second
    order; Kim et al., Nature 618, 500 (2023) for this circuit on IBM's devices. With
    exp(-i H dt), a bond is `rzz(-2 coupling dt)` and a field `rx(-2 field dt)`; the error of an
    expectation value at a fixed time is O(dt) for order 1 and O(dt^2) for order 2.

    The observables, of shape `(1 + number of bonds,)`, are the magnetisation (1/n) sum Z_i and the
    correlator Z_i Z_j of each bond; `metadata["observables"]` names them in that order.

    Args:
        steps: Numbers of Trotter steps; the time of a PUB is `steps * dt`.
        num_qubits: Length of the chain.
        coupling: Ising coupling, an energy with hbar = 1.
        field: Transverse field, in the same unit.
        dt: Time per Trotter step, in the inverse unit.
        order: Order of the product formula.
        periodic: Whether the chain is closed to a ring (from 3 qubits on).
        seed_sequence: Supplied by qexp; these circuits draw nothing.

    Yields:
        Estimator PUBs: circuit and observables.
    """
    del seed_sequence
    bonds = _bonds(num_qubits, periodic)
    names = ["magnetisation", *(f"zz_{first}_{second}" for first, second in bonds)]
    for index, num_steps in enumerate(steps):
        circuit = _evolution(
            num_qubits,
            bonds,
            num_steps,
            bond_phase=coupling * dt,
            field_phase=field * dt,
            order=order,
        )
        circuit.name = f"ising_{index:04d}"
        circuit.metadata = {
            "family": "ising",
            "num_qubits": num_qubits,
            "steps": num_steps,
            "time": num_steps * dt,
            "coupling": coupling,
            "field": field,
            "order": order,
            "periodic": periodic,
            "observables": names,
        }
        yield circuit, _observables(num_qubits, bonds)


def _bonds(num_qubits: int, periodic: bool) -> list[tuple[int, int]]:
    # Even bonds before odd ones: each set acts on disjoint qubits, so a step is two deep.
    chain = [(qubit, qubit + 1) for qubit in range(num_qubits - 1)]
    ring = [(num_qubits - 1, 0)] if periodic and num_qubits > 2 else []
    return chain[::2] + chain[1::2] + ring


def _evolution(
    num_qubits: int,
    bonds: list[tuple[int, int]],
    num_steps: int,
    *,
    bond_phase: float,
    field_phase: float,
    order: Literal[1, 2],
) -> QuantumCircuit:
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    qubits = range(num_qubits)
    for _ in range(num_steps):
        circuit.rx(-2 * field_phase / order, qubits)
        for first, second in bonds:
            circuit.rzz(-2 * bond_phase, first, second)
        if order == 2:
            circuit.rx(-field_phase, qubits)
    return circuit


def _observables(num_qubits: int, bonds: list[tuple[int, int]]) -> list[SparsePauliOp]:
    from qiskit.quantum_info import SparsePauliOp

    single = [("Z", [qubit], 1 / num_qubits) for qubit in range(num_qubits)]
    correlators = [[("ZZ", list(bond), 1.0)] for bond in bonds]
    return [
        SparsePauliOp.from_sparse_list(terms, num_qubits=num_qubits)
        for terms in [single, *correlators]
    ]
