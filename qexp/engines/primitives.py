"""IBM's primitives, client-side or legacy, on the service or in local mode."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qexp.core.mitigation import is_on, is_twirled
from qexp.core.model import PayloadBytes, PrimitiveSpec
from qexp.engines.options import (
    MAX_TAGS,
    build_options,
    client_module,
    dump_options,
    silence_deprecations,
)
from qexp.engines.private_api import encode_program
from qexp.errors import EngineError, PlanError
from qexp.text import one_line

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub

_JSON_BYTES = 100
"""Bytes of the names of types and fields, and of the shots, in one PUB."""

_LARGE_QPY_BYTES = 50_000
"""A smaller circuit is written anew, which takes no longer."""

_CUT_QPY_VERSION = 18

_CLASSES = {
    ("client", "sampler"): ("executor_sampler", "Sampler"),
    ("client", "estimator"): ("executor_estimator", "Estimator"),
    ("legacy", "sampler"): ("sampler", "SamplerV2"),
    ("legacy", "estimator"): ("estimator", "EstimatorV2"),
}


@dataclass(frozen=True)
class Primitive:
    """One of IBM's primitives, ready to run the PUBs of one job."""

    spec: PrimitiveSpec  # as declared
    inner: Any  # IBM's Sampler or Estimator, bound to its mode

    def run(self, pubs: Sequence[Pub]) -> Any:
        """Submit ISA PUBs as one job: a `RuntimeJobV2`, or a `LocalRuntimeJob` in local mode.

        Client-side primitives want the same shots (or precision) for all PUBs.
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
    """Make the primitive that runs one job, with these tags besides the declared ones.

    Without a `mode`, the `qiskit_ibm_runtime.Batch` of the job, IBM's primitives look for an open
    batch in a context variable, which worker threads lack. The seed is that of the simulation in
    local mode, unless one is declared.

    Raises:
        EngineError: More tags than a job may have.
    """
    options = _tagged_options(spec, tags)
    merged = options.environment.job_tags
    if len(merged) > MAX_TAGS:
        raise EngineError(
            f"a job cannot have {len(merged)} tags ({', '.join(merged)}), at most {MAX_TAGS}: "
            "declare fewer in options.environment.job_tags"
        )
    if seed is not None and not isinstance(options.simulator.seed_simulator, int):
        options.simulator.seed_simulator = seed
    return Primitive(spec, _class_of(spec)(mode=mode, options=options))


def finalised_options(spec: PrimitiveSpec, tags: Sequence[str]) -> dict[str, Any]:
    """Return the options of a job that another process submitted; the request decides them."""
    return dump_options(spec.implementation, _tagged_options(spec, tags))


def _tagged_options(spec: PrimitiveSpec, tags: Sequence[str]) -> Any:
    options = build_options(spec.kind, spec.implementation, spec.options)
    options.environment.job_tags = list(
        dict.fromkeys([*tags, *(options.environment.job_tags or ())])
    )
    return options


def encoded_bytes(
    primitive: PrimitiveSpec, pub: Pub, backend: BackendV2, qpy: bytes
) -> PayloadBytes:
    """Return the size of one ISA PUB on the wire, in bytes of JSON.

    Where the circuit is sent as it is, by the legacy primitives and by the client-side Sampler
    without twirling and dynamical decoupling, the size follows from `qpy`, the circuit's QPY in the
    archive. Elsewhere the PUB is prepared and encoded as by the client. For twirling, dynamical
    decoupling and the client-side Estimator that takes tens of milliseconds to half a minute,
    because the client compiles the circuit; twirling makes the payload up to 200 times larger.
    Circuits of one job are compressed together, so that the sum over its PUBs is an upper bound.

    Raises:
        PlanError: The primitive cannot run this PUB.
    """
    if primitive.implementation == "legacy" and primitive.kind == "estimator":
        _check_observables(pub)
    if is_sent_as_stored(primitive, pub.circuit):
        return PayloadBytes(wire_bytes(primitive, pub, qpy) + _JSON_BYTES)
    if primitive.implementation == "legacy":
        from qiskit_ibm_runtime.json import RuntimeEncoder

        return PayloadBytes(len(json.dumps(pub, cls=RuntimeEncoder)))
    program, options = prepare(primitive, pub, backend)
    total, shared = _program_bytes(primitive, program, options), 0
    if is_on(primitive, "resilience.measure_mitigation"):
        # The client calibrates the readout of a job in the last item.
        program.items.pop()
        shared = total - _program_bytes(primitive, program, options)
    return PayloadBytes(total, shared)


def _program_bytes(primitive: PrimitiveSpec, program: Any, options: Any) -> int:
    fields = encode_program(program, options, primitive.kind)["quantum_program"]
    # The options in it are sent once per job, and belong to no PUB.
    (fields["passthrough_data"] or {}).get("post_processor", {}).pop("options", None)
    return sum(len(json.dumps(fields[name])) for name in ("circuits", "items", "passthrough_data"))


def wire_bytes(spec: PrimitiveSpec, pub: Pub, qpy: bytes) -> int:
    """Return the size in bytes of an ISA PUB whose circuit is sent as it is, from its QPY.

    The encoding of IBM's legacy primitives: the circuit as base64 of compressed QPY, the parameter
    values as base64 of a compressed `.npy` file, observables as JSON. The client-side Sampler's is
    about the same for a single PUB.
    """
    import numpy as np

    values = io.BytesIO()
    np.save(values, pub.parameter_values.as_array(pub.circuit.parameters))
    size = _base64_bytes(qpy) + _base64_bytes(values.getvalue())
    if spec.kind == "estimator":
        size += len(json.dumps(pub.observables.tolist()))
    return size


def steady_qpy(circuit: QuantumCircuit, stored: bytes = b"") -> bytes:
    """Return QPY without the parts that differ between processes: name, layout, parameter ids.

    A large circuit's is cut from `stored`, its QPY with name and layout.
    """
    is_large = len(stored) > _LARGE_QPY_BYTES and stored[6] == _CUT_QPY_VERSION
    if is_large and is_stored_as_sent(circuit):
        raw = _without_name_and_layout(circuit, stored)
    else:
        bare = circuit.copy(name="circuit")
        bare._layout = None
        raw = _qpy(bare)
    for parameter in circuit.parameters:
        raw = raw.replace(parameter.uuid.bytes, bytes(16))
    return raw


def _without_name_and_layout(circuit: QuantumCircuit, stored: bytes) -> bytes:
    """Cut QPY of version 18: its header holds the name's length, and its last part is the layout.

    https://quantum.cloud.ibm.com/docs/api/qiskit/qpy has the format.
    """
    from qiskit.qpy import formats

    table = formats.FILE_HEADER_V10_SIZE + 1
    (start,) = struct.unpack_from(formats.CIRCUIT_TABLE_ENTRY_PACK, stored, table)
    fields = struct.unpack_from(formats.CIRCUIT_HEADER_V12_PACK, stored, start)
    header = formats.CIRCUIT_HEADER_V12._make(fields)
    empty = circuit.copy_empty_like()
    with_layout = _qpy(empty)
    empty._layout = None
    without = _qpy(empty)
    no_layout = without[-formats.LAYOUT_V2_SIZE :]
    body = stored[start + formats.CIRCUIT_HEADER_V12_SIZE + header.name_size :]
    name = b"circuit"
    return b"".join(
        [
            stored[:start],
            struct.pack(formats.CIRCUIT_HEADER_V12_PACK, *header._replace(name_size=len(name))),
            name,
            body[: len(without) - len(with_layout) - len(no_layout)],
            no_layout,
        ]
    )


def _qpy(circuit: QuantumCircuit) -> bytes:
    from qiskit import qpy

    stream = io.BytesIO()
    qpy.dump(circuit, stream)
    return stream.getvalue()


def _check_observables(pub: Pub) -> None:
    """Refuse what the legacy Estimator would refuse only when the batch is open."""
    from qiskit_ibm_runtime.exceptions import IBMInputValueError
    from qiskit_ibm_runtime.utils import validate_estimator_pubs

    try:
        validate_estimator_pubs([pub])
    except IBMInputValueError as error:
        raise PlanError(
            f"circuit {pub.circuit.name!r}: the legacy estimator cannot run it: "
            f"{one_line(error.message)}; set primitive.implementation=client for others"
        ) from None


def _base64_bytes(data: bytes) -> int:
    return len(base64.standard_b64encode(zlib.compress(data)))


def is_sent_as_stored(spec: PrimitiveSpec, circuit: QuantumCircuit) -> bool:
    """Return whether a primitive sends a circuit as the archive stores it."""
    return _sends_circuit(spec) and is_stored_as_sent(circuit)


def _sends_circuit(spec: PrimitiveSpec) -> bool:
    """Return whether a primitive sends the circuits of PUBs unchanged."""
    if spec.implementation == "legacy":
        return True
    decoupling = (spec.options.get("dynamical_decoupling") or {}).get("enable")
    return spec.kind == "sampler" and not is_twirled(spec) and not decoupling


def is_stored_as_sent(circuit: QuantumCircuit) -> bool:
    """Return whether the archive's QPY of a circuit is that which the client would send.

    The archive has a form of its own for delays, and the client refuses boxes.
    """
    return not circuit.has_control_flow_op() and "delay" not in circuit.count_ops()


def prepare(spec: PrimitiveSpec, pub: Pub, backend: BackendV2) -> tuple[Any, Any]:
    """Return the client's program and options for one PUB.

    Raises:
        PlanError: The primitive cannot run this PUB.
    """
    from qiskit.exceptions import QiskitError
    from samplomatic.exceptions import BuildError

    options = build_options(spec.kind, spec.implementation, spec.options)
    default = spec.shots if spec.kind == "sampler" else spec.precision
    own = client_module(spec.kind, "prepare").prepare
    try:
        prepared: tuple[Any, Any] = own([pub], options, default, backend=backend)
    except (QiskitError, BuildError, ValueError) as error:
        raise PlanError(
            f"circuit {pub.circuit.name!r}: the client-side {spec.kind} cannot run it: "
            f"{one_line(getattr(error, 'message', str(error)))}"
        ) from None
    return prepared


def _class_of(spec: PrimitiveSpec) -> Any:
    # By module: IBM has announced that the top-level names will change their meaning.
    module, name = _CLASSES[spec.implementation, spec.kind]
    return getattr(import_module(f"qiskit_ibm_runtime.{module}"), name)
