"""The hardware-efficient SU(2) ansatz with random parameter sets, for either primitive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from qexp.core.seeds import child
from qexp.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from qiskit.primitives.containers.observables_array import ObservablesArray
    from qiskit.quantum_info import SparsePauliOp

Entanglement = Literal["linear", "reverse_linear", "full", "circular", "sca", "pairwise"]


def efficient_su2_pubs(
    *,
    num_circuits: Annotated[int, Field(gt=0)] = 1,
    num_qubits: Annotated[int, Field(gt=0)] = 4,
    reps: Annotated[int, Field(ge=0)] = 2,
    su2_gates: Annotated[list[Literal["rx", "ry", "rz"]], Field(min_length=1)],
    entanglement: Entanglement = "reverse_linear",
    parameter_sets: list[Annotated[int, Field(gt=0)]],
    observables: Annotated[list[str | dict[str, float]], Field(min_length=1)] | None = None,
    measure: bool = False,
    seed_sequence: np.random.SeedSequence,
) -> Iterator[tuple[Any, ...]]:
    """The ansatz with parameter values drawn uniformly from [-pi, pi).

    Source: Kandala et al., Nature 549, 242 (2017), arXiv:1704.05018, as Qiskit's `efficient_su2`.

    Args:
        num_circuits: Number of PUBs: the same ansatz, each with values of its own.
        num_qubits: Qubits of the ansatz.
        reps: Number of entangling layers.
        su2_gates: The rotations of each rotation layer.
        entanglement: Which qubits an entangling layer couples.
        parameter_sets: Shape of the array of parameter sets of each PUB: [3, 2] gives values of
            shape `(3, 2, number of parameters)`, [] one set.
        observables: Each a Pauli string (`ZZII`, qubit 0 last) or a map from Pauli strings to
            coefficients. One observable is measured at every parameter set; m of them at all, as
            an array of shape `(m, 1, ..., 1)` that broadcasts, so that the PUB has the shape
            `(m, *parameter_sets)`. Null for the critical transverse-field Ising chain,
            `-sum Z_i Z_i+1 - sum X_i`.
        measure: Measure all qubits instead, for the Sampler.
        seed_sequence: Supplied by qexp.

    Yields:
        Estimator PUBs (circuit, observables, values), or Sampler PUBs (circuit, values).

    Raises:
        ConfigError: An observable is not one of this many qubits, or there is nothing to observe
            because `measure` is set too.
    """
    import numpy as np
    from qiskit.circuit.library import efficient_su2

    if measure and observables is not None:
        raise ConfigError(
            "circuits.observables: given together with circuits.measure=true; a Sampler circuit "
            "has no observables, so set one of the two to null or false"
        )
    array = None if measure else _array(observables, num_qubits, len(parameter_sets))
    for index in range(num_circuits):
        circuit = efficient_su2(
            num_qubits,
            su2_gates=su2_gates,
            entanglement=entanglement,
            reps=reps,
            parameter_prefix="theta",
        )
        circuit.name = f"efficient_su2_{index:04d}"
        circuit.metadata = {
            "family": "efficient_su2",
            "num_qubits": num_qubits,
            "reps": reps,
            "su2_gates": list(su2_gates),
            "entanglement": entanglement,
            "parameter_sets": list(parameter_sets),
        }
        rng = np.random.default_rng(child(seed_sequence, index))
        values = rng.uniform(-np.pi, np.pi, size=(*parameter_sets, circuit.num_parameters))
        if array is None:
            circuit.measure_all()
            yield circuit, values
        else:
            yield circuit, array, values


def _array(
    declared: list[str | dict[str, float]] | None, num_qubits: int, ndim: int
) -> ObservablesArray:
    from qiskit.primitives.containers.observables_array import ObservablesArray

    if declared is None:
        return ObservablesArray.coerce(_ising(num_qubits))
    operators = [_operator(item, num_qubits) for item in declared]
    if len(operators) == 1:
        return ObservablesArray.coerce(operators[0])
    return ObservablesArray.coerce(operators).reshape((len(operators), *(1,) * ndim))


def _operator(declared: str | Mapping[str, float], num_qubits: int) -> SparsePauliOp:
    from qiskit.quantum_info import SparsePauliOp

    terms = {declared: 1.0} if isinstance(declared, str) else declared
    for pauli in terms:
        if len(pauli) != num_qubits or not set(pauli) <= set("IXYZ"):
            raise ConfigError(
                f"circuits.observables: got '{pauli}'; a Pauli string has one of I, X, Y, Z for "
                f"each of the {num_qubits} qubits (circuits.num_qubits), qubit 0 last"
            )
    if not terms:
        raise ConfigError("circuits.observables: got an empty map; an observable needs a term")
    return SparsePauliOp.from_list(list(terms.items()))


def _ising(num_qubits: int) -> SparsePauliOp:
    from qiskit.quantum_info import SparsePauliOp

    bonds = [("ZZ", [qubit, qubit + 1], -1.0) for qubit in range(num_qubits - 1)]
    fields = [("X", [qubit], -1.0) for qubit in range(num_qubits)]
    return SparsePauliOp.from_sparse_list(bonds + fields, num_qubits=num_qubits)
