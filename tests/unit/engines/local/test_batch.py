from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from qexp.core.model import JobRequest
from qexp.engines.local.batch import LocalBatch, Simulated
from qexp.errors import BatchOverError, EngineError, LostJobError
from tests.unit.engines.local.stand_ins import TIMEOUT_S, Clock, Simulator, job, wait_for


def test_jobs_run_one_after_the_other_in_order_of_submission(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    ids = [batch.submit(job(index)) for index in range(3)]
    simulator.wait_until_running()
    assert list(batch.states().values()) == ["RUNNING", "QUEUED", "QUEUED"]
    for _ in ids:
        simulator.finish_one()
    wait_for(batch, *ids)
    assert simulator.started == [0, 1, 2]
    assert [batch.collect(job_id).partition for job_id in ids] == [0, 1, 2]


def test_circuits_are_loaded_when_the_job_starts(simulator: Simulator) -> None:
    loaded: list[int] = []

    def loader(index: int) -> Callable[[], Sequence[Any]]:
        return lambda: loaded.append(index) or ["a"]  # type: ignore[func-returns-value]

    batch = LocalBatch(backend_name="b", simulate=simulator)
    ids = [batch.submit(job(index, loader(index))) for index in range(2)]
    simulator.wait_until_running()
    assert loaded == [0]
    simulator.finish_one()
    simulator.finish_one()
    wait_for(batch, *ids)
    assert loaded == [0, 1]


def test_jobs_are_run_although_the_batch_is_closed(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    ids = [batch.submit(job(index)) for index in range(2)]
    batch.close()
    assert batch.details()["state"] in {"open", "active"}
    assert batch.details()["accepting_jobs"] is False
    for _ in ids:
        simulator.finish_one()
    wait_for(batch, *ids)
    assert set(batch.states().values()) == {"DONE"}


def test_details_and_outcome_have_times_and_usage(clock: Clock, simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator, max_time_s=900, clock=clock)
    assert batch.id.startswith("local-")
    clock.now += 1
    job_id = batch.submit(job(0))
    simulator.wait_until_running()
    clock.now += 2.5
    batch.close()
    clock.now += 1
    simulator.finish_one()
    wait_for(batch, job_id)
    clock.now += 100
    assert batch.details() == {
        "id": batch.id,
        "backend_name": "b",
        "interactive_timeout": None,
        "max_time": 900,
        "active_timeout": None,
        "state": "closed",
        "accepting_jobs": False,
        "last_job_started": "2023-11-14T22:13:21.000000Z",
        "last_job_completed": "2023-11-14T22:13:24.500000Z",
        "started_at": "2023-11-14T22:13:21.000000Z",
        "closed_at": "2023-11-14T22:13:24.500000Z",
        "activated_at": "2023-11-14T22:13:21.000000Z",
        "mode": "local",
        "usage_time": 3.5,
        "timestamps": [
            {"status": "open", "timestamp": "2023-11-14T22:13:20.000000Z"},
            {"status": "active", "timestamp": "2023-11-14T22:13:21.000000Z"},
            {"status": "closed", "timestamp": "2023-11-14T22:13:24.500000Z"},
        ],
    }
    outcome = batch.collect(job_id)
    assert outcome.result == "result of 2"
    assert outcome.metrics == {
        "timestamps": {
            "created": "2023-11-14T22:13:21.000000Z",
            "running": "2023-11-14T22:13:21.000000Z",
            "finished": "2023-11-14T22:13:24.500000Z",
        },
        "usage": {"qpu_charge_time_seconds": 3.5, "status": "complete"},
    }
    assert [(span.pub, span.size) for span in outcome.spans] == [(0, 10), (1, 10)]
    assert {span.stop for span in outcome.spans} == {"2023-11-14T22:13:24.500000Z"}
    assert outcome.info == {
        "primitive": "sampler",
        "implementation": "client",
        "tags": ["t"],
        "seed": 1,
        "simulator": "none",
    }


def test_after_max_time_the_running_job_finishes_and_queued_ones_fail(
    clock: Clock, simulator: Simulator
) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator, max_time_s=60, clock=clock)
    # The time in the queue does not count: max_time begins with the first job.
    clock.now += 1000
    running, queued = (batch.submit(job(index)) for index in range(2))
    simulator.wait_until_running()
    clock.now += 59
    last = batch.submit(job(2))
    clock.now += 1
    with pytest.raises(BatchOverError, match=r"partition 3 .* max_time of 60 s"):
        batch.submit(job(3))
    assert batch.details()["accepting_jobs"] is False
    clock.now += 5
    simulator.finish_one()
    wait_for(batch, running, queued, last)
    assert batch.collect(running).state == "DONE"
    for job_id in (queued, last):
        outcome = batch.collect(job_id)
        assert (outcome.state, outcome.failure) == ("ERROR", "expired")
        assert outcome.error is not None
        assert "max_time of 60 s" in outcome.error
        assert outcome.metrics["timestamps"]["running"] is None
        assert outcome.metrics["usage"]["qpu_charge_time_seconds"] == 0
    details = batch.details()
    assert details["state"] == "closed"
    assert details["usage_time"] == 65
    assert details["closed_at"] == details["last_job_completed"]


def test_max_time_ends_an_idle_batch(clock: Clock, simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator, max_time_s=60, clock=clock)
    simulator.finish_one()
    wait_for(batch, batch.submit(job(0)))
    clock.now += 59
    assert batch.details()["state"] == "active"
    clock.now += 31
    assert batch.details()["closed_at"] == "2023-11-14T22:14:20.000000Z"


@pytest.mark.parametrize("max_time_s", [None, 60])
def test_an_unused_batch_stays_open_until_closed(
    clock: Clock, simulator: Simulator, max_time_s: int | None
) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator, max_time_s=max_time_s, clock=clock)
    clock.now += 10_000
    assert batch.details()["state"] == "open"
    batch.close()
    clock.now += 1
    batch.close()
    assert batch.details()["state"] == "closed"
    assert batch.details()["closed_at"] == "2023-11-15T01:00:00.000000Z"


