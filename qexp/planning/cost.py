"""The cost of a PUB in each dimension that bounds a job, measured or predicted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from qexp.core.bounds import Load
from qexp.core.mitigation import Executions, executions, injects_noise
from qexp.core.model import Implementation, PlannedPub, PrimitiveSpec
from qexp.core.protocols import Engine
from qexp.errors import PlanError, QexpError
from qexp.planning.checks import Tally
from qexp.text import typed_reason

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.providers import BackendV2
    from qiskit.transpiler import Target

    from qexp.core.model import Pub

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


class Shared(NamedTuple):
    """The part of a cost that the PUBs of a job share: what calibrates the job."""

    executions: int = 0
    payload_bytes: int = 0
    qpu_s: float = 0.0


_NOTHING_SHARED = Shared()


class Delays(NamedTuple):
    """Times in seconds that come on top of each execution of a circuit."""

    repetition_s: float
    readout_s: float  # in which all qubits are measured in any basis, where it is known


@dataclass(frozen=True)
class Footprint:
    """The cost of one PUB, or of consecutive PUBs together, in a job of their own.

    Attributes:
        executions: Circuit executions: parameter sets x shots (twirling: randomizations x shots
            per randomization). For an Estimator: parameter sets x measurement bases x shots x noise
            factors, and the calibration of the job.
    """

    shots: int | None  # shots of a Sampler PUB, or None
    precision: float | None  # precision of an Estimator PUB, or None
    executions: int
    payload_bytes: int  # size of the encoded PUB on the wire, measured or estimated
    qpu_s: float  # predicted time on the QPU, without the per-job overhead
    control_instructions: int  # control instructions on the busiest qubit, over all parameter sets
    shared: Shared = _NOTHING_SHARED  # the part that is counted once for all PUBs of a job

    @property
    def load(self) -> Load:
        """The amounts that are bounded."""
        return Load(self.executions, self.payload_bytes, self.qpu_s, self.control_instructions)

    def __add__(self, other: Footprint) -> Footprint:
        """Add the PUBs that follow, which have the same shots and precision."""
        pairs = list(zip(self.shared, other.shared, strict=True))
        # The calibration is as wide as the widest circuit.
        executions, payload_bytes, qpu_s = map(min, pairs)
        return Footprint(
            other.shots,
            other.precision,
            self.executions + other.executions - int(executions),
            self.payload_bytes + other.payload_bytes - int(payload_bytes),
            self.qpu_s + other.qpu_s - qpu_s,
            # The busiest qubit of all carries at most the sum of what those of each carry.
            self.control_instructions + other.control_instructions,
            Shared._make(map(max, pairs)),
        )


def footprint(
    pub: PlannedPub,
    counts: Tally,
    primitive: PrimitiveSpec,
    backend: BackendV2,
    delays: Delays,
    engine: Engine,
    qpy: bytes,
    bound_bytes: float = math.inf,
) -> Footprint:
    """Return the cost of an ISA PUB.

    Args:
        pub: The PUB.
        counts: The `tally` of its ISA circuit.
        primitive: The primitive that will run it, with its options.
        backend: The backend; it gives the gate durations.
        delays: See `delays_of`.
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
        shots, precision = isa.shots, None
        executed = executions(isa.shots, primitive)
        configurations = isa.parameter_values.size
    else:
        shots, precision = None, isa.precision
        executed = executions(shots_for(isa.precision), primitive)
        configurations = estimator_configurations(isa, primitive.implementation)
    try:
        size = engine.payload_bytes(primitive, isa, backend, qpy, bound_bytes)
    except QexpError:
        raise
    except Exception as error:
        raise PlanError(
            f"PUB {pub.index} of workload '{pub.workload}': circuit '{pub.logical.circuit.name}' "
            f"cannot be encoded for the {primitive.kind} ({primitive.implementation}): "
            f"{typed_reason(error)}; change the circuit or primitive.options"
        ) from error
    each_s, shared_s = _durations_s(pub.isa, executed, primitive, backend.target, delays)
    shared = Shared(executed.readout + executed.learning, size.shared, shared_s)
    return Footprint(
        shots,
        precision,
        configurations * executed.of_configuration + shared.executions,
        size.total,
        configurations * each_s + shared.qpu_s,
        configurations * control_instructions(counts),
        shared,
    )


def _durations_s(
    isa: Pub, executed: Executions, primitive: PrimitiveSpec, target: Target, delays: Delays
) -> tuple[float, float]:
    """Return the predicted QPU seconds of a configuration, and of the job's calibration.

    IBM's formula, to which it adds about 2 s per job:
    https://quantum.cloud.ibm.com/docs/guides/estimate-job-run-time. An Estimator's circuits are
    measured by the client. Folding makes them longer by the noise factor; PEA does not. What
    twirling adds between layers is left out.
    """
    delay_s = delays.repetition_s
    circuit_s = circuit_duration_s(isa.circuit, target)
    if primitive.kind == "sampler":
        return (delay_s + circuit_s) * executed.each, 0.0
    delay_s += delays.readout_s
    folded = (
        [1.0] * len(executed.noise_factors) if injects_noise(primitive) else executed.noise_factors
    )
    each_s = sum(executed.each * (delay_s + factor * circuit_s) for factor in folded)
    return each_s, delay_s * (executed.readout + executed.learning)


def control_instructions(counts: Tally) -> int:
    """Count the control-system instructions on the busiest qubit of an ISA circuit."""
    load: Counter[int] = Counter()
    for (name, qubits), number in counts.items():
        if weight := CONTROL_INSTRUCTIONS.get(name, 0):
            for qubit in qubits:
                load[qubit] += weight * number
    return max(load.values(), default=0)


def estimator_configurations(pub: EstimatorPub, implementation: Implementation) -> int:
    """Count the circuits that are executed for an Estimator PUB: parameter sets times bases.

    IBM's client groups the Paulis of each parameter set, in their order, into bases that commute
    qubit by qubit. For the legacy Estimator all Paulis of the PUB are grouped; a parameter set is
    executed in those bases that its own observables need. The rule of `default_shots`:
    https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime/options-estimator-options
    """
    from qexp.simulator.observables import group_into_bases, group_paulis, selections

    observables = pub.observables.ravel().tolist()
    selected = selections(pub)
    if implementation == "client":
        needed = [
            len(group_paulis(term for index in row for term in observables[index]))
            for row in selected.observables.tolist()
        ]
    else:
        basis_of = {
            term: number
            for number, basis in enumerate(group_into_bases(frozenset(chain(*observables))))
            for term in basis.terms
        }
        needed = [
            len({basis_of[term] for index in row for term in observables[index]})
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


def delays_of(primitive: PrimitiveSpec, backend: BackendV2) -> Delays:
    """Return the delays of all PUBs of a primitive on a backend, which are slow to read."""
    target = backend.target
    readout_s = sum(
        times * max((each.duration or 0.0 for each in target[name].values() if each), default=0.0)
        for name, times in (("sx", 2), ("measure", 1))
        if name in target
    )
    return Delays(rep_delay_s(primitive, backend), readout_s)


def rep_delay_s(primitive: PrimitiveSpec, backend: Any) -> float:
    """Return the delay between executions: as declared, else the backend's default, else 250 µs."""
    declared = (primitive.options.get("execution") or {}).get("rep_delay")
    if declared is not None:
        return float(declared)
    default = getattr(backend, "default_rep_delay", None)
    return DEFAULT_REP_DELAY_S if default is None else float(default)
