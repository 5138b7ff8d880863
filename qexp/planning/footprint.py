"""Measures and predicts what a PUB costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qexp.core import estimate
from qexp.core.model import Footprint, PlannedPub, PrimitiveSpec
from qexp.core.protocols import Engine
from qexp.errors import PlanError, QexpError
from qexp.text import typed_reason

if TYPE_CHECKING:
    from qiskit.providers import BackendV2


def footprint(
    planned: PlannedPub, primitive: PrimitiveSpec, backend: BackendV2, engine: Engine, qpy: bytes
) -> Footprint:
    """What one ISA PUB costs in each dimension that bounds a job.

    Args:
        planned: The PUB.
        primitive: The primitive that will run it, with its options.
        backend: The backend; it gives the gate durations and the repetition delay.
        engine: Measures the encoded payload.
        qpy: The ISA circuit in QPY.

    Raises:
        PlanError: The primitive's client refuses the PUB with these options.
    """
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    pub = planned.isa
    if isinstance(pub, SamplerPub):
        shots, precision, each = pub.shots, None, pub.shots
        configurations = estimate.sampler_configurations(pub)
    else:
        shots, precision, each = None, pub.precision, estimate.shots_for(pub.precision)
        configurations = estimate.estimator_configurations(pub)
    executions = configurations * estimate.shots_executed(each, primitive)
    return Footprint(
        shots=shots,
        precision=precision,
        executions=executions,
        payload_bytes=_payload_bytes(planned, primitive, backend, engine, qpy),
        qpu_s=estimate.qpu_s(
            executions,
            estimate.rep_delay_s(primitive, backend),
            estimate.circuit_duration_s(pub.circuit, backend.target),
        ),
        control_instructions=configurations * estimate.control_instructions(planned.tally),
    )


def _payload_bytes(
    planned: PlannedPub, primitive: PrimitiveSpec, backend: BackendV2, engine: Engine, qpy: bytes
) -> int:
    try:
        return engine.payload_bytes(primitive, planned.isa, backend, qpy)
    except QexpError:
        raise
    except Exception as error:
        raise PlanError(
            f"PUB {planned.index} of workload '{planned.workload}': circuit "
            f"'{planned.logical.circuit.name}' cannot be encoded for the {primitive.kind} "
            f"({primitive.implementation}): {typed_reason(error)}; change the circuit or "
            f"primitive.options"
        ) from error
