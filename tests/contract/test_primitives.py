"""Promises of Qiskit's V2 primitives, kept by the simulator's and by Qiskit's own."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import (
    BackendEstimatorV2,
    BackendSamplerV2,
    BaseEstimatorV2,
    BasePrimitiveJob,
    BaseSamplerV2,
    BitArray,
    DataBin,
    PrimitiveResult,
    PubResult,
    SamplerPubResult,
    StatevectorEstimator,
)
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator

from qexp.engines.local.backends import fake
from qexp.simulator import NoisyEstimator, NoisySampler, SimulationError, make_device

SAMPLERS: dict[str, Callable[..., BaseSamplerV2]] = {
    "qiskit": lambda: BackendSamplerV2(backend=AerSimulator()),
    "ideal": lambda: NoisySampler(AerSimulator(), seed=3),
    "noisy": lambda: NoisySampler(fake(), seed=3),
}
ESTIMATORS: dict[str, Callable[..., BaseEstimatorV2]] = {
    "qiskit": lambda: BackendEstimatorV2(backend=AerSimulator()),
    "ideal": lambda: NoisyEstimator(AerSimulator(), seed=3),
    "noisy": lambda: NoisyEstimator(fake(), seed=3),
}


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> BaseSamplerV2:
    return SAMPLERS[request.param]()


@pytest.fixture(params=ESTIMATORS)
def estimator(request: pytest.FixtureRequest) -> BaseEstimatorV2:
    return ESTIMATORS[request.param]()


def rotated(measured: bool) -> QuantumCircuit:
    """Qubits 0 and 1 of 5, turned around Y by two parameters, in the gates of the fake device."""
    first, second = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(QuantumRegister(5), metadata={"name": "rotated"})
    for qubit, angle in enumerate((first, second)):
        circuit.sx(qubit)
        circuit.rz(angle + np.pi, qubit)
        circuit.sx(qubit)
        circuit.rz(3 * np.pi, qubit)
    if measured:
        low, high = ClassicalRegister(1, "low"), ClassicalRegister(10, "high")
        circuit.add_register(low, high)
        circuit.measure([0, 1], [low[0], high[9]])
    return circuit


# a pi turns the qubit from 0 to 1.
FLIPS = np.array([[(0, 0), (0, 1), (1, 0)], [(1, 1), (0, 1), (0, 0)]]) * np.pi


def test_a_sampler_returns_bits_by_register_shape_and_shots(sampler: BaseSamplerV2) -> None:
    circuit = rotated(measured=True)
    job = sampler.run(
        [(circuit, FLIPS), (circuit, FLIPS[0, 2], 700), (circuit, FLIPS[0])], shots=99
    )
    assert isinstance(sampler, BaseSamplerV2)
    assert isinstance(job, BasePrimitiveJob)
    result = job.result()
    assert isinstance(result, PrimitiveResult)
    assert result.metadata == {"version": 2}
    for pub, shape, shots in zip(result, [(2, 3), (), (3,)], [99, 700, 99], strict=True):
        assert isinstance(pub, SamplerPubResult)
        assert isinstance(pub.data, DataBin)
        assert list(pub.data) == ["low", "high"]
        assert pub.data.shape == shape
        assert pub.metadata == {"shots": shots, "circuit_metadata": {"name": "rotated"}}
        for register, num_bits in (("low", 1), ("high", 10)):
            bits = pub.data[register]
            assert isinstance(bits, BitArray)
            assert (bits.shape, bits.num_shots, bits.num_bits) == (shape, shots, num_bits)
            assert bits.array.dtype == np.uint8
    for position in np.ndindex(2, 3):
        a, b = (FLIPS[position] / np.pi).astype(int)
        assert most_frequent(result[0].data.low[position]) == f"{a}"
        assert most_frequent(result[0].data.high[position]) == f"{b}000000000"
    assert most_frequent(result[1].data.low) == "1"


def most_frequent(bits: Any) -> str:
    counts = bits.get_counts()
    return str(max(counts, key=counts.get))


def test_default_shots_are_qiskits(sampler: BaseSamplerV2) -> None:
    result = sampler.run([(rotated(measured=True), FLIPS[0, 0])]).result()
    assert result[0].data.low.num_shots == 1024


def test_an_estimator_broadcasts_observables_against_parameters(
    estimator: BaseEstimatorV2,
) -> None:
    circuit = rotated(measured=False)
    angles = np.random.default_rng(1).uniform(-3, 3, (2, 3, 2))
    observables = [["IIIIZ"], [SparsePauliOp.from_list([("IIIZX", 0.5), ("IIIII", 2)])]]
    pubs = [(circuit, observables, angles), (circuit, "IIIXI", angles[0, 0], 0.25)]
    job = estimator.run(pubs, precision=0.05)
    assert isinstance(estimator, BaseEstimatorV2)
    assert isinstance(job, BasePrimitiveJob)
    result = job.result()
    assert isinstance(result, PrimitiveResult)
    assert result.metadata == {"version": 2}
    expected = StatevectorEstimator().run(pubs).result()
    for pub, known, shape, precision in zip(
        result, expected, [(2, 3), ()], [0.05, 0.25], strict=True
    ):
        assert isinstance(pub, PubResult)
        assert list(pub.data) == ["evs", "stds"]
        assert pub.data.evs.shape == pub.data.stds.shape == pub.data.shape == shape
        assert pub.data.evs.dtype == pub.data.stds.dtype == np.float64
        assert pub.metadata["target_precision"] == precision
        assert pub.metadata["shots"] == round(1 / precision**2)
        assert pub.metadata["circuit_metadata"] == {"name": "rotated"}
        # Noise costs less than 0.1 here.
        assert np.all(np.abs(pub.data.evs - known.data.evs) < 5 * precision + 0.1)
        assert np.all(pub.data.stds <= 1.01 * precision)


def test_the_seed_decides() -> None:
    circuit, device = rotated(measured=True), make_device(fake())
    angles = [np.pi / 2, np.pi / 2]
    for_seed = {
        seed: [
            NoisySampler(device, seed=seed).run([(circuit, angles)]).result()[0].data.low.array
            for _ in range(2)
        ]
        for seed in (1, 2, None)
    }
    assert (for_seed[1][0] == for_seed[1][1]).all()
    assert (for_seed[1][0] != for_seed[2][0]).any()
    assert (for_seed[None][0] != for_seed[None][1]).any()


@pytest.mark.parametrize("backend", [AerSimulator(), fake()], ids=["ideal", "noisy"])
def test_precision_zero_is_exact(backend: Any) -> None:
    circuit, angles = rotated(measured=False), np.array([0.3, 1.2])
    exact, sampled = (
        NoisyEstimator(backend, default_precision=precision, seed=5)
        .run([(circuit, ["IIIIZ", "IIIZI"], angles)])
        .result()[0]
        for precision in (0.0, 0.01)
    )
    assert not exact.data.stds.any()
    assert exact.metadata["target_precision"] == 0.0
    assert exact.metadata["shots"] == 0
    assert np.all(np.abs(exact.data.evs - sampled.data.evs) < 5 * sampled.data.stds)
    ideal = np.cos(angles)
    if isinstance(backend, AerSimulator):
        np.testing.assert_allclose(exact.data.evs, ideal, atol=1e-12)
    else:
        assert np.all(np.abs(exact.data.evs - ideal) > 1e-3)


def test_primitives_can_be_sent_to_another_process() -> None:
    circuit = rotated(measured=True)
    sampler = NoisySampler(fake(), default_shots=50, seed=7)
    first = sampler.run([(circuit, FLIPS)]).result()[0].data.low
    sent = pickle.loads(pickle.dumps(sampler)).run([(circuit, FLIPS)]).result()[0].data.low
    assert sent == first
    assert sent.num_shots == 50
    estimator = NoisyEstimator(fake(), default_precision=0.1, seed=7)
    pub = (rotated(measured=False), "IIIIZ", [0.3, 1.2])
    evs = [one.run([pub]).result()[0].data.evs for one in (estimator, estimator)]
    evs.append(pickle.loads(pickle.dumps(estimator)).run([pub]).result()[0].data.evs)
    assert evs[0] == evs[1] == evs[2]


def test_a_simulation_that_fails_is_an_error_of_the_job() -> None:
    circuit = QuantumCircuit(1)
    circuit.t(0)
    circuit.measure_all()
    job = NoisySampler(AerSimulator(method="stabilizer")).run([circuit])
    with pytest.raises(SimulationError, match="the simulation failed"):
        job.result()
    measuring = QuantumCircuit(1, 1)
    measuring.measure(0, 0)
    exact = NoisyEstimator(fake(), default_precision=0.0)
    with pytest.raises(SimulationError, match="it measures, is dynamic"):
        exact.run([(measuring, "Z")]).result()
