"""Ends of a batch and its jobs, also when the run is stopped."""

from __future__ import annotations

import threading

import pytest

from qexp.errors import BatchOverError
from tests.contract.bench import TIMEOUT_S, Bench, wait_for


def test_cancelling_a_batch_cancels_its_queue(batching: Bench) -> None:
    batch = batching.open_batch()
    with batching.hold(batch):
        queued = [batch.submit(batching.job(index, attempt=2)) for index in range(2)]
        batch.cancel()
        batch.cancel()
        with pytest.raises(BatchOverError, match="closed"):
            batch.submit(batching.job(2))
    batch.close()
    wait_for(batch, *queued)
    for index, job_id in enumerate(queued):
        outcome = batch.collect(job_id)
        assert (outcome.state, outcome.failure, outcome.result) == ("CANCELLED", "cancelled", None)
        assert outcome.error
        assert (outcome.job_id, outcome.partition) == (job_id, index)
        assert (outcome.attempt, outcome.batch_id) == (2, batch.id)
    assert batch.details()["accepting_jobs"] is False


def test_max_time_ends_the_queued_jobs_and_the_batch(batching: Bench) -> None:
    batch = batching.open_batch()
    with batching.hold(batch):
        queued = batch.submit(batching.job(0))
        batching.case.expire(batch, batching.fixtures)
        with pytest.raises(BatchOverError, match="artition 1 "):
            batch.submit(batching.job(1))
    wait_for(batch, queued)
    outcome = batch.collect(queued)
    assert (outcome.failure, outcome.result) == ("expired", None)
    assert outcome.state in {"ERROR", "CANCELLED"}
    assert outcome.error
    assert batch.details()["accepting_jobs"] is False
    batch.close()


def test_abandoning_a_batch_closes_it_and_touches_no_job_that_outlives_it(batching: Bench) -> None:
    batch = batching.open_batch()
    with batching.hold(batch):
        queued = batch.submit(batching.job(0))
        batch.abandon()
        with pytest.raises(BatchOverError, match="closed"):
            batch.submit(batching.job(1))
    wait_for(batch, queued)
    expected = "DONE" if batching.case.is_remote else "CANCELLED"
    assert batch.collect(queued).state == expected


def test_wait_ends_when_the_run_is_stopped(batching: Bench) -> None:
    batch = batching.case.patient(batching.engine).open_batch(batching.backend, max_time_s=None)
    answers = iter([False, False, True])
    finished = threading.Event()

    def wait() -> None:
        batch.wait(1e6, lambda: next(answers))
        finished.set()

    with batching.hold(batch):
        queued = batch.submit(batching.job(0))
        batch.states()
        threading.Thread(target=wait, daemon=True).start()
        assert finished.wait(TIMEOUT_S)
        assert list(answers) == []
        assert batch.states()[queued] == "QUEUED"
        batch.cancel()
