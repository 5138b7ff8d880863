"""The cost of a PUB in each dimension that bounds a job, measured or predicted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qexp.core.mitigation import shots_executed
from qexp.core.model import PlannedPub, PrimitiveSpec
from qexp.core.protocols import Engine
from qexp.errors import PlanError, QexpError
from qexp.planning.checks import Tally
from qexp.text import typed_reason

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.providers import BackendV2
    from qiskit.transpiler import Target

# Heuristic of IBM's job validation: https://quantum.cloud.ibm.com/docs/guides/job-limits,
# "Maximum number of low-level instructions per qubit". It lists no other instruction; a gate
# with fractional angle is taken for what it replaces.
CONTROL_INSTRUCTIONS: Mapping[str, int] = {
    "rz": 1,
    "delay": 1,
    "sx": 2,
    "x": 2,
    "rx": 2,
    "cx": 5,
    "cz": 5,
    "ecr": 5,
    "rzz": 5,
    "measure": 10,
    "measure_2": 10,
    "reset": 17,
    "init": 50,
}

# `default_rep_delay` of IBM's processors, for backends that do not say theirs.
DEFAULT_REP_DELAY_S = 250e-6


@dataclass(frozen=True)
class Footprint:
    """The cost of one PUB, or of consecutive PUBs together.

    Attributes:
        shots: Shots of a Sampler PUB, or None.
        precision: Precision of an Estimator PUB, or None.
        executions: Circuit executions: parameter sets x shots (twirling: randomizations x shots
            per randomization). For an Estimator: parameter sets x measurement bases x shots.
        payload_bytes: Size of the encoded PUB on the wire, measured or estimated.
        qpu_s: Predicted time on the QPU, without the per-job overhead.
        control_instructions: Control instructions on the busiest qubit, over all parameter sets.
    """

    shots: int | None
    precision: float | None
    executions: int
    payload_bytes: int
    qpu_s: float
    control_instructions: int

    def __add__(self, other: Footprint) -> Footprint:
        """Add the PUBs that follow, which have the same shots and precision."""
        return Footprint(
            other.shots,
            other.precision,
            self.executions + other.executions,
            self.payload_bytes + other.payload_bytes,
            self.qpu_s + other.qpu_s,
            # The busiest qubit of all carries at most the sum of what those of each carry.
            self.control_instructions + other.control_instructions,
        )


def footprint(
    pub: PlannedPub,
    counts: Tally,
    primitive: PrimitiveSpec,
    backend: BackendV2,
    engine: Engine,
    qpy: bytes,
    bound_bytes: float = math.inf,
) -> Footprint:
    """Return the cost of an ISA PUB.

    Args:
        pub: The PUB.
        counts: The `tally` of its ISA circuit.
        primitive: The primitive that will run it, with its options.
        backend: The backend; it gives the gate durations and the repetition delay.
        engine: Measures the encoded payload.
        qpy: The ISA circuit in QPY.
        bound_bytes: The largest payload that a job may have.

    Raises:
        PlanError: The primitive's client refuses the PUB with these options.
    """
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from qexp.simulator.observables import shots_for

    isa = pub.isa
    if isinstance(isa, SamplerPub):
        shots, precision, each = isa.shots, None, isa.shots
        configurations = isa.parameter_values.size
    else:
        shots, precision, each = None, isa.precision, shots_for(isa.precision)
        configurations = estimator_configurations(isa)
    try:
        payload_bytes = engine.payload_bytes(primitive, isa, backend, qpy, bound_bytes)
    except QexpError:
        raise
    except Exception as error:
        raise PlanError(
            f"PUB {pub.index} of workload '{pub.workload}': circuit '{pub.logical.circuit.name}' "
            f"cannot be encoded for the {primitive.kind} ({primitive.implementation}): "
            f"{typed_reason(error)}; change the circuit or primitive.options"
        ) from error
    executions = configurations * shots_executed(each, primitive)
    # IBM's formula, to which it adds about 2 s per job; error mitigation's own executions are not
    # in it: https://quantum.cloud.ibm.com/docs/guides/estimate-job-run-time
    duration_s = circuit_duration_s(isa.circuit, backend.target)
    return Footprint(
        shots,
        precision,
        executions,
        payload_bytes,
        (rep_delay_s(primitive, backend) + duration_s) * executions,
        configurations * control_instructions(counts),
    )


def control_instructions(counts: Tally) -> int:
    """Count the control-system instructions on the busiest qubit of an ISA circuit."""
    load: Counter[int] = Counter()
    for (name, qubits), number in counts.items():
        if weight := CONTROL_INSTRUCTIONS.get(name, 0):
            for qubit in qubits:
                load[qubit] += weight * number
    return max(load.values(), default=0)


def estimator_configurations(pub: EstimatorPub) -> int:
    """Count the circuits that are executed for an Estimator PUB: parameter sets times bases.

    All Paulis of the PUB are grouped into qubit-wise commuting measurement bases; a parameter
    set is executed in those that its own observables need. The rule of `default_shots`:
    https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime/options-estimator-options
    """
    from qexp.simulator.observables import group_into_bases, selections

    terms = [frozenset(observable) for observable in pub.observables.ravel().tolist()]
    bases_of_all = group_into_bases(frozenset().union(*terms))
    basis_of = {term: k for k, basis in enumerate(bases_of_all) for term in basis.terms}
    bases = [frozenset(basis_of[term] for term in observable) for observable in terms]
    selected = selections(pub)
    needed = [
        len(frozenset().union(*(bases[index] for index in row)))
        for row in selected.observables.tolist()
    ]
    return sum(needed[row] for row in selected.of_set.tolist())


def circuit_duration_s(circuit: QuantumCircuit, target: Target) -> float:
    """Return the duration of one execution, from the target's gate durations, in seconds.

    Zero where it is unknown (control flow, parametrised delays, an ideal simulator): the
    repetition delay is then all that is counted, and it is usually by far the larger part.
    """
    from qiskit.exceptions import QiskitError

    try:
        return float(circuit.estimate_duration(target))
    except QiskitError:
        return 0.0


def rep_delay_s(primitive: PrimitiveSpec, backend: Any) -> float:
    """Return the delay between executions: as declared, else the backend's default, else 250 µs."""
    declared = (primitive.options.get("execution") or {}).get("rep_delay")
    if declared is not None:
        return float(declared)
    default = getattr(backend, "default_rep_delay", None)
    return DEFAULT_REP_DELAY_S if default is None else float(default)
