"""Which method simulates the shots of a noisy circuit in the least time.

The costs are rough times in microseconds, measured once on one core: only their order matters, and
the choice must not depend on the machine, because the method decides which shots a seed gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qexp.engines.local.exact import Final

Trajectories: TypeAlias = Literal["statevector", "matrix_product_state"]

# Its state is 32 MiB, and some copies of that.
_MAX_EXACT_QUBITS = 11

# Beyond, a state does not fit the memory of an ordinary machine.
_MAX_STATEVECTOR_QUBITS = 26


def is_exact_cheaper(final: Final, shots: int) -> bool:
    """Whether to evolve the density matrix once instead of a state per shot."""
    width = len(final.qubits)
    if width > _MAX_EXACT_QUBITS:
        return False
    exact_us = 6 * final.gates + (final.pair_gates + width) * (25 + 0.004 * 4**width)
    return exact_us < shots * final.gates * _statevector_us(width)


def trajectories(circuit: QuantumCircuit) -> Trajectories:
    """Aer's method for a state per shot.

    A matrix product state costs what its bond dimension does, which is at most doubled by every
    gate across the bond (gates on two qubits of IBM's devices have operator Schmidt rank 2), and
    at most 2 to the number of qubits on its shorter side.
    """
    width = circuit.num_qubits
    if width > _MAX_STATEVECTOR_QUBITS:
        return "matrix_product_state"
    crossings = [0] * max(width - 1, 1)
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        if len(instruction.qubits) > 1:
            places = [index[qubit] for qubit in instruction.qubits]
            for bond in range(min(places), max(places)):
                crossings[bond] += 1
    ranks = [min(count, i + 1, width - 1 - i) for i, count in enumerate(crossings)]
    bond_dimension = 2 ** max(ranks)
    matrix_product_us = 10 + 0.1 * bond_dimension**3
    return "matrix_product_state" if matrix_product_us < _statevector_us(width) else "statevector"


def _statevector_us(width: int) -> float:
    """Of one gate and shot, with its noise."""
    return 2 + 0.01 * 2.0**width
