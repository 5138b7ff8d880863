from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from qexp.core.model import Implementation, PrimitiveKind, PrimitiveSpec
from qexp.engines.options import build_options, client_module, dump_options
from qexp.engines.primitives import encoded_bytes, make_primitive, prepare
from qexp.engines.private_api import encode_program
from qexp.errors import EngineError, PlanError
from tests.unit.engines.jobs import isa_pub, qpy_of

VARIANTS = [
    (kind, implementation)
    for kind in ("sampler", "estimator")
    for implementation in ("client", "legacy")
]


@pytest.fixture(scope="module")
def backend() -> Any:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    return FakeManilaV2()


@pytest.fixture(scope="module")
def batch(backend: Any) -> Any:
    from qiskit_ibm_runtime import Batch

    return Batch(backend)


@pytest.mark.parametrize(("kind", "implementation"), VARIANTS)
def test_runs_in_the_batch_it_is_given(
    batch: Any, backend: Any, kind: PrimitiveKind, implementation: Implementation
) -> None:
    pub = isa_pub(kind, backend)
    primitive = make_primitive(PrimitiveSpec(kind, implementation), batch, seed=5)
    assert primitive.inner.mode is batch
    assert primitive.options["simulator"]["seed_simulator"] == 5
    first = primitive.run([pub]).result()[0].data
    second = make_primitive(PrimitiveSpec(kind, implementation), batch, seed=5).run([pub])
    if kind == "sampler":
        assert first.meas == second.result()[0].data.meas
        assert max(first.meas.get_counts().items(), key=lambda item: item[1])[0] == "01"
    else:
        assert first.evs == second.result()[0].data.evs
        assert first.evs < 0


@pytest.mark.parametrize(("kind", "implementation"), VARIANTS)
def test_tags_are_merged(batch: Any, kind: PrimitiveKind, implementation: Implementation) -> None:
    spec = PrimitiveSpec(
        kind, implementation, options={"environment": {"job_tags": ["mine", "run"]}}
    )
    primitive = make_primitive(spec, batch, ["run", "partition"])
    assert primitive.inner.options.environment.job_tags == ["run", "partition", "mine"]


def test_too_many_tags(batch: Any) -> None:
    spec = PrimitiveSpec("sampler", options={"environment": {"job_tags": list("abcd")}})
    with pytest.raises(EngineError, match=r"cannot have 9 tags .* at most 8"):
        make_primitive(spec, batch, list("12345"))


@pytest.mark.parametrize("implementation", ["client", "legacy"])
def test_a_declared_seed_prevails(batch: Any, implementation: Implementation) -> None:
    spec = PrimitiveSpec("sampler", implementation, options={"simulator": {"seed_simulator": 3}})
    assert make_primitive(spec, batch, seed=5).inner.options.simulator.seed_simulator == 3


@pytest.mark.parametrize("kind", ["sampler", "estimator"])
def test_legacy_size_is_that_of_the_clients_encoding(backend: Any, kind: PrimitiveKind) -> None:
    from qiskit_ibm_runtime.json import RuntimeEncoder

    pub = isa_pub(kind, backend)
    size = encoded_bytes(PrimitiveSpec(kind, "legacy"), pub, backend, qpy_of(pub)).total
    # QPY holds random ids, which compress differently each time.
    assert size == pytest.approx(len(json.dumps(pub, cls=RuntimeEncoder)), rel=0.05)


@pytest.mark.parametrize("kind", ["sampler", "estimator"])
def test_client_size_is_that_of_the_request_without_options(
    backend: Any, kind: PrimitiveKind
) -> None:
    spec = PrimitiveSpec(kind)
    pub = isa_pub(kind, backend)
    size = encoded_bytes(spec, pub, backend, qpy_of(pub)).total
    sent = len(json.dumps(encoded(kind, [pub], 50, backend)))
    dumped = len(json.dumps(dump_options("client", build_options(kind, "client", {}))))
    assert size - 100 <= sent <= size + dumped + 600


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_calibration_of_a_job_is_counted_once(backend: Any, level: int) -> None:
    options = {"resilience_level": level}
    pub, spec = isa_pub("estimator", backend), PrimitiveSpec("estimator", options=options)
    total, shared = encoded_bytes(spec, pub, backend, qpy_of(pub))
    assert (shared > 0) is (level > 0)
    sent = encoded("estimator", [pub] * 9, 50, backend, options)["quantum_program"]
    size = sum(len(json.dumps(sent[name])) for name in ("circuits", "items"))
    # Circuits of a job are compressed together.
    assert 0.85 < size / (9 * (total - shared) + shared) < 1.02


