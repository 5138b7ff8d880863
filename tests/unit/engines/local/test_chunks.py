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
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers.fake_provider import GenericBackendV2

from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.core.seeds import as_int, child
from qexp.engines.local import chunks
from qexp.engines.local.backends import aer, fake
from qexp.engines.local.chunks import CHUNK_PUBS, ChunkedSimulation, Piece, cut
from qexp.engines.local.simulation import Simulation
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


def sweep(sets: int) -> SamplerPub:
    circuit = QuantumCircuit(1)
    angle = Parameter("angle")
    circuit.sx(0)
    circuit.rz(angle, 0)
    circuit.sx(0)
    circuit.measure_all()
    return SamplerPub.coerce((circuit, np.linspace(0, 3, sets), 5))


# Whole blocks of 50.
SETS = [range(0, 5050), range(5050, 10_100), range(10_100, 15_150), range(15_150, 20_000)]


def mixed_pubs() -> list[Any]:
    """Many PUBs, of which one has enough work for four pieces."""
    return [sweep(2), sweep(20_000), *pubs(3 * CHUNK_PUBS - 2)]


def mixed_request() -> JobRequest:
    return replace(request(3 * CHUNK_PUBS), load_pubs=mixed_pubs)


def assert_same(one: Any, other: Any) -> None:
    assert one.executions == other.executions
    assert one.info == other.info
    for mine, its in zip(one.result, other.result, strict=True):
        assert mine.metadata == its.metadata
        assert mine.data.shape == its.data.shape
        for name in mine.data:
            array = getattr(mine.data[name], "array", mine.data[name])
            np.testing.assert_array_equal(array, getattr(its.data[name], "array", its.data[name]))


def test_the_sets_of_a_pub_are_shared_by_workers(make: Any, monkeypatch: pytest.MonkeyPatch):
    shared = ChunkedSimulation(make(), Workers(2))
    job, begun = mixed_request(), []
    submit = shared._submit
    monkeypatch.setattr(shared, "_submit", lambda task: (begun.append(task.piece), submit(task)))
    in_pieces = shared.run(job)
    shared.close()
    assert [piece.sets for piece in begun if piece and piece.sets] == SETS
    monkeypatch.setattr(chunks, "PIECE_S", 1e6)
    assert_same(in_pieces, ChunkedSimulation(make(), Workers(1)).run(job))


@pytest.mark.parametrize("kind", ["sampler", "estimator"])
def test_pieces_change_nothing(make: Any, monkeypatch: pytest.MonkeyPatch, kind: Any):
    monkeypatch.setattr("qexp.simulator.states._CHUNK_SETS", 16)
    some = [sweep(130), *pubs(2), sweep(70)]
    if kind == "estimator":
        bare = sweep(70).circuit.remove_final_measurements(inplace=False)
        some = [EstimatorPub.coerce((bare, ["Z", "X"], np.ones((70, 1, 1)), 0.1))] * 3
    job = replace(request(len(some)), primitive=PrimitiveSpec(kind), load_pubs=lambda: some)
    found = []
    for piece_s in (1e6, 1e-6):
        monkeypatch.setattr(chunks, "PIECE_S", piece_s)
        found.append(ChunkedSimulation(make(), Workers(1)).run(job))
    assert_same(*found)


def work(make: Any, some: list[Any]) -> list[Piece]:
    return cut(make(), request(len(some)), some)


def test_pieces_have_about_equal_work(make: Any):
    assert work(make, pubs(25)) == [Piece(range(25), None, pytest.approx(0.025, rel=0.2))]
    pieces = work(make, [*pubs(2), sweep(20_000), *pubs(3)])
    assert [(piece.only, piece.sets) for piece in pieces] == [
        (range(2), None),
        *((range(2, 3), sets) for sets in SETS),
        (range(3, 6), None),
    ]
    assert sum(piece.seconds for piece in pieces) == pytest.approx(1.0, rel=0.1)


def test_a_backend_that_simulates_itself_gets_all_pubs_at_once():
    backend = GenericBackendV2(2, seed=3)
    assert len(cut(Simulation(backend), request(25), [sweep(20_000)] * 25)) == 1


def test_the_pubs_of_a_given_simulator_are_shared_by_a_guess():
    wide = QuantumCircuit(28)
    wide.h(range(28))
    wide.measure_all()
    pieces = cut(
        Simulation(aer(30)), request(4), [*pubs(2), SamplerPub.coerce((wide,), 5), *pubs(1)]
    )
    assert [piece.only for piece in pieces] == [range(2), range(2, 3), range(3, 4)]


def test_jobs_are_begun_until_the_workers_have_enough(make: Any):
    with Workers(2) as workers:
        shared = ChunkedSimulation(make(), workers)
        jobs = [request(3 * CHUNK_PUBS) for _ in range(3)]
        # The first is the one that is run; the pieces of the others are what is ahead.
        assert [shared.prepare(job) for job in jobs] == [True, True, False]
        # A small job is simulated here, and nothing is begun beside it.
        assert shared.prepare(request(2)) is False
        shared.close()


def test_progress_is_the_predicted_work_that_is_done(make: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chunks, "PIECE_S", 1e-6)
    simulation, seen = make(), []
    chunked, job = ChunkedSimulation(simulation, Workers(1)), request(3)
    job = replace(job, load_pubs=lambda: [sweep(100), *pubs(2)])
    run = simulation.run

    def watched(*arguments: Any) -> Any:
        seen.append(chunked.progress([job, request(1)]))
        return run(*arguments)

    monkeypatch.setattr(simulation, "run", watched)
    chunked.run(job)
    assert [one.jobs for one in seen] == pytest.approx([0, 0.35, 0.7, 0.85], abs=0.1)
    assert seen[-1].core_s == pytest.approx(0.0055, rel=0.3)
    # Ended jobs are counted by the batch.
    assert chunked.progress([job]).jobs == 0
    assert chunked.progress([]).core_s > seen[-1].core_s


def test_chunks_whose_work_is_not_known_yet_are_average():
    job = chunks._Job(request(4 * CHUNK_PUBS))
    assert job.share == 0
    pieces = [Piece(range(5), None, 3.0), Piece(range(5, 25), None, 1.0)]
    job.know(chunks._Chunk(0, CHUNK_PUBS, 1), pieces)
    job.add((0, 1), pieces[1], None)  # type: ignore[arg-type]
    assert job.share == 1 / 16


def test_a_forecast_knows_what_is_not_divided(make: Any):
    simulation = make()
    forecast = simulation.forecast(PrimitiveSpec("sampler"), sweep(200))
    assert forecast.longest_s == pytest.approx(forecast.core_s / 4)
    bare = sweep(1).circuit.remove_final_measurements(inplace=False)
    pub = EstimatorPub.coerce((bare, "Z", np.ones((512, 1)), 0.1))
    forecast = simulation.forecast(PrimitiveSpec("estimator"), pub)
    assert forecast.longest_s == pytest.approx(forecast.core_s / 2)
