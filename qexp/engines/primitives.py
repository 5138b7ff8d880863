"""The one adapter to IBM's primitives, client-side or legacy, on the service or in local mode."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qexp.core.estimate import is_twirled
from qexp.core.model import PrimitiveKind, PrimitiveSpec
from qexp.engines.options import MAX_TAGS, build_options, dump_options, silence_deprecations
from qexp.engines.payload import wire_bytes
from qexp.errors import EngineError, PlanError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub

_EXECUTOR_SCHEMA = "v2.0"

# Of one PUB: names of types and fields, the shots.
_JSON_BYTES = 100


@dataclass(frozen=True)
class Primitive:
    """One of IBM's primitives, ready to run the PUBs of one job.

    Attributes:
        spec: What was declared.
        inner: IBM's Sampler or Estimator, bound to its mode.
    """

    spec: PrimitiveSpec
    inner: Any

    def run(self, pubs: Sequence[Pub]) -> Any:
        """Submit the PUBs as one job.

        Args:
            pubs: ISA PUBs. A client-side primitive wants one shots value (or precision) for all.

        Returns:
            `RuntimeJobV2`, or `LocalRuntimeJob` in local mode.
        """
        silence_deprecations()
        if self.spec.kind == "sampler":
            return self.inner.run(pubs, shots=self.spec.shots)
        return self.inner.run(pubs, precision=self.spec.precision)

    @property
    def options(self) -> dict[str, Any]:
        """The options as finalised, JSON-able."""
        return dump_options(self.spec.implementation, self.inner.options)


def make_primitive(
    spec: PrimitiveSpec, mode: Any, tags: Sequence[str] = (), *, seed: int | None = None
) -> Primitive:
    """Make the primitive that runs one job.

    Args:
        spec: The primitive as declared.
        mode: The `qiskit_ibm_runtime.Batch` that the job belongs to. It is always given: IBM's
            primitives look for an open batch in a context variable that worker threads lack.
        tags: Tags of the job, besides the declared ones.
        seed: Seed of the simulation in local mode, unless one is declared.

    Raises:
        EngineError: More tags than a job may have.
    """
    options = build_options(spec.kind, spec.implementation, spec.options)
    merged = list(dict.fromkeys([*tags, *(options.environment.job_tags or ())]))
    if len(merged) > MAX_TAGS:
        raise EngineError(
            f"a job cannot have {len(merged)} tags ({', '.join(merged)}), at most {MAX_TAGS}: "
            "declare fewer in options.environment.job_tags"
        )
    options.environment.job_tags = merged
    if seed is not None and not isinstance(options.simulator.seed_simulator, int):
        options.simulator.seed_simulator = seed
    return Primitive(spec, _class_of(spec)(mode=mode, options=options))


def encoded_bytes(spec: PrimitiveSpec, pub: Pub, backend: BackendV2, qpy: bytes) -> int:
    """Size of one PUB on the wire.

    Where the circuit is sent as it is, by the legacy primitives and by the client-side Sampler
    without twirling and dynamical decoupling, it follows from the circuit's QPY. Elsewhere the PUB
    is prepared and encoded as the client does it. For twirling, dynamical decoupling and the
    client-side Estimator that takes tens of milliseconds, because the client compiles the
    circuit; twirling makes the payload up to 200 times larger. Circuits of one job are compressed
    together, so that the sum over its PUBs is an upper bound.

    Args:
        spec: The primitive as declared.
        pub: The ISA PUB.
        backend: The backend that it will run on.
        qpy: Its circuit in QPY, as the archive has it.

    Returns:
        Bytes of JSON.

    Raises:
        PlanError: The primitive cannot run this PUB.
    """
    if _sends_circuit(spec) and _is_stored_as_sent(pub.circuit):
        return wire_bytes(spec, pub, qpy) + _JSON_BYTES
    if spec.implementation == "legacy":
        from qiskit_ibm_runtime.json import RuntimeEncoder

        return len(json.dumps(pub, cls=RuntimeEncoder))
    fields = _encoded(*_prepared(spec, pub, backend), spec.kind)["quantum_program"]
    # Options are passed through too, once per job: they are not this PUB's share.
    (fields["passthrough_data"] or {}).get("post_processor", {}).pop("options", None)
    return sum(len(json.dumps(fields[name])) for name in ("circuits", "items", "passthrough_data"))


def _encoded(program: Any, options: Any, kind: PrimitiveKind) -> dict[str, Any]:
    """What the client's executor would send."""
    from qiskit_ibm_runtime.quantum_program.params_converters import (
        QUANTUM_PROGRAM_PARAMS_CONVERTERS,
    )

    # The executor wants to know which post-processing its result is for.
    program._semantic_role = f"{kind}_v2"
    encoded = QUANTUM_PROGRAM_PARAMS_CONVERTERS[_EXECUTOR_SCHEMA].encoder(program, options)
    fields: dict[str, Any] = encoded.model_dump(mode="json")
    return fields


def _sends_circuit(spec: PrimitiveSpec) -> bool:
    """Whether a primitive sends the circuit of a PUB unchanged."""
    if spec.implementation == "legacy":
        return True
    decoupling = (spec.options.get("dynamical_decoupling") or {}).get("enable")
    return spec.kind == "sampler" and not is_twirled(spec) and not decoupling


def _is_stored_as_sent(circuit: QuantumCircuit) -> bool:
    """Whether the client can send whatever the archive can store of a circuit.

    The archive has a form of its own for delays, and the client refuses boxes.
    """
    return not circuit.has_control_flow_op() and "delay" not in circuit.count_ops()


def _prepared(spec: PrimitiveSpec, pub: Pub, backend: BackendV2) -> tuple[Any, Any]:
    """The client's program and options for one PUB.

    Raises:
        PlanError: The primitive cannot run this PUB.
    """
    from qiskit_ibm_runtime.exceptions import IBMInputValueError

    options = build_options(spec.kind, spec.implementation, spec.options)
    default = spec.shots if spec.kind == "sampler" else spec.precision
    try:
        prepared: tuple[Any, Any] = _client_prepare(spec.kind)(
            [pub], options, default, backend=backend
        )
    except IBMInputValueError as error:
        raise PlanError(
            f"circuit {pub.circuit.name!r}: the client-side {spec.kind} cannot run it: "
            f"{' '.join(error.message.split())}"
        ) from None
    return prepared


def _client_prepare(kind: PrimitiveKind) -> Any:
    if kind == "sampler":
        from qiskit_ibm_runtime.executor_sampler.prepare import prepare as prepare_samples

        return prepare_samples
    from qiskit_ibm_runtime.executor_estimator.prepare import prepare as prepare_estimates

    return prepare_estimates


def _class_of(spec: PrimitiveSpec) -> Any:
    # By module path: IBM announces that the top-level names will change their meaning.
    if spec.implementation == "client":
        if spec.kind == "sampler":
            from qiskit_ibm_runtime.executor_sampler import Sampler

            return Sampler
        from qiskit_ibm_runtime.executor_estimator import Estimator

        return Estimator
    if spec.kind == "sampler":
        from qiskit_ibm_runtime.sampler import SamplerV2

        return SamplerV2
    from qiskit_ibm_runtime.estimator import EstimatorV2

    return EstimatorV2
