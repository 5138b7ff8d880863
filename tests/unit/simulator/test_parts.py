"""A PUB that is simulated in parts has the very result that it has as a whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BitArray, DataBin, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers.fake_provider import GenericBackendV2

from qexp.engines.local.backends import aer, fake
from qexp.simulator import NoisyEstimator, NoisySampler
from qexp.simulator.parts import PART, wholes

FIRST, SECOND = Parameter("first"), Parameter("second")
LAST = PubResult(DataBin())
METHODS = ["density_matrix", "trajectory_tree", "statevector"]


def rotated() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.sx([0, 1])
    circuit.rz(0.3 * FIRST + 0.7 * SECOND, 0)
    circuit.rz(SECOND, 1)
    circuit.sx([0, 1])
    circuit.cx(0, 1)
    return circuit


def sampled(num_sets: tuple[int, ...]) -> SamplerPub:
    circuit = rotated()
    circuit.measure_all()
    circuit.metadata = {"k": 1}
    return SamplerPub.coerce((circuit, values(num_sets), 20))


def estimated(num_sets: tuple[int, ...], precision: float = 0.2) -> EstimatorPub:
    # Some sets have other observables than the ones before and after them.
    observables = [["IXX", "IIZ", {"IYY": 0.5, "IZI": -1.5}]] * num_sets[0]
    observables[1::3] = [["IZZ", "IZZ", "IIX"]] * len(observables[1::3])
    flat = np.array(observables, dtype=object)
    return EstimatorPub.coerce((rotated(), flat, values((*num_sets, 1)), precision))


def values(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(3).uniform(-3, 3, (*shape, 2))


def apart(target: Any, simulate: Any, count: int, block: int) -> PubResult:
    """Join the parts of the second of two PUBs, of one block, of two and so on."""
    bounds, size = [0], 1
    while bounds[-1] < count:
        bounds.append(min(bounds[-1] + size * block, count))
        size += 1
    assert len(bounds) > 2
    parts = [
        simulate(target, only=range(1, 2), sets=range(first, stop))[0]
        for first, stop in pairwise(bounds)
    ]
    assert all(PART in part.metadata for part in parts)
    (index, result), (after, other) = wholes([*parts, LAST])
    assert (index, after) == (0, len(parts))
    assert other is LAST
    return result


def assert_same(one: PubResult, other: PubResult) -> None:
    assert type(one) is type(other)
    assert one.metadata == other.metadata
    assert one.data.shape == other.data.shape
    assert list(one.data) == list(other.data)
    for name in one.data:
        mine, its = one.data[name], other.data[name]
        if isinstance(mine, BitArray):
            assert (mine.shape, mine.num_bits) == (its.shape, its.num_bits)
            mine, its = mine.array, its.array
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("method", METHODS)
def test_sets_that_are_sampled_apart(method: str) -> None:
    pubs = [sampled((60,)), sampled((2, 65))]

    def simulate(sampler: NoisySampler, **which: Any) -> Any:
        return sampler.sample(pubs, shots=10, seed=5, **which)

    sampler = NoisySampler(fake("FakeManilaV2"), method=method)
    joined = apart(sampler, simulate, 130, sampler.block_sets(pubs[1]))
    assert_same(joined, simulate(sampler)[1])


def test_sets_that_are_sampled_apart_on_a_given_simulator() -> None:
    pubs = [sampled((60,)), sampled((2, 65))]

    def simulate(sampler: NoisySampler, **which: Any) -> Any:
        return sampler.sample(pubs, shots=10, seed=5, **which)

    sampler = NoisySampler(aer(3))
    assert_same(apart(sampler, simulate, 130, 50), simulate(sampler)[1])


@pytest.mark.parametrize("method", [*METHODS, "exact", "given"])
def test_sets_that_are_estimated_apart(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexp.simulator.states._CHUNK_SETS", 16)
    precision = 0.0 if method == "exact" else 0.2
    pubs = [estimated((5,), precision), estimated((50,), precision)]

    def simulate(estimator: NoisyEstimator, **which: Any) -> Any:
        return estimator.estimate(pubs, precision=0.3, seed=5, **which)

    if method == "given":
        estimator = NoisyEstimator(aer(3))
    else:
        estimator = NoisyEstimator(fake("FakeManilaV2"), method=method if precision else None)
    block = estimator.block_sets(pubs[1], precision=0.3)
    joined = apart(estimator, simulate, 50, block)
    assert_same(joined, simulate(estimator)[1])


def test_a_backend_that_simulates_itself_has_one_block() -> None:
    backend = GenericBackendV2(3, seed=1)
    assert NoisySampler(backend).block_sets(sampled((2, 65))) == 130
    assert NoisyEstimator(backend).block_sets(estimated((50,)), precision=0.1) == 50


def test_methods_are_chosen_for_the_wanted_pubs_alone() -> None:
    sampler, pubs = NoisySampler(fake("FakeManilaV2")), [sampled((2,)), sampled((3,))]
    sampler.sample(pubs, shots=10, seed=5, only=range(1, 2))
    assert sampler._choose.cache_info().misses == 1


def test_a_result_that_is_whole_stays_as_it_is() -> None:
    sampler = NoisySampler(fake("FakeManilaV2"))
    results = sampler.sample([sampled((2,)), sampled((3,))], shots=10, seed=5)
    assert dict(wholes(results)) == dict(enumerate(results))
