"""Jobs that fail, are cancelled, deleted or stuck, and batches that run out of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from qexp.errors import JobsFailedError, UnfinishedError
from tests.emulator import faults
from tests.faults.conftest import CIRCUITS, PARTITIONS, Scenario

INTERNAL = 1010
INVALID = 3211
TOO_LONG = 1305
FIRST = Counter({0: 1})
WHERE = pytest.mark.parametrize(
    ("at", "again"),
    [("queue", Counter[int]()), ("start", Counter[int]()), ("end", FIRST)],
    ids=["queue", "start", "end"],
)


@WHERE
def test_an_error_of_the_service_is_tried_again(
    either: Scenario, at: Any, again: Counter[int]
) -> None:
    either.emulator.fail_next_job("Internal error.", INTERNAL, at=at)
    either.run()
    either.assert_complete(executed_again=again)
    failed, *done = sorted(either.jobs(), key=lambda job: (job.partition, job.attempt))
    assert (failed.partition, failed.attempt, failed.state) == (0, 1, "ERROR")
    assert (failed.failure, failed.error_code) == ("transient", INTERNAL)
    assert "Internal error." in (failed.error or "")
    assert [(job.partition, job.attempt) for job in done] == [(0, 2), (1, 1), (2, 1)]
    first, second = either.events("batch_opened")
    assert second["follows"] == first["batch"]
    with either.archive() as archive:
        batches = [batch.id for batch in archive.batches]
        assert batches == [first["batch"], second["batch"]]
        assert [batch.follows for batch in archive.batches] == [None, first["batch"]]
    assert [job.batch for job in done] == [1, 0, 0]


def test_not_more_often_than_configured(scenario: Scenario) -> None:
    scenario.allow(retries=2)
    scenario.inject(failing(scenario, 1, "Internal error.", INTERNAL))
    with pytest.raises(JobsFailedError, match="1 of 3 jobs have no result"):
        scenario.run()
    assert scenario.failures() == {(1, n): "transient" for n in (1, 2, 3)}
    with scenario.archive() as archive:
        assert archive.status == "partial"
        assert len(scenario.measured(archive)) == CIRCUITS - 2
    # Whoever resumes it wants it tried again.
    scenario.emulator.faults.clear()
    scenario.resume()
    scenario.assert_complete()
    assert [job.attempt for job in scenario.jobs() if job.partition == 1] == [1, 2, 3, 4]


def test_a_job_that_is_not_valid_is_never_tried_again(scenario: Scenario) -> None:
    scenario.inject(failing(scenario, 0, "Job not valid.", INVALID))
    for go_on in (scenario.run, scenario.resume):
        with pytest.raises(JobsFailedError, match="1 of 3 jobs"):
            go_on()
    assert scenario.failures() == {(0, 1): "refused"}
    assert scenario.posts() == PARTITIONS
    assert scenario.emulator.runs_per_partition() == {1: 1, 2: 1}


@WHERE
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("An internal error occurred. Please retry.", 6000),
        ("Internal error.", 9999),
        ("Job not valid. Retry the action. If it happens again, contact IBM.", INVALID),
    ],
)
def test_a_code_that_does_not_blame_the_job_is_not_final(
    scenario: Scenario, at: Any, again: Counter[int], reason: str, code: int
) -> None:
    scenario.emulator.fail_next_job(reason, code, at=at)
    scenario.run()
    scenario.assert_complete(executed_again=again)
    assert scenario.failures() == {(0, 1): "transient"}


@pytest.mark.parametrize(
    ("reason", "code", "key"),
    [
        ("Circuit count exceeded.", 3242, "max_circuits"),
        ("Failed to publish job: nats: maximum payload exceeded", 5302, "max_circuits"),
        ("Payload too large.", None, "max_payload_bytes"),
        ("26.8 million instructions per qubit are exceeded", 1, "max_control_instructions"),
        ("The number of executions exceeds 10000000.", 1, "max_executions"),
    ],
)
def test_a_job_that_turns_out_to_be_too_large(
    scenario: Scenario, reason: str, code: Any, key: str
) -> None:
    scenario.inject(failing(scenario, 0, reason, code))
    with pytest.raises(JobsFailedError, match="1 of 3 jobs"):
        scenario.run()
    assert scenario.failures() == {(0, 1): "too_large"}
    assert scenario.posts() == PARTITIONS
    (failed,) = [job for job in scenario.jobs() if job.state != "DONE"]
    said = (failed.error or "").lower()
    assert reason.rstrip(".").lower() in said
    assert f"; lower partition.{key}, and python -m qexp resume run --retry-refused" in said


@pytest.mark.parametrize("allowed", [False, True])
def test_a_job_that_took_too_long(scenario: Scenario, allowed: bool) -> None:
    scenario.allow(retry_too_long=allowed)
    scenario.emulator.fail_next_job("Maximum execution time.", TOO_LONG)
    if not allowed:
        with pytest.raises(JobsFailedError, match="1 of 3 jobs"):
            scenario.run()
        assert scenario.posts() == PARTITIONS
        scenario.resume()
    else:
        scenario.run()
    assert scenario.failures() == {(0, 1): "too_long"}
    scenario.assert_complete()


@pytest.mark.parametrize("running", [False, True], ids=["queued", "running"])
def test_a_job_that_someone_else_cancels(scenario: Scenario, running: bool) -> None:
    emulator = scenario.emulator
    if running:
        emulator.stall_next_job()
        cancelled = 0
    else:
        emulator.hold()
        cancelled = 1

    def cancel() -> None:
        if running:
            emulator.wait_until_running()
        emulator.cancel_job(emulator.job_ids[cancelled])
        emulator.release()

    scenario.inject(faults.then(faults.CLOSE_SESSION, cancel))
    with pytest.raises(JobsFailedError, match=rf"partitions {cancelled}\)"):
        scenario.run()
    # Someone meant it; only who resumes the run may want it after all.
    assert scenario.posts() == PARTITIONS
    assert scenario.failures() == {(cancelled, 1): "cancelled"}
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS + 1


def test_a_batch_that_someone_else_cancels(scenario: Scenario) -> None:
    emulator = scenario.emulator
    emulator.hold()
    scenario.inject(
        faults.then(faults.CLOSE_SESSION, lambda: emulator.cancel_session(emulator.session_ids[0]))
    )
    with pytest.raises(JobsFailedError, match="3 of 3 jobs"):
        scenario.run()
    with scenario.archive() as archive:
        assert archive.status == "failed"
    emulator.release()
    scenario.resume()
    scenario.assert_complete()


def test_a_batch_that_someone_else_closes_while_jobs_are_submitted(scenario: Scenario) -> None:
    emulator = scenario.emulator
    scenario.inject(
        faults.then(faults.POST_JOB, lambda: emulator.expire_session(emulator.session_ids[0]))
    )
    scenario.run()
    scenario.assert_complete()
    assert scenario.counts()["batch_opened"] == 2


def test_a_job_that_someone_else_deletes(scenario: Scenario) -> None:
    emulator = scenario.emulator
    emulator.hold()
    scenario.allow(outage_s=0.5)

    def delete() -> None:
        emulator.delete_job(emulator.job_ids[1])
        emulator.release()

    scenario.inject(faults.then(faults.CLOSE_SESSION, delete))
    scenario.run()
    scenario.assert_complete()
    assert scenario.failures() == {(1, 1): "lost"}


def test_a_job_that_someone_else_deletes_after_it_has_run(scenario: Scenario) -> None:
    emulator = scenario.emulator
    scenario.allow(outage_s=0.5)

    def delete() -> None:
        emulator.wait_until_idle()
        emulator.delete_job(emulator.job_ids[1])

    scenario.inject(faults.then(faults.CLOSE_SESSION, delete))
    scenario.run()
    scenario.assert_complete(executed_again=Counter({1: 1}))
    assert scenario.failures() == {(1, 1): "lost"}


@pytest.mark.parametrize("at_max_ttl", ["fail", "cancel"])
def test_a_batch_that_runs_out_of_time_with_jobs_queued(either: Scenario, at_max_ttl: Any) -> None:
    """The first job runs until the batch's second is over."""
    emulator = either.emulator
    emulator.limits.at_max_ttl = at_max_ttl
    either.max_time_s = 1
    emulator.stall_next_job()
    either.inject(faults.first(faults.LIST_JOBS, end_stall_when_over(either), times=None))
    either.run()
    either.assert_complete()
    failures = either.failures()
    assert failures == {(1, 1): "expired", (2, 1): "expired"}
    first, *others = either.events("batch_opened")
    assert others[0]["follows"] == first["batch"]
    assert {event["max_time_s"] for event in either.events("batch_opened")} == {1}
    assert len(others) == len(emulator.session_ids) - 1