def test_a_job_of_plain_circuits_is_no_larger_than_its_pubs(backend: Any) -> None:
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit_ibm_runtime.json import RuntimeEncoder

    from qexp.circuits.random import random_circuits

    passes = generate_preset_pass_manager(backend=backend, optimization_level=1, seed_transpiler=1)
    circuits = random_circuits(num_circuits=10, seed_sequence=np.random.SeedSequence(1))
    pubs = [SamplerPub.coerce((passes.run(circuit),), 50) for circuit in circuits]
    legacy, client = (
        sum(
            encoded_bytes(PrimitiveSpec("sampler", which), pub, backend, qpy_of(pub)).total
            for pub in pubs
        )
        for which in ("legacy", "client")
    )
    assert legacy == client == pytest.approx(len(json.dumps(pubs, cls=RuntimeEncoder)), rel=0.02)
    sent = encoded("sampler", pubs, 50, backend)
    assert client / 3 < len(json.dumps(sent)) < client


@pytest.mark.parametrize("implementation", ["client", "legacy"])
def test_a_circuit_that_is_sent_as_it_is_is_not_encoded_again(
    backend: Any, implementation: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qiskit import qpy

    pub = isa_pub("sampler", backend)
    raw = qpy_of(pub)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(qpy, "dump", refuse)
    monkeypatch.setattr("qexp.engines.primitives.encode_program", refuse)
    monkeypatch.setattr("qiskit_ibm_runtime.json.dump", refuse)
    spec = PrimitiveSpec("sampler", implementation)
    assert encoded_bytes(spec, pub, backend, raw).total > 100


@pytest.mark.parametrize("implementation", ["client", "legacy"])
@pytest.mark.parametrize("dynamic", [True, False])
def test_circuits_stored_in_another_form_are_measured_as_the_client_sends_them(
    backend: Any, implementation: Implementation, dynamic: bool
) -> None:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    if dynamic:
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(0)
    else:
        circuit.delay(16, 0, "ns")
    pub = SamplerPub.coerce((circuit,), 10)
    spec = PrimitiveSpec("sampler", implementation)
    sizes = {encoded_bytes(spec, pub, backend, qpy).total for qpy in (b"", bytes(range(256)) * 99)}
    assert len(sizes) == 1


def encoded(
    kind: PrimitiveKind,
    pubs: list[Any],
    shots: int,
    backend: Any,
    declared: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a whole job as the client's executor sends it."""
    default = shots if kind == "sampler" else None
    options = build_options(kind, "client", declared)
    prepared = client_module(kind, "prepare").prepare(pubs, options, default, backend=backend)
    return encode_program(*prepared, kind)


def test_twirling_inflates_the_payload(backend: Any) -> None:
    pub = isa_pub("sampler", backend)
    plain = encoded_bytes(PrimitiveSpec("sampler"), pub, backend, qpy_of(pub)).total
    twirled = PrimitiveSpec(
        "sampler", options={"twirling": {"enable_gates": True, "enable_measure": True}}
    )
    assert encoded_bytes(twirled, pub, backend, qpy_of(pub)).total > 5 * plain


def test_observables_that_the_legacy_estimator_would_refuse(backend: Any) -> None:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

    pub = EstimatorPub.coerce((QuantumCircuit(2, name="bell"), ["0Z"]), 0.1)
    with pytest.raises(PlanError, match=r"^circuit 'bell': the legacy estimator cannot run it"):
        encoded_bytes(PrimitiveSpec("estimator", "legacy"), pub, backend, qpy_of(pub))


def test_a_circuit_the_client_cannot_run(backend: Any) -> None:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    circuit = QuantumCircuit(1, 1, name="boxed")
    with circuit.box():
        circuit.x(0)
    circuit.measure(0, 0)
    pub = SamplerPub.coerce(circuit, 10)
    with pytest.raises(PlanError, match=r"^circuit 'boxed': the client-side sampler cannot run it"):
        encoded_bytes(PrimitiveSpec("sampler"), pub, backend, qpy_of(pub))


def test_a_circuit_the_client_cannot_compile(backend: Any) -> None:
    from qiskit import ClassicalRegister, QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

    dynamic, fractional, reserved = (QuantumCircuit(2, 1, name="bell") for _ in range(3))
    with dynamic.if_test((dynamic.clbits[0], 1)):
        dynamic.x(1)
    fractional.rzz(0.3, 0, 1)
    reserved.add_register(ClassicalRegister(1, "_meas"))
    spec = PrimitiveSpec("estimator", options={"resilience_level": 2}, precision=0.1)
    for circuit, said in (
        (dynamic, "'if_else'`` is not supported"),
        (fractional, "fractional entanglers are only supported"),
        (reserved, "Name `_meas` is reserved"),
    ):
        with pytest.raises(PlanError, match=r"^circuit 'bell': the client-side estimator .*") as no:
            prepare(spec, EstimatorPub.coerce((circuit, "ZZ"), 0.1), backend)
        assert said in str(no.value)
