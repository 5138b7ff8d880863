"""A job's data are the same however many workers share it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.engines.local.backends import fake
from qexp.engines.local.chunks import CHUNK_PUBS, ChunkedSimulation
from qexp.engines.local.simulation import Simulation


def pubs(count: int) -> list[Any]:
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    circuit.measure_all()
    return [SamplerPub.coerce((circuit, None, 50))] * count


def request(count: int) -> JobRequest:
    partition = Partition(0, "main", 0, count, 50, None, 50 * count, 0, 0.0, "end")
    return JobRequest(partition, PrimitiveSpec("sampler"), partial(pubs, count), (), seed=7)


def bits(simulation: ChunkedSimulation, count: int) -> np.ndarray:
    simulated = simulation.run(request(count))
    assert len(simulated.executions) == len(simulated.result) == count
    assert simulated.options["simulator"]["seed_simulator"] == 7
    return np.stack([pub.data.meas.array for pub in simulated.result])


@pytest.fixture(scope="module")
def make():
    return partial(Simulation, fake())


def test_two_workers_give_what_none_gives(make: Any):
    count = 3 * CHUNK_PUBS + 2
    alone, shared = ChunkedSimulation(make), ChunkedSimulation(make, 2)
    expected = bits(alone, count)
    np.testing.assert_array_equal(bits(shared, count), expected)
    shared.close()
    # Equal circuits in different chunks do not share their random numbers.
    assert not np.array_equal(expected[0], expected[CHUNK_PUBS])
    # What a chunk gives does not depend on how many follow.
    np.testing.assert_array_equal(bits(alone, CHUNK_PUBS), expected[:CHUNK_PUBS])
