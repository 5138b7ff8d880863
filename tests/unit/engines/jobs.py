"""Small jobs for the engines' tests."""

from __future__ import annotations

import io
from typing import Any

from qexp.core.model import JobRequest, Partition, PrimitiveKind, PrimitiveSpec


def isa_pub(kind: PrimitiveKind, backend: Any, shots: int = 50) -> Any:
    """An asymmetric two-qubit PUB: qubit 0 is 1, qubit 1 is 0."""
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit.quantum_info import SparsePauliOp
    from qiskit.transpiler import generate_preset_pass_manager

    passes = generate_preset_pass_manager(
        backend=backend, optimization_level=1, initial_layout=[0, 1]
    )
    circuit = QuantumCircuit(2)
    circuit.x(0)
    if kind == "sampler":
        circuit.measure_all()
        return SamplerPub.coerce(passes.run(circuit), shots)
    isa = passes.run(circuit)
    observable = SparsePauliOp("IZ").apply_layout(isa.layout)
    return EstimatorPub.coerce((isa, observable), shots**-0.5)


def qpy_of(pub: Any) -> bytes:
    """The QPY of a PUB's circuit."""
    from qiskit import qpy

    stream = io.BytesIO()
    qpy.dump(pub.circuit, stream)
    return stream.getvalue()


def request(
    primitive: PrimitiveSpec, pubs: list[Any], *, index: int = 0, tags: tuple[str, ...] = ("t",)
) -> JobRequest:
    """A request for one job with these PUBs."""
    shots = 50 if primitive.kind == "sampler" else None
    partition = Partition(
        index=index,
        workload="main",
        first=0,
        stop=len(pubs),
        shots=shots,
        precision=None,
        executions=50 * len(pubs),
        payload_bytes=1000,
        qpu_s=2.0,
        closed_by="end",
    )
    return JobRequest(partition, primitive, lambda: pubs, tags, seed=11)


def go_on() -> bool:
    """Answer `is_stopped` for a run that nobody stops."""
    return False
