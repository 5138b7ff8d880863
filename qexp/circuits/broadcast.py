"""An Estimator and a Sampler PUB that broadcast to shape (3, 2), from IBM's guide.

Source: https://quantum.cloud.ibm.com/docs/guides/run-jobs-batch runs these two in one batch. Its
circuit has one parameter, so that values of shape (3, 2) are 3 x 2 parameter sets; its three
observables have the shape (3, 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from qexp.core.seeds import child
from qexp.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qiskit import QuantumCircuit


def estimator_pubs(
    *,
    parameter_sets: list[Annotated[int, Field(gt=0)]],
    num_circuits: Annotated[int, Field(gt=0)] = 1,
    seed_sequence: np.random.SeedSequence,
) -> Iterator[tuple[Any, ...]]:
    """The guide's Estimator PUB: one parameter, the observables (XX + IY)/2, XX and IY.

    Args:
        parameter_sets: Shape of the array of parameter sets; it must broadcast with the
            observables' shape (3, 1). [3, 2] gives each observable its own two values, [2] all
            three the same two; the PUB has the shape (3, 2) either way.
        num_circuits: Number of PUBs, each with values of its own, uniform in [0, 1).
        seed_sequence: Supplied by qexp.

    Yields:
        Estimator PUBs: circuit, observables of shape (3, 1), values of shape
        `(*parameter_sets, 1)`.

    Raises:
        ConfigError: `parameter_sets` does not broadcast with (3, 1).
    """
    import numpy as np
    from qiskit.quantum_info import SparsePauliOp

    try:
        np.broadcast_shapes(tuple(parameter_sets), (3, 1))
    except ValueError:
        raise ConfigError(
            f"circuits.parameter_sets: got {list(parameter_sets)}; it must broadcast with the "
            f"shape [3, 1] of the observables, such as [3, 2] or [2]"
        ) from None
    observables = [
        [SparsePauliOp(["XX", "IY"], [0.5, 0.5])],
        [SparsePauliOp("XX")],
        [SparsePauliOp("IY")],
    ]
    for index in range(num_circuits):
        circuit = _circuit(f"broadcast_estimator_{index:04d}", parameter_sets)
        yield circuit, observables, _values(parameter_sets, seed_sequence, index)


def sampler_pubs(
    *,
    parameter_sets: list[Annotated[int, Field(gt=0)]],
    num_circuits: Annotated[int, Field(gt=0)] = 1,
    seed_sequence: np.random.SeedSequence,
) -> Iterator[tuple[Any, ...]]:
    """The guide's Sampler PUB: the same circuit, measured twice, into two registers.

    The registers are `meas` and `meas_again` (the guide's second name depends on what the process
    did before). Without noise both hold the same bits in every shot.

    Args:
        parameter_sets: Shape of the array of parameter sets.
        num_circuits: Number of PUBs, each with values of its own, uniform in [0, 1).
        seed_sequence: Supplied by qexp.

    Yields:
        Sampler PUBs: circuit, values of shape `(*parameter_sets, 1)`.
    """
    from qiskit import ClassicalRegister

    for index in range(num_circuits):
        circuit = _circuit(f"broadcast_sampler_{index:04d}", parameter_sets)
        for name in ("meas", "meas_again"):
            register = ClassicalRegister(circuit.num_qubits, name)
            circuit.add_register(register)
            circuit.barrier()
            circuit.measure(circuit.qubits, register)
        yield circuit, _values(parameter_sets, seed_sequence, index)


def _circuit(name: str, parameter_sets: list[int]) -> QuantumCircuit:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

    circuit = QuantumCircuit(
        2, name=name, metadata={"family": "broadcast", "parameter_sets": list(parameter_sets)}
    )
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.ry(Parameter("a"), 0)
    circuit.cx(0, 1)
    circuit.h(0)
    return circuit


def _values(
    parameter_sets: list[int], seed_sequence: np.random.SeedSequence, index: int
) -> NDArray[np.float64]:
    import numpy as np

    rng = np.random.default_rng(child(seed_sequence, index))
    return rng.uniform(size=(*parameter_sets, 1))
