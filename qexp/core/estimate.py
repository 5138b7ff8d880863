"""What a PUB costs on a QPU, predicted before anything is submitted.

Pure arithmetic on Qiskit's containers; the formulas are IBM's published ones, cited where used.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit.transpiler import Target

    from qexp.core.model import PrimitiveSpec

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


def control_instructions(tallied: Mapping[tuple[str, tuple[int, ...]], int]) -> int:
    """Control-system instructions on the busiest qubit of an ISA circuit, by IBM's heuristic.

    Args:
        tallied: The circuit's `tally`.
    """
    load: Counter[int] = Counter()
    for (name, qubits), number in tallied.items():
        weight = CONTROL_INSTRUCTIONS.get(name, 0)
        if weight:
            for qubit in qubits:
                load[qubit] += weight * number
    return max(load.values(), default=0)


def twirling_shots(
    shots: int, num_randomizations: int | str, shots_per_randomization: int | str
) -> tuple[int, int]:
    """How shots are divided over the randomizations of twirling.

    The rule of `TwirlingOptions`:
    https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime/options-twirling-options

    Args:
        shots: Shots of the PUB.
        num_randomizations: A number or `"auto"`.
        shots_per_randomization: A number or `"auto"`.

    Returns:
        Number of randomizations, and shots of each. Their product may exceed `shots`.
    """
    if shots_per_randomization == "auto":
        if num_randomizations == "auto":
            each = max(64, math.ceil(shots / 32))
        else:
            each = math.ceil(shots / int(num_randomizations))
    else:
        each = int(shots_per_randomization)
    if num_randomizations == "auto":
        return math.ceil(shots / each), each
    return int(num_randomizations), each


def is_twirled(primitive: PrimitiveSpec) -> bool:
    """Whether a primitive twirls gates or measurements, IBM's defaults applied.

    A Sampler twirls only when told to; an Estimator twirls measurements from resilience level 1
    (its default) on, and whatever mitigates noise forces twirling:
    https://quantum.cloud.ibm.com/docs/guides/configure-error-mitigation
    """
    twirling = _section(primitive, "twirling")
    if twirling.get("enable_gates") or twirling.get("enable_measure"):
        return True
    if primitive.kind == "sampler":
        return False
    resilience = _section(primitive, "resilience")
    level = primitive.options.get("resilience_level", 1)
    mitigated = resilience.get("measure_mitigation")
    if (level >= 1 if mitigated is None else mitigated) or resilience.get("pec_mitigation"):
        return True
    gates, measurements = twirling.get("enable_gates"), twirling.get("enable_measure")
    return (gates is None and level >= 2) or (measurements is None and level >= 1)


def shots_executed(shots: int, primitive: PrimitiveSpec) -> int:
    """Executions of one circuit that is asked for `shots` shots: more where twirling rounds up."""
    if not is_twirled(primitive):
        return shots
    twirling = _section(primitive, "twirling")
    return math.prod(
        twirling_shots(
            shots,
            twirling.get("num_randomizations", "auto"),
            twirling.get("shots_per_randomization", "auto"),
        )
    )


def sampler_configurations(pub: SamplerPub) -> int:
    """Circuits that are executed for a Sampler PUB: its parameter sets."""
    return int(pub.parameter_values.size)


def estimator_configurations(pub: EstimatorPub) -> int:
    """Circuits that are executed for an Estimator PUB: pairs of parameter set and basis.

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


def shots_for(precision: float) -> int:
    """Shots that give a standard error of `precision` for a Pauli observable: `1/precision^2`."""
    from qexp.simulator import observables

    return observables.shots_for(precision)


def circuit_duration_s(circuit: QuantumCircuit, target: Target) -> float:
    """Duration of one execution, from the target's gate durations.

    Zero where it cannot be told (control flow, parametrised delays, an ideal simulator): the
    repetition delay is then all that is counted, and it is usually by far the larger part.
    """
    from qiskit.exceptions import QiskitError

    try:
        return float(circuit.estimate_duration(target))
    except QiskitError:
        return 0.0


def rep_delay_s(primitive: PrimitiveSpec, backend: Any) -> float:
    """The delay between executions: as declared, else the backend's default, else 250 µs."""
    declared = _section(primitive, "execution").get("rep_delay")
    if declared is not None:
        return float(declared)
    default = getattr(backend, "default_rep_delay", None)
    return DEFAULT_REP_DELAY_S if default is None else float(default)


def qpu_s(executions: int, rep_delay_s: float, duration_s: float) -> float:
    """Predicted QPU seconds of `executions` circuits, without the overhead of the job.

    `(rep_delay + circuit duration) x executions`, to which IBM adds about 2 s per job; error
    mitigation's own executions are not in it:
    https://quantum.cloud.ibm.com/docs/guides/estimate-job-run-time
    """
    return (rep_delay_s + duration_s) * executions


def _section(primitive: PrimitiveSpec, name: str) -> Mapping[str, Any]:
    return primitive.options.get(name) or {}
