"""Promises of every engine, for both primitives and both implementations.

Written against `qexp.core.protocols` only; the states are chosen asymmetric, as bits have come
out in the wrong order before.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveResult, PubResult, SamplerPubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp

from qexp.core.protocols import Batch, Engine, RemoteBatch, RemoteEngine
from qexp.errors import BatchOverError, ConfigError, EngineError
from tests.contract.bench import MAX_TIME_S, PRECISION, SHOTS, Bench, wait_for, when
from tests.contract.engine_cases import FAILURE
from tests.unit.engines.jobs import qpy_of

if TYPE_CHECKING:
    from qexp.core.model import Pub

DETAILS = {
    "id",
    "backend_name",
    "interactive_timeout",
    "max_time",
    "active_timeout",
    "state",
    "accepting_jobs",
    "last_job_started",
    "last_job_completed",
    "started_at",
    "closed_at",
    "activated_at",
    "mode",
    "usage_time",
    "timestamps",
}


def test_engine_and_batch_satisfy_the_protocols(bench: Bench) -> None:
    assert isinstance(bench.engine, Engine)
    assert bench.engine.name == bench.case.name
    assert bench.engine.allow_ignored_options is False
    bench.engine.check_backend(bench.backend)
    batch = bench.open_batch()
    try:
        assert isinstance(batch, Batch)
        assert isinstance(bench.engine, RemoteEngine) is bench.case.is_remote
        assert isinstance(batch, RemoteBatch) is bench.case.is_remote
    finally:
        batch.close()


def test_an_object_that_is_no_backend_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="backend"):
        bench.engine.check_backend(object())  # type: ignore[arg-type]


def test_payload_is_measured_and_grows_with_the_circuit(bench: Bench) -> None:
    small = payload_bytes(bench, bench.pub())
    deep = QuantumCircuit(4)
    for angle in np.linspace(0.1, 3.0, 40):
        deep.rx(angle, range(4))
        deep.cx(0, 1)
    isa = bench.isa(deep)
    pub: Pub
    if bench.primitive.kind == "sampler":
        isa.measure_all()
        pub = SamplerPub.coerce((isa,), SHOTS)
    else:
        pub = EstimatorPub.coerce((isa, SparsePauliOp("I" * isa.num_qubits)), PRECISION)
    assert 100 < small < payload_bytes(bench, pub)


def payload_bytes(bench: Bench, pub: Pub) -> int:
    engine, qpy = bench.engine, qpy_of(pub)
    return engine.payload_bytes(bench.primitive, pub, bench.backend, qpy, 10**9).total


def test_a_batch_from_open_to_closed(bench: Bench) -> None:
    batch = bench.open_batch()
    opened = batch.details()
    assert set(opened) == DETAILS
    assert opened["id"] == batch.id
    assert opened["state"] == "open"
    assert opened["accepting_jobs"] is True
    assert opened["max_time"] == MAX_TIME_S
    assert opened["started_at"] is None

    tags = ("qexp", "contract:1")
    job_ids = [batch.submit(bench.job(index, tags=tags, attempt=1 + index)) for index in range(2)]
    assert len({batch.id, *job_ids}) == 3
    batch.close()
    batch.close()
    with pytest.raises(BatchOverError, match="closed"):
        batch.submit(bench.job(2))
    wait_for(batch, *job_ids)
    assert dict(batch.states()) == dict.fromkeys(job_ids, "DONE")

    for index, job_id in enumerate(job_ids):
        outcome = batch.collect(job_id)
        assert (outcome.job_id, outcome.partition, outcome.state) == (job_id, index, "DONE")
        assert (outcome.error, outcome.failure) == (None, None)
        assert (outcome.attempt, outcome.batch_id) == (1 + index, batch.id)
        assert list(outcome.info["tags"]) == list(tags)
        assert outcome.options
        assert outcome.backend_properties
        assert set(outcome.backend_properties) >= {"qubits", "gates"}
    assert (bench.loads[0], bench.loads[1]) == (1, 1)

    closed = batch.details()
    assert set(closed) == DETAILS
    assert (closed["id"], closed["backend_name"]) == (batch.id, bench.backend.name)
    assert closed["state"] == "closed"
    assert closed["accepting_jobs"] is False
    assert closed["usage_time"] > 0
    moments = [when(step["timestamp"]) for step in closed["timestamps"]]
    assert moments == sorted(moments)
    assert closed["timestamps"][0]["status"] == "open"
    assert when(closed["started_at"]) <= when(closed["last_job_completed"])
    assert when(closed["last_job_completed"]) <= when(closed["closed_at"])


def test_an_empty_batch_closes(bench: Bench) -> None:
    batch = bench.open_batch()
    assert dict(batch.states()) == {}
    batch.close()
    assert batch.details()["accepting_jobs"] is False


def test_a_job_of_no_batch_is_not_collected(bench: Bench) -> None:
    batch = bench.open_batch()
    batch.close()
    with pytest.raises(EngineError, match="no-such-job"):
        batch.collect("no-such-job")


def test_metrics_and_spans_have_the_times_of_the_run(bench: Bench) -> None:
    outcome = bench.run([bench.pub(), bench.pub(), bench.pub()])
    stamps = outcome.metrics["timestamps"]
    moments = [when(stamps[name]) for name in ("created", "running", "finished")]
    assert moments == sorted(moments)
    assert all(moment.utcoffset() == timedelta(0) for moment in moments)
    assert outcome.metrics["usage"]["qpu_charge_time_seconds"] > 0
    assert outcome.metrics["usage"]["status"] == "complete"

    sizes: Counter[int] = Counter()
    for span in outcome.spans:
        assert when(span.start) <= when(span.stop)
        sizes[span.pub] += span.size
    shots = SHOTS if bench.primitive.kind == "sampler" else math.ceil(1 / PRECISION**2)
    assert sizes == {0: shots, 1: shots, 2: shots}


def test_a_failed_job_is_an_outcome_and_spoils_no_other(bench: Bench) -> None:
    batch = bench.open_batch()
    doomed = batch.submit(bench.case.doom(bench.job(0), bench.fixtures))
    sound = batch.submit(bench.job(1))
    batch.close()
    wait_for(batch, doomed, sound)
    failed = batch.collect(doomed)
    assert (failed.state, failed.result) == ("ERROR", None)
    assert failed.failure == bench.case.doomed
    assert (failed.attempt, failed.batch_id) == (1, batch.id)
    assert failed.error is not None
    assert FAILURE in failed.error
    assert "\n" not in failed.error
    assert when(failed.metrics["timestamps"]["created"])
    assert batch.collect(sound).state == "DONE"


def test_sampler_bits_are_in_qiskits_order(sampler: Bench) -> None:
    outcome = sampler.run([sampler.pub()])
    assert isinstance(outcome.result, PrimitiveResult)
    (result,) = outcome.result
    assert isinstance(result, SamplerPubResult)
    assert (result.data.meas.num_shots, result.data.meas.num_bits) == (SHOTS, 2)
    assert most_frequent(result.data.meas) == "01"


def test_sampler_keeps_registers_apart(sampler: Bench) -> None:
    qubits = QuantumRegister(4)
    low, high = ClassicalRegister(1, "low"), ClassicalRegister(3, "high")
    circuit = QuantumCircuit(qubits, low, high)
    circuit.x([0, 3])
    circuit.measure(qubits[0], low[0])
    circuit.measure(qubits[1:], high)
    outcome = sampler.run([SamplerPub.coerce((sampler.isa(circuit),), SHOTS)])
    assert outcome.result is not None
    data = outcome.result[0].data
    assert set(data) == {"low", "high"}
    assert most_frequent(data.low) == "1"
    assert most_frequent(data.high) == "100"


def test_sampler_broadcasts_parameters(sampler: Bench) -> None:
    first, second = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.rx(first, 0)
    circuit.rx(second, 1)
    circuit.measure_all()
    # rx(pi) flips; the last axis holds the values of one set.
    flips = np.array([[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, 1), (0, 0)]])
    pub = SamplerPub.coerce((sampler.isa(circuit), flips * np.pi), SHOTS)
    outcome = sampler.run([pub])
    assert outcome.result is not None
    bits = outcome.result[0].data.meas
    assert bits.shape == (3, 2)
    assert bits.num_shots == SHOTS
    for position in np.ndindex(3, 2):
        a, b = flips[position]
        assert most_frequent(bits[position]) == f"{b}{a}"


def test_estimator_broadcasts_parameters_against_observables(estimator: Bench) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    isa = estimator.isa(circuit)
    observables = [SparsePauliOp(label).apply_layout(isa.layout) for label in ("IZ", "IX")]
    angles = np.array([0.0, np.pi / 2, np.pi]).reshape(3, 1, 1)
    outcome = estimator.run([EstimatorPub.coerce((isa, observables, angles), PRECISION)])
    assert isinstance(outcome.result, PrimitiveResult)
    (result,) = outcome.result
    assert isinstance(result, PubResult)
    assert result.data.evs.shape == result.data.stds.shape == (3, 2)
    # Of ry(t)|0>, <Z> = cos t and <X> = sin t; the device's noise costs less than 0.15 of it.
    expected = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert np.abs(result.data.evs - expected).max() < 0.15 + 3 * PRECISION
    assert (result.data.stds <= 2 * PRECISION).all()


def test_estimator_qubits_are_in_qiskits_order(estimator: Bench) -> None:
    flipped = QuantumCircuit(2)
    flipped.x(0)
    isa = estimator.isa(flipped)
    observables = [SparsePauliOp(label).apply_layout(isa.layout) for label in ("IZ", "ZI", "ZZ")]
    outcome = estimator.run([EstimatorPub.coerce((isa, observables), PRECISION)])
    assert outcome.result is not None
    assert np.sign(outcome.result[0].data.evs).tolist() == [-1.0, 1.0, -1.0]


def test_options_that_do_nothing_are_not_reported(bench: Bench) -> None:
    assert bench.engine.ignored_options(bench.primitive) == {}


def most_frequent(bits: Any) -> str:
    counts = bits.get_counts()
    return str(max(counts, key=counts.get))
