"""A job's data are the same however many workers share it."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.core.seeds import as_int, child
from qexp.engines.local.backends import fake
from qexp.engines.local.simulation import CHUNK_PUBS, ChunkedSimulation, Simulation
from qexp.errors import EngineError
from qexp.simulator import SIMULATOR_VERSION
from qexp.workers import Workers


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


def test_two_workers_give_the_same_data_as_none(make: Any):
    count = 3 * CHUNK_PUBS + 2
    alone, shared = ChunkedSimulation(make(), Workers(1)), ChunkedSimulation(make(), Workers(2))
    expected = bits(alone, count)
    np.testing.assert_array_equal(bits(shared, count), expected)
    shared.close()
    # Equal circuits in different chunks do not share their random numbers.
    assert not np.array_equal(expected[0], expected[CHUNK_PUBS])
    # The data of a chunk do not depend on the chunks after it.
    np.testing.assert_array_equal(bits(alone, CHUNK_PUBS), expected[:CHUNK_PUBS])


def test_a_job_that_was_begun_early_gives_the_same(make: Any):
    first, second = request(3 * CHUNK_PUBS), replace(request(3 * CHUNK_PUBS), seed=8)
    alone, shared = ChunkedSimulation(make(), Workers(1)), ChunkedSimulation(make(), Workers(2))
    for job in (first, second, second):
        shared.prepare(job)
    got = [shared.run(job).result for job in (first, second)]
    shared.close()
    expected = [alone.run(job).result for job in (first, second)]
    for result, known in zip(got, expected, strict=True):
        for pub, other in zip(result, known, strict=True):
            np.testing.assert_array_equal(pub.data.meas.array, other.data.meas.array)


def test_calibration_is_one_object_for_all_jobs(make: Any):
    shared = ChunkedSimulation(make(), Workers(2))
    found = [shared.run(request(count)).backend_properties for count in (3 * CHUNK_PUBS, 2)]
    shared.close()
    assert found[0] is found[1]
    assert found[0]["backend_name"] == "ibmq_manila"


def test_a_dead_worker_is_an_error(make: Any):
    shared = ChunkedSimulation(make(), Workers(2))
    job = replace(request(3 * CHUNK_PUBS), load_pubs=die)
    with pytest.raises(EngineError, match="a worker process died"):
        shared.run(job)
    # The next job has new workers.
    assert len(shared.run(request(3 * CHUNK_PUBS)).result) == 3 * CHUNK_PUBS
    shared.close()


def die() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_fails_only_the_job_that_killed_it(make: Any):
    shared = ChunkedSimulation(make(), Workers(2))
    bad, good = replace(request(3 * CHUNK_PUBS), load_pubs=die), request(3 * CHUNK_PUBS)
    for job in (bad, good):
        shared.prepare(job)
    with pytest.raises(EngineError, match="a worker process died"):
        shared.run(bad)
    assert len(shared.run(good).result) == 3 * CHUNK_PUBS
    shared.close()


def test_a_job_goes_on_when_another_one_s_chunk_killed_the_workers(make: Any):
    shared = ChunkedSimulation(make(), Workers(2))
    good, bad = request(8 * CHUNK_PUBS), replace(request(3 * CHUNK_PUBS), load_pubs=die)
    # Begun in this order, so that the workers die while the good one is gathered.
    for job in (bad, good):
        shared.prepare(job)
    assert len(shared.run(good).result) == 8 * CHUNK_PUBS
    shared.close()


def test_closing_leaves_the_workers_to_others_and_is_for_good(make: Any):
    with Workers(2) as workers:
        first, second = ChunkedSimulation(make(), workers), ChunkedSimulation(make(), workers)
        job = request(3 * CHUNK_PUBS)
        second.prepare(job)
        first.close()
        assert len(second.run(job).result) == 3 * CHUNK_PUBS
        with pytest.raises(EngineError, match="abandoned"):
            first.run(request(3 * CHUNK_PUBS))


def test_a_job_that_is_abandoned_is_not_waited_for(make: Any):
    with Workers(2) as workers:
        shared = ChunkedSimulation(make(), workers)
        job = request(20 * CHUNK_PUBS)
        shared.prepare(job)
        shared.close()
        with pytest.raises(EngineError, match="abandoned"):
            shared.run(job)


def test_a_backend_that_cannot_be_pickled_is_simulated_here(caplog: pytest.LogCaptureFixture):
    backend = type(fake())()
    backend.lock = threading.Lock()
    simulation = Simulation(backend)
    with caplog.at_level("WARNING", "qexp"):
        simulated = ChunkedSimulation(simulation, Workers(2)).run(request(3 * CHUNK_PUBS))
    assert len(simulated.result) == 3 * CHUNK_PUBS
    assert "without worker processes" in caplog.text


def dynamic_pubs(count: int) -> list[Any]:
    """PUBs that only Aer simulates."""
    circuit = QuantumCircuit(1, 2)
    circuit.sx(0)
    circuit.measure(0, 0)
    # No Clifford gate.
    circuit.rz(0.3, 0)
    circuit.sx(0)
    circuit.measure(0, 1)
    return [SamplerPub.coerce((circuit, None, 50))] * count


@pytest.mark.parametrize("count", [1, 2])
def test_what_aer_runs_is_never_run_in_this_process(
    make: Any, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    job = replace(request(7), load_pubs=partial(dynamic_pubs, 7))
    expected = make().run(replace(job, seed=_first_chunk_seed(job)), dynamic_pubs(7)).result
    monkeypatch.setattr(Simulation, "run", _refuse_to_run)
    shared = ChunkedSimulation(make(), Workers(count))
    result = shared.run(job).result
    shared.close()
    assert len(result) == 7
    for one, other in zip(result, expected, strict=True):
        np.testing.assert_array_equal(one.data.c.array, other.data.c.array)


def _first_chunk_seed(job: JobRequest) -> int:
    return as_int(child(np.random.SeedSequence(job.seed), 0))


def _refuse_to_run(*_: Any) -> Any:
    raise AssertionError("simulated in the main process")


def test_methods_are_recorded_in_the_order_of_the_pubs(make: Any):
    info = ChunkedSimulation(make(), Workers(1)).run(request(CHUNK_PUBS + 2)).info
    assert info["simulator_methods"] == [["density_matrix", CHUNK_PUBS + 2]]
    assert info["simulator_version"] == SIMULATOR_VERSION
