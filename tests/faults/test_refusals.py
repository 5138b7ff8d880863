"""The service answers, and says no: not now, not so much, not with this token."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from qexp.errors import JobsFailedError, UnfinishedError
from qexp.experiment import run
from tests.emulator import faults
from tests.emulator.limits import RateLimit
from tests.faults.conftest import CIRCUITS, PARTITIONS, Scenario

TOO_MANY_REQUESTS = 1202
SECOND = faults.POST_JOB.tagged(r"qexp-job:1\.1:.*")
SECOND_EVER = faults.POST_JOB.tagged(r"qexp-job:1\..*")


@pytest.mark.parametrize("retry_after_s", [None, 1], ids=["without", "with_retry_after"])
def test_429_on_submission(either: Scenario, retry_after_s: int | None) -> None:
    either.inject(
        faults.status(
            faults.POST_JOB,
            429,
            error=TOO_MANY_REQUESTS,
            retry_after_s=retry_after_s,
            nth=2,
            times=2,
        )
    )
    either.run()
    either.assert_complete()
    assert either.posts() == PARTITIONS + 2
    assert either.counts()["submitting"] == PARTITIONS
    assert len(either.watcher.paused) == 2
    if retry_after_s is not None:
        assert [seconds for _, seconds in either.watcher.paused] == [1.0, 1.0]


@pytest.mark.parametrize("tells", [True, False], ids=["with_retry_after", "without"])
def test_a_rate_limit(scenario: Scenario, tells: bool) -> None:
    scenario.emulator.limits.rate = RateLimit(jobs=1, period_s=0.5, tells=tells)
    scenario.run()
    scenario.assert_complete()
    assert scenario.watcher.paused


@pytest.mark.parametrize(
    "endpoint",
    [faults.OPEN_SESSION, faults.LIST_JOBS, faults.RESULTS, faults.METRICS, faults.USAGE],
    ids=["open_session", "list_jobs", "results", "metrics", "usage"],
)
def test_429_elsewhere(scenario: Scenario, endpoint: faults.Endpoint) -> None:
    scenario.inject(faults.status(endpoint, 429, error=TOO_MANY_REQUESTS, times=2))
    scenario.run()
    scenario.assert_complete()


def test_as_many_pending_jobs_as_the_account_may_have(scenario: Scenario) -> None:
    scenario.emulator.limits.max_pending = 1
    scenario.emulator.stall_next_job()
    scenario.inject(faults.then(faults.POST_JOB, scenario.emulator.end_stall, nth=2))
    scenario.run()
    scenario.assert_complete()
    assert scenario.posts() > PARTITIONS
    assert scenario.counts()["submitting"] == PARTITIONS
    assert any("pending" in reason for reason, _ in scenario.watcher.paused)


def test_as_many_pending_jobs_as_the_config_says(scenario: Scenario) -> None:
    """The service never has to refuse one."""
    scenario.emulator.limits.max_pending = 1
    scenario.allow(max_pending=1)
    scenario.run()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS


def test_a_payload_that_is_too_large_is_not_sent_again(scenario: Scenario) -> None:
    scenario.inject(faults.status(SECOND_EVER, 413, times=None))
    with pytest.raises(JobsFailedError, match=r"1 of 3 jobs have no result \(partitions 1\)"):
        scenario.run()
    assert scenario.posts() == PARTITIONS
    assert scenario.failures() == {(1, 1): "too_large"}
    (refused,) = [job for job in scenario.jobs() if job.state != "DONE"]
    assert "413" in (refused.error or "")
    assert (refused.error or "").endswith(
        "; lower partition.max_payload_bytes, and python -m qexp resume RUN --retry-refused tries "
        "it again in smaller pieces"
    )
    with scenario.archive() as archive:
        assert archive.status == "partial"
        assert len(scenario.measured(archive)) == CIRCUITS - 2
    assert scenario.emulator.runs_per_partition() == {0: 1, 2: 1}


def test_payloads_that_are_all_too_large(scenario: Scenario) -> None:
    scenario.emulator.limits.max_payload_bytes = 100
    with pytest.raises(JobsFailedError, match="3 of 3 jobs"):
        scenario.run()
    assert scenario.posts() == PARTITIONS
    with scenario.archive() as archive:
        assert archive.status == "failed"
    assert set(scenario.failures().values()) == {"too_large"}


def test_a_payload_that_was_estimated_too_low_is_sent_in_halves(scenario: Scenario) -> None:
    twirling = {"enable_gates": True, "num_randomizations": 2, "shots_per_randomization": 10}
    scenario.options = {"twirling": twirling}
    run(replace(scenario.spec(), stop_after="plan"), scenario.run_dir, scenario.watcher)
    with scenario.archive() as archive:
        first, *_ = archive.partitions
    # Less than what two PUBs take, more than one does.
    scenario.emulator.limits.max_payload_bytes = round(0.75 * first.payload_bytes)
    with pytest.raises(JobsFailedError, match="2 of 3 jobs have no result"):
        scenario.resume()
    assert set(scenario.failures().values()) == {"too_large"}
    scenario.allow(retry_refused=True)
    scenario.resume()
    with scenario.archive() as archive:
        assert archive.status == "complete"
        assert scenario.measured(archive) == set(range(CIRCUITS))
    assert scenario.emulator.runs_per_partition() == {0: 2, 1: 2, 2: 1}


UNREADABLE = pytest.mark.parametrize(
    "text",
    ["", '{"errors": [{"code": 3211, "messa', "<html>Bad request</html>", "{}", "[]"],
    ids=["empty", "cut", "no_json", "no_errors", "no_fields"],
)


@UNREADABLE
@pytest.mark.parametrize("code", [400, 422])
def test_a_refusal_that_cannot_be_read_is_tried_again(
    scenario: Scenario, code: int, text: str
) -> None:
    scenario.inject(faults.status(SECOND, code, text=text))
    scenario.run()
    scenario.assert_complete()
    assert scenario.failures() == {(1, 1): "transient"}
    assert scenario.posts() == PARTITIONS + 1


@UNREADABLE
def test_a_refusal_that_can_never_be_read_leaves_a_way_back(either: Scenario, text: str) -> None:
    refusing = faults.status(SECOND_EVER, 400, text=text, times=None)
    either.inject(refusing)
    with pytest.raises(JobsFailedError, match=r"1 of 3 jobs .*to try them again: .*qexp resume"):
        either.run()
    assert either.failures() == {(1, number): "transient" for number in (1, 2, 3)}
    refusing.stop()
    either.resume()
    either.assert_complete()
    assert either.posts() == PARTITIONS + 3


def test_a_refusal_that_says_to_try_again(scenario: Scenario) -> None:
    text = '{"errors": [{"code": 3211, "message": "Job not valid: internal error, retry."}]}'
    scenario.inject(faults.status(SECOND, 400, text=text))
    scenario.run()
    scenario.assert_complete()
    assert scenario.failures() == {(1, 1): "transient"}


def test_a_refusal_of_the_batch_that_cannot_be_read(scenario: Scenario) -> None:
    scenario.inject(faults.status(faults.OPEN_SESSION, 400, text="", times=2))
    scenario.run()
    scenario.assert_complete()
    assert len(scenario.emulator.session_ids) == 1


def test_a_quota_that_is_used_up_on_the_way(scenario: Scenario) -> None:
    scenario.inject(faults.then(faults.POST_JOB, scenario.emulator.wait_until_idle))
    scenario.emulator.limits.quota_s = 1.0
    with pytest.raises(UnfinishedError, match=r"usage limit.*1 of 3 jobs are kept"):
        scenario.run()
    assert scenario.failures() == {(1, 1): "denied"}
    assert scenario.posts() == 2
    scenario.emulator.limits.quota_s = None
    scenario.resume()
    scenario.assert_complete()


@pytest.mark.parametrize(
    "endpoint",
    [
        faults.OPEN_SESSION,
        faults.USAGE,
        faults.POST_JOB,
        faults.CLOSE_SESSION,
        faults.LIST_JOBS,
        faults.RESULTS,
        faults.METRICS,
        faults.SESSION,
    ],
    ids=[
        "open_session",
        "usage",
        "post_job",
        "close",
        "list_jobs",
        "results",
        "metrics",
        "session",
    ],
)
def test_a_token_that_expires_in_the_middle(scenario: Scenario, endpoint: faults.Endpoint) -> None:
    """The client fetches another one only when its own clock says so: within a second, here."""
    scenario.emulator.tokens.lifetime_s = 11
    scenario.inject(faults.first(endpoint, scenario.emulator.tokens.expire))
    scenario.run()
    scenario.assert_complete()
    refused = [record for record in scenario.emulator.journal if record.status == 401]
    assert refused
    assert scenario.counts()["submitting"] == PARTITIONS


def test_an_account_that_is_locked_out(scenario: Scenario) -> None:
    """No token opens anything any more: the state is kept, and the message says what to do."""
    scenario.allow(outage_s=0.3)
    locked = faults.status(faults.LIST_JOBS, 401, times=None)
    scenario.inject(locked)
    with pytest.raises(UnfinishedError, match="IBM refused the account") as stopped:
        scenario.run()
    assert "\n" not in str(stopped.value)
    locked.stop()
    scenario.resume()
    scenario.assert_complete()
    assert Counter(event["event"] for event in scenario.events())["resumed"] == 1