def test_not_more_batches_follow_than_configured(scenario: Scenario) -> None:
    emulator = scenario.emulator
    scenario.allow(follow_ups=1)

    def expire() -> None:
        for session_id in emulator.session_ids:
            emulator.expire_session(session_id)

    emulator.hold()
    scenario.inject(faults.then(faults.CLOSE_SESSION, expire, times=None))
    with pytest.raises(JobsFailedError, match="3 of 3 jobs"):
        scenario.run()
    assert set(scenario.failures().values()) == {"expired"}
    assert scenario.counts()["batch_opened"] == 2
    emulator.faults.clear()
    emulator.release()
    scenario.resume()
    scenario.assert_complete()
    assert [event["follows"] for event in scenario.events("batch_opened")] == [
        None,
        *emulator.session_ids[:-1],
    ]


def test_a_job_that_is_stuck_until_the_deadline(scenario: Scenario) -> None:
    emulator = scenario.emulator
    emulator.stall_next_job()
    scenario.allow(deadline_s=1)
    with pytest.raises(UnfinishedError, match=r"deadline.*0 of 3 jobs are kept.*qexp resume"):
        scenario.run()
    assert scenario.counts()["interrupted"] == 1
    emulator.end_stall()
    scenario.allow(deadline_s=None)
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS


def failing(scenario: Scenario, partition: int, reason: str, code: int) -> faults.Scripted:
    """Every job of a partition fails when it starts, as long as this is there."""
    emulator = scenario.emulator

    def fail() -> None:
        emulator.wait_until_idle()
        emulator.fail_next_job(reason, code)

    tag = rf"qexp-job:{partition}\..*"
    return faults.first(faults.POST_JOB.tagged(tag), fail, times=None)


def end_stall_when_over(scenario: Scenario) -> Callable[[], None]:
    """The job that stalls goes on as soon as the first batch has run out of time.

    That is as soon as it runs and all others wait.
    """
    emulator = scenario.emulator

    def end() -> None:
        states = list(emulator.job_states().values())
        if len(states) == PARTITIONS and "Running" in states:
            emulator.pass_time(1)
            emulator.end_stall()

    return end