def test_a_job_that_raises_is_an_outcome_on_one_line(simulator: Simulator) -> None:
    def broken() -> Sequence[Any]:
        raise ValueError("no such\n  file")

    batch = LocalBatch(backend_name="b", simulate=simulator)
    failed, sound = batch.submit(job(0, broken)), batch.submit(job(1))
    simulator.finish_one()
    wait_for(batch, failed, sound)
    outcome = batch.collect(failed)
    assert (outcome.state, outcome.error) == ("ERROR", "ValueError: no such file")
    assert outcome.failure == "internal"
    assert outcome.result is None
    assert outcome.spans == ()
    assert batch.collect(sound).state == "DONE"


def test_a_simulation_that_raises_is_an_internal_failure() -> None:
    def broken(request: JobRequest) -> Simulated:
        raise EngineError("no such gate")

    batch = LocalBatch(backend_name="b", simulate=broken)
    job_id = batch.submit(job(0))
    wait_for(batch, job_id)
    outcome = batch.collect(job_id)
    assert (outcome.state, outcome.failure) == ("ERROR", "internal")
    assert outcome.error == "EngineError: no such gate"


@pytest.mark.parametrize(
    ("way_out", "reason"),
    [
        (LocalBatch.abandon, "abandoned before it ran"),
        (LocalBatch.cancel, "cancelled before it ran"),
    ],
)
def test_the_queue_is_dropped_and_the_running_job_finishes(
    simulator: Simulator, way_out: Callable[[LocalBatch], None], reason: str
) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    running, queued = (batch.submit(job(index)) for index in range(2))
    simulator.wait_until_running()
    way_out(batch)
    way_out(batch)
    assert batch.states()[queued] == "CANCELLED"
    with pytest.raises(BatchOverError, match="closed"):
        batch.submit(job(2))
    simulator.finish_one()
    wait_for(batch, running)
    assert batch.collect(running).state == "DONE"
    outcome = batch.collect(queued)
    assert (outcome.state, outcome.failure) == ("CANCELLED", "cancelled")
    assert outcome.error == reason
    assert simulator.started == [0]


def test_a_job_is_collected_once_when_it_is_finished(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    job_id = batch.submit(job(0))
    simulator.wait_until_running()
    with pytest.raises(EngineError, match="RUNNING"):
        batch.collect(job_id)
    simulator.finish_one()
    wait_for(batch, job_id)
    batch.collect(job_id)
    with pytest.raises(EngineError, match="collected before"):
        batch.collect(job_id)
    with pytest.raises(LostJobError, match="not one of batch"):
        batch.collect("nobody")


def test_a_finished_job_does_not_hold_on_to_its_circuits(simulator: Simulator) -> None:
    class Circuit:
        pass

    circuit = Circuit()
    seen = weakref.ref(circuit)
    batch = LocalBatch(backend_name="b", simulate=simulator)
    # The next job makes sure that the worker is done with the first one.
    job_id = batch.submit(job(0, lambda pubs=(circuit,): pubs))  # type: ignore[misc]
    batch.submit(job(1))
    del circuit
    simulator.finish_one()
    wait_for(batch, job_id)
    simulator.wait_until_running()
    simulator.wait_until_running()
    gc.collect()
    assert seen() is None


def test_the_process_exits_although_a_job_is_running() -> None:
    program = """
import threading
from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.engines.local.batch import LocalBatch
started = threading.Event()
def simulate(request):
    started.set()
    threading.Event().wait()
batch = LocalBatch(backend_name="b", simulate=simulate)
partition = Partition(0, "main", 0, 1, 1, None, 1, 0, 0.0, "end")
for _ in range(2):
    batch.submit(JobRequest(partition, PrimitiveSpec("sampler"), list, (), 1))
started.wait()
batch.abandon()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=TIMEOUT_S)


def test_a_job_is_prepared_while_the_one_before_it_runs():
    simulator, prepared = Simulator(), []
    batch = LocalBatch(
        backend_name="b",
        simulate=simulator,
        prepare=lambda request: prepared.append(request.partition.index) is None,
    )
    first = batch.submit(job(0))
    simulator.wait_until_running()
    assert prepared == [0]
    ids = [batch.submit(job(index)) for index in (1, 2)]
    simulator.finish_one()
    simulator.wait_until_running()
    assert prepared == [0, 1, 2]
    simulator.finish_one()
    simulator.finish_one()
    batch.close()
    wait_for(batch, first, *ids)
    assert prepared == [0, 1, 2, 2]


def test_any_exception_of_the_simulator_ends_its_job():
    def leave(_: JobRequest) -> Simulated:
        raise SystemExit(3)

    batch = LocalBatch(backend_name="b", simulate=leave)
    job_id = batch.submit(job(0))
    wait_for(batch, job_id)
    outcome = batch.collect(job_id)
    assert (outcome.state, outcome.failure) == ("ERROR", "internal")
    assert outcome.error == "SystemExit: 3"
    batch.close()
