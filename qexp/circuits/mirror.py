"""Mirror circuits: as hard to run as random circuits, with one known ideal outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from qexp.core.seeds import child

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit

_COSETS = ((), ("h",), ("s",), ("s", "h"), ("h", "s"), ("h", "s", "h"))
"""The 24 single-qubit Cliffords up to a Pauli, as gates in order of application."""

_INVERSE = {"h": "h", "s": "sdg"}


@dataclass(frozen=True)
class _Layer:
    """One layer of Cliffords: a coset per qubit, then CNOTs on disjoint neighbours."""

    cosets: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]


def mirror_circuits(
    *,
    depths: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)],
    num_circuits: Annotated[int, Field(gt=0)] = 10,
    num_qubits: Annotated[int, Field(gt=0)] = 5,
    two_qubit_density: Annotated[float, Field(ge=0, le=1)] = 0.5,
    seed_sequence: np.random.SeedSequence,
) -> Iterator[QuantumCircuit]:
    """Random Clifford layers, a random Pauli, and the layers' inverses in reverse order.

    Source: Proctor et al., Nat. Phys. 18, 75 (2022), arXiv:2008.11294. As there, every layer of
    both halves has random Paulis of its own, which keep coherent errors of the first half from
    being undone by the second. A layer is, on each qubit, a Pauli and a Clifford drawn uniformly
    from the 24, then CNOTs on some neighbouring qubits of a line. The circuit maps |0...0> to one
    bit string, `metadata["ideal_bitstring"]`, in the order of `get_counts()` (qubit 0 last).
    Barriers between the layers keep the transpiler from cancelling one half against the other.

    Args:
        depths: Numbers of layers of the first half.
        num_circuits: Circuits per depth. They are spread over the run: depth by depth, then again
            from the first, so that more of them extend the list at its end.
        num_qubits: Qubits of each circuit.
        two_qubit_density: Probability of a CNOT on each of a layer's disjoint pairs of neighbours.
        seed_sequence: Supplied by qexp.

    Yields:
        Sampler PUBs: measured circuits.
    """
    import numpy as np

    for index in range(num_circuits * len(depths)):
        repetition, position = divmod(index, len(depths))
        depth = depths[position]
        rng = np.random.default_rng(child(seed_sequence, index))
        circuit = _mirror(num_qubits, depth, two_qubit_density, rng)
        ideal = _ideal_bitstring(circuit)
        circuit.measure_all()
        circuit.name = f"mirror_{index:04d}"
        circuit.metadata = {
            "family": "mirror",
            "num_qubits": num_qubits,
            "depth": depth,
            "two_qubit_density": two_qubit_density,
            "repetition": repetition,
            "ideal_bitstring": ideal,
        }
        yield circuit


def _mirror(
    num_qubits: int, depth: int, density: float, rng: np.random.Generator
) -> QuantumCircuit:
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    layers = [_draw_layer(num_qubits, density, rng) for _ in range(depth)]
    for layer in layers:
        _append_paulis(circuit, rng)
        for qubit, coset in enumerate(layer.cosets):
            for gate in _COSETS[coset]:
                getattr(circuit, gate)(qubit)
        for control, target in layer.pairs:
            circuit.cx(control, target)
        circuit.barrier()
    _append_paulis(circuit, rng)
    for layer in reversed(layers):
        circuit.barrier()
        for control, target in layer.pairs:
            circuit.cx(control, target)
        for qubit, coset in enumerate(layer.cosets):
            for gate in reversed(_COSETS[coset]):
                getattr(circuit, _INVERSE[gate])(qubit)
        _append_paulis(circuit, rng)
    return circuit


def _draw_layer(num_qubits: int, density: float, rng: np.random.Generator) -> _Layer:
    cosets = rng.integers(len(_COSETS), size=num_qubits)
    first = int(rng.integers(2))
    candidates = [(qubit, qubit + 1) for qubit in range(first, num_qubits - 1, 2)]
    kept = rng.random(len(candidates)) < density
    return _Layer(
        cosets=tuple(int(coset) for coset in cosets),
        pairs=tuple(pair for pair, keep in zip(candidates, kept, strict=True) if keep),
    )


def _append_paulis(circuit: QuantumCircuit, rng: np.random.Generator) -> None:
    for qubit, pauli in enumerate(rng.integers(4, size=circuit.num_qubits)):
        if pauli:
            getattr(circuit, "xyz"[pauli - 1])(qubit)


def _ideal_bitstring(circuit: QuantumCircuit) -> str:
    # The circuit is a Pauli, so it maps the stabilizers Z_i of |0...0> to ±Z_i; the sign is bit i.
    from qiskit.quantum_info import Clifford

    signs = Clifford(circuit).stab_phase
    return "".join("1" if sign else "0" for sign in reversed(signs))
