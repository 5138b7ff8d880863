"""The four primitives of the unmodified client against the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import Batch, EstimatorV2, QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler

from tests.emulator import JAKARTA, MANILA, TORINO, IBMEmulator

pytestmark = pytest.mark.filterwarnings(
    "ignore:The (SamplerV2|EstimatorV2) class is deprecated:DeprecationWarning"
)
SAMPLERS = [Sampler, SamplerV2]
ESTIMATORS = [Estimator, EstimatorV2]
VALUES = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])[..., np.newaxis] * np.pi / 5


def backend_named(name: str) -> Any:
    return QiskitRuntimeService().backend(name)


def isa(backend: Any, circuit: QuantumCircuit) -> QuantumCircuit:
    return generate_preset_pass_manager(1, target=backend.target, seed_transpiler=7).run(circuit)


def one_of_three() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.measure_all()
    return circuit


def two_registers() -> QuantumCircuit:
    circuit = QuantumCircuit(
        QuantumRegister(3), ClassicalRegister(2, "alpha"), ClassicalRegister(1, "beta")
    )
    angle = Parameter("angle")
    circuit.ry(angle, 0)
    circuit.x(1)
    circuit.measure([0, 1, 2], [0, 1, 2])
    return circuit


def rotation() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("angle"), 0)
    return circuit


@pytest.mark.parametrize("primitive", SAMPLERS)
@pytest.mark.parametrize("name", [MANILA, TORINO])
def test_bit_order(ibm_emulator: IBMEmulator, primitive: Any, name: str) -> None:
    backend = backend_named(name)
    job = primitive(mode=backend).run([isa(backend, one_of_three())], shots=200)
    measured = job.result()[0].data.meas
    counts = measured.get_counts()
    assert max(counts, key=counts.get) == "001"
    truth = ibm_emulator.results[job.job_id()][0]["meas"]
    assert truth.shape == (200, 3)
    assert truth.dtype == bool
    assert truth.mean(axis=0)[0] > 0.8
    assert np.array_equal(measured.to_bool_array(order="little"), truth)


@pytest.mark.parametrize("primitive", SAMPLERS)
def test_parameters_and_two_registers(ibm_emulator: IBMEmulator, primitive: Any) -> None:
    backend = backend_named(JAKARTA)
    job = primitive(mode=backend).run([(isa(backend, two_registers()), VALUES)], shots=100)
    data = job.result()[0].data
    truth = ibm_emulator.results[job.job_id()][0]
    assert list(data) == ["alpha", "beta"]
    assert data.shape == (3, 2)
    for name, bits in (("alpha", 2), ("beta", 1)):
        assert truth[name].shape == (3, 2, 100, bits)
        assert np.array_equal(data[name].to_bool_array(order="little"), truth[name])
    excited = truth["alpha"][..., 0].mean(axis=-1)
    assert np.allclose(excited, np.sin(VALUES[..., 0] / 2) ** 2, atol=0.25)


@pytest.mark.parametrize("options", [{"enable_gates": True}, {"enable_measure": True}])
def test_twirled_bits_are_told_untwirled(
    ibm_emulator: IBMEmulator, options: dict[str, bool]
) -> None:
    backend = backend_named(JAKARTA)
    sampler = Sampler(mode=backend)
    for option, value in options.items():
        setattr(sampler.options.twirling, option, value)
    sampler.options.twirling.num_randomizations = 4
    sampler.options.twirling.shots_per_randomization = 25
    job = sampler.run([(isa(backend, two_registers()), VALUES), isa(backend, one_of_three())])
    result = job.result()
    truth = ibm_emulator.results[job.job_id()]
    assert truth[0]["alpha"].shape == (3, 2, 100, 2)
    for pub, expected in zip(result, truth, strict=True):
        assert list(pub.data) == list(expected)
        for name, bits in expected.items():
            assert np.array_equal(pub.data[name].to_bool_array(order="little"), bits)
    assert truth[1]["meas"].mean(axis=0)[0] > 0.8


@pytest.mark.parametrize("primitive", ESTIMATORS)
@pytest.mark.parametrize("name", [JAKARTA, TORINO])
def test_expectation_values(ibm_emulator: IBMEmulator, primitive: Any, name: str) -> None:
    backend = backend_named(name)
    circuit = isa(backend, rotation())
    observables = [
        [SparsePauliOp(text).apply_layout(circuit.layout)] for text in ("IZ", "ZI", "IX")
    ]
    values = VALUES.reshape(1, 6, 1)
    job = primitive(mode=backend).run([(circuit, observables, values)], precision=0.05)
    data = job.result()[0].data
    truth = ibm_emulator.results[job.job_id()][0]
    assert data.evs.shape == (3, 6)
    assert set(data) == {"evs", "stds", "ensemble_standard_error"}
    assert np.array_equal(data.evs, truth["evs"])
    assert np.array_equal(data.stds, truth["stds"])
    angles = values[0, :, 0]
    expected = [np.cos(angles), np.ones(6), np.sin(angles)]
    assert np.allclose(data.evs, expected, atol=0.5)


def test_legacy_spans_cover_every_shot(ibm_emulator: IBMEmulator) -> None:
    backend = backend_named(JAKARTA)
    pubs = [(isa(backend, two_registers()), VALUES), isa(backend, one_of_three())]
    job = SamplerV2(mode=backend).run(pubs, shots=10)
    spans = job.result().metadata["execution"]["execution_spans"]
    assert spans.pub_idxs == [0, 1]
    assert sum(span.size for span in spans) == 70
    assert np.logical_or.reduce([span.mask(0) for span in spans if 0 in span.pub_idxs]).all()
    timestamps = job.metrics()["timestamps"]
    assert timestamps["running"] <= spans.start.isoformat() <= spans.stop.isoformat()
    assert spans.stop.isoformat() <= timestamps["finished"]


def test_chunk_timing_covers_every_element(ibm_emulator: IBMEmulator) -> None:
    backend = backend_named(JAKARTA)
    pubs = [(isa(backend, two_registers()), VALUES), isa(backend, one_of_three())]
    metadata = Sampler(mode=backend).run(pubs, shots=10).result().metadata
    parts = [
        (part.idx_item, part.size)
        for span in metadata["executor"].chunk_timing
        for part in span.parts
    ]
    assert parts == [(0, 3), (0, 3), (1, 1)]
    assert metadata["shots"] == 10


@pytest.mark.parametrize("primitive", SAMPLERS)
def test_equal_jobs_give_equal_bits(ibm_emulator: IBMEmulator, primitive: Any) -> None:
    backend = backend_named(JAKARTA)
    hadamards = QuantumCircuit(3)
    hadamards.h([0, 1, 2])
    hadamards.measure_all()
    flat = isa(backend, hadamards)
    first, other, again = (
        primitive(mode=backend).run([circuit, flat], shots=64)
        for circuit in (flat, isa(backend, one_of_three()), flat)
    )
    for job in (first, other, again):
        job.result()
    bits = [ibm_emulator.results[job.job_id()] for job in (first, other, again)]
    assert np.array_equal(bits[0][0]["meas"], bits[2][0]["meas"])
    assert np.array_equal(bits[0][1]["meas"], bits[2][1]["meas"])
    assert not np.array_equal(bits[0][0]["meas"], bits[0][1]["meas"])
    assert not np.array_equal(bits[0][1]["meas"], bits[1][1]["meas"])


def test_a_program_goes_out_in_the_services_shape(ibm_emulator: IBMEmulator) -> None:
    backend = backend_named(JAKARTA)
    with Batch(backend, max_time="25m") as batch:
        sampler = Sampler(mode=batch)
        sampler.options.environment.job_tags = ["run-1", "main"]
        sampler.options.max_execution_time = 300
        job = sampler.run([isa(backend, one_of_three())], shots=10)
        job.result()
    (post,) = ibm_emulator.journal.find("POST", "/jobs")
    assert post.body["program_id"] == "executor"
    assert post.body["session_id"] == batch.session_id
    assert post.body["tags"] == ["run-1", "main"]
    assert post.body["cost"] == 300
    assert post.body["params"]["schema_version"] == "v2.0"
    assert post.body["params"]["quantum_program"]["semantic_role"] == "sampler_v2"
    assert job.inputs["quantum_program"].shots == 10


@pytest.mark.parametrize("primitive", SAMPLERS)
def test_circuit_metadata_comes_back(ibm_emulator: IBMEmulator, primitive: Any) -> None:
    backend = backend_named(JAKARTA)
    circuit = isa(backend, one_of_three())
    circuit.metadata = {"index": 3}
    result = primitive(mode=backend).run([circuit], shots=10).result()
    assert result[0].metadata["circuit_metadata"] == {"index": 3}
