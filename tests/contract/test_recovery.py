"""Jobs of an earlier process: found by their tags, adopted, and collected like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qexp.core.model import JobOutcome
from qexp.core.protocols import RemoteBatch
from qexp.errors import BatchOverError, LostJobError
from tests.contract.bench import Bench, wait_for, when
from tests.contract.conftest import prepared
from tests.contract.engine_cases import REMOTE_CASES, EngineCase

RUN_TAG = "qexp-run:contract"
TAG = "qexp-job:3.2:0123456789abcdef"
OTHER_TAG = "qexp-job:4.1:fedcba9876543210"


@pytest.fixture(params=REMOTE_CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> EngineCase:
    """Only the engines whose jobs outlive the process."""
    return prepared(request)


def test_jobs_are_found_by_their_tags(batching: Bench) -> None:
    batch = batching.open_remote_batch()
    assert list(batch.find(TAG)) == []
    with batching.hold(batch):
        first = batch.submit(batching.job(3, tags=(RUN_TAG, TAG), attempt=2))
        second = batch.submit(batching.job(4, tags=(RUN_TAG, OTHER_TAG)))
        batch.close()
        assert [found.job_id for found in batch.find(RUN_TAG)] == [first, second]
        (found,) = batch.find(TAG)
        assert (found.job_id, found.state) == (first, "QUEUED")
        assert set(found.tags) >= {RUN_TAG, TAG}
        assert when(found.created)
        # The whole tag counts.
        assert list(batch.find(TAG[:-1])) == []
    wait_for(batch, first, second)
    assert [found.state for found in batch.find(RUN_TAG)] == ["DONE", "DONE"]


def test_an_attached_batch_is_only_there_to_collect(batching: Bench) -> None:
    batch = batching.open_remote_batch()
    batch.close()
    attached = batching.attach_batch(batch)
    assert isinstance(attached, RemoteBatch)
    assert attached.id == batch.id
    assert attached.details()["id"] == batch.id
    assert dict(attached.states()) == {}
    assert list(attached.strays()) == []
    with pytest.raises(BatchOverError, match=batch.id):
        attached.submit(batching.job(0))
    attached.adopt("no-such-job", batching.job(0))
    assert dict(attached.states()) == {"no-such-job": "ERROR"}
    with pytest.raises(LostJobError, match="no-such-job"):
        attached.collect("no-such-job")
    attached.wait(0.0, lambda: True)
    attached.close()
    attached.abandon()
    attached.cancel()


def test_a_job_that_outlives_its_process_is_adopted(bench: Bench) -> None:
    batch = bench.open_remote_batch()
    request = bench.job(3, tags=(RUN_TAG, TAG), attempt=2)
    with bench.hold(batch):
        job_id = batch.submit(request)
        batch.close()
        # Another process has another object for the same batch.
        attached = bench.attach_batch(batch)
        (found,) = attached.find(TAG)
        assert found.job_id == job_id
        attached.adopt(job_id, request)
        assert dict(attached.states()) == {job_id: "QUEUED"}
    wait_for(attached, job_id)
    # The circuits of an adopted job are on the service.
    assert bench.loads[3] == 1
    adopted = attached.collect(job_id)
    wait_for(batch, job_id)
    # They are read once more, for the form of its result.
    assert bench.loads[3] == 2
    assert_equal(adopted, batch.collect(job_id))


def test_a_job_that_has_ended_is_adopted_too(bench: Bench) -> None:
    batch = bench.open_remote_batch()
    request = bench.job(3, tags=(RUN_TAG, TAG), attempt=2)
    job_id = batch.submit(request)
    batch.close()
    wait_for(batch, job_id)
    attached = bench.attach_batch(batch)
    attached.adopt(job_id, request)
    wait_for(attached, job_id)
    assert_equal(attached.collect(job_id), batch.collect(job_id))


def test_an_adopted_job_is_cancelled_like_any_other(batching: Bench) -> None:
    batch = batching.open_remote_batch()
    request = batching.job(0, tags=(RUN_TAG, TAG))
    with batching.hold(batch):
        job_id = batch.submit(request)
        attached = batching.attach_batch(batch)
        attached.adopt(job_id, request)
        attached.cancel_job(job_id)
    wait_for(attached, job_id)
    assert attached.collect(job_id).failure == "cancelled"


def test_a_job_that_nobody_submitted_here_is_a_stray(batching: Bench) -> None:
    batch = batching.open_remote_batch()
    twin = batching.job(0, tags=(RUN_TAG, TAG))
    with batching.hold(batch):
        kept, second = batch.submit(twin), batch.submit(twin)
        batch.close()
        batch.states()
        assert list(batch.strays()) == []
        attached = batching.attach_batch(batch)
        attached.adopt(kept, twin)
        assert list(attached.states()) == [kept]
        (stray,) = attached.strays()
        assert stray.job_id == second
        assert TAG in stray.tags
        attached.cancel_job(second)
    wait_for(attached, kept)
    assert attached.collect(kept).state == "DONE"


def test_a_cancelled_job_is_an_outcome_and_spoils_no_other(batching: Bench) -> None:
    batch = batching.open_remote_batch()
    with batching.hold(batch):
        unwanted = batch.submit(batching.job(0, attempt=2))
        sound = batch.submit(batching.job(1))
        batch.cancel_job(unwanted)
        batch.cancel_job(unwanted)
    batch.close()
    wait_for(batch, unwanted, sound)
    outcome = batch.collect(unwanted)
    assert (outcome.state, outcome.failure, outcome.result) == ("CANCELLED", "cancelled", None)
    assert outcome.error
    assert (outcome.job_id, outcome.partition) == (unwanted, 0)
    assert (outcome.attempt, outcome.batch_id) == (2, batch.id)
    assert batching.loads[0] <= 1
    batch.cancel_job(sound)
    assert batch.collect(sound).state == "DONE"


def assert_equal(adopted: JobOutcome, submitted: JobOutcome) -> None:
    """The outcome of a job that was adopted is that of any other."""
    assert (adopted.attempt, adopted.batch_id) == (2, submitted.batch_id)
    assert (adopted.partition, adopted.state) == (3, "DONE")
    assert arrays(adopted.result) == arrays(submitted.result)
    assert arrays(adopted.raw and adopted.raw.pubs) == arrays(submitted.raw and submitted.raw.pubs)
    assert replace(adopted, result=None, raw=None) == replace(submitted, result=None, raw=None)


def arrays(result: Any) -> list[dict[str, Any]]:
    """The data of each PUB, comparable."""
    return [
        {
            name: np.asarray(getattr(value, "array", value)).tolist()
            for name, value in pub.data.items()
        }
        for pub in result or ()
    ]
