"""It is not known whether a job was created, or there is one too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from qexp.errors import UnfinishedError
from tests.emulator import faults
from tests.faults.conftest import PARTITIONS, Scenario

SECOND = faults.POST_JOB.tagged(r"qexp-job:1\.1:.*")
REPEATED_BY_THE_CLIENT = [500, 502, 503, 504, 520, 521, 522, 524]
COPIES = 5


@pytest.mark.parametrize("code", REPEATED_BY_THE_CLIENT)
def test_an_error_after_the_job_was_created_makes_no_second_one(
    scenario: Scenario, code: int
) -> None:
    scenario.inject(faults.status(SECOND, code, after=True, times=5))
    scenario.run()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS
    assert [event["adopted"] for event in scenario.events("submitted")] == [False, True, False]


@pytest.mark.parametrize("code", [401, 429])
def test_a_refusal_for_now_of_a_job_that_was_taken_makes_no_second_one(
    scenario: Scenario, code: int
) -> None:
    scenario.inject(faults.status(SECOND, code, after=True, times=3))
    scenario.run()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS
    assert len(scenario.emulator.job_ids) == PARTITIONS


def test_every_error_is_followed_by_a_look_at_the_jobs(either: Scenario) -> None:
    """Whichever of five errors hides the job, none is answered by another POST before a look."""
    either.inject(
        faults.status(SECOND, 504, times=2), faults.status(SECOND, 504, after=True, times=3)
    )
    either.run()
    either.assert_complete()
    assert either.posts() == PARTITIONS + 2
    sent = [
        record.method
        for record in either.emulator.journal
        if record.path == "/jobs" and (record.method == "POST" or "tags" in record.query)
    ]
    # The last one is for jobs that are listed only after all.
    assert sent == ["POST", *["POST", "GET", "GET"] * 2, "POST", "GET", "POST", "GET"]


def test_a_batch_whose_opening_seems_to_fail_stays_empty(scenario: Scenario) -> None:
    """A batch has no tag by which to find it, so that another one is opened."""
    scenario.inject(faults.status(faults.OPEN_SESSION, 504, after=True, times=2))
    scenario.run()
    scenario.assert_complete()
    *empty, used = scenario.emulator.session_ids
    assert len(empty) == 2
    assert [event["batch"] for event in scenario.events("batch_opened")] == [used]
    assert {
        record.body["session_id"] for record in scenario.emulator.journal.find("POST", "/jobs")
    } == {used}


def test_a_second_job_that_a_proxy_made_is_cancelled(either: Scenario) -> None:
    emulator = either.emulator
    emulator.hold()
    either.inject(faults.resent(SECOND), faults.then(faults.CANCEL_JOB, emulator.release))
    either.run()
    either.assert_complete()
    kept, dropped = twins(either, 2)
    (event,) = either.events("duplicate")
    assert (event["partition"], event["attempt"]) == (1, 2)
    assert {event["kept"], event["job"]} == {kept, dropped}
    assert event["action"] == "asked to be cancelled"
    assert emulator.job_states()[event["job"]] == "Cancelled"
    assert any("exists twice" in warning for warning in either.watcher.warnings)
    rows = {job.job_id: job for job in either.jobs() if job.partition == 1}
    assert rows[event["kept"]].state == "DONE"
    row = rows[event["job"]]
    assert (row.state, row.failure, row.usage_s) == ("CANCELLED", "duplicate", 0.0)


def test_a_second_job_that_has_run_is_not_in_the_data(scenario: Scenario) -> None:
    emulator = scenario.emulator
    scenario.inject(
        faults.resent(SECOND), faults.then(faults.CLOSE_SESSION, emulator.wait_until_idle)
    )
    scenario.run()
    # That both ran was the proxy's doing: the second was there before anyone could know.
    scenario.assert_complete(executed_again=Counter({1: 1}))
    (event,) = scenario.events("duplicate")
    assert {event["kept"], event["job"]} == set(twins(scenario, 2))
    assert event["action"] == "had ended"
    first, second = (job for job in scenario.jobs() if job.partition == 1)
    assert (first.job_id, first.state) == (event["kept"], "DONE")
    assert (second.job_id, second.state, second.failure) == (event["job"], "ERROR", "duplicate")
    assert second.error == f"not needed: job {first.job_id} gave the result of its PUBs"
    # It was charged, and the run says so.
    assert second.usage_s == first.usage_s > 0
    with scenario.archive() as archive:
        charged = [job.usage_s for job in archive.jobs]
        assert len(charged) == PARTITIONS + 1
        assert archive.usage_s == pytest.approx(sum(charged))
    assert len(scenario.jobs()) == PARTITIONS + 1


def test_many_jobs_that_a_proxy_made(scenario: Scenario) -> None:
    """It gives up in the end, so that qexp has no id either."""
    emulator = scenario.emulator
    emulator.hold()
    scenario.inject(
        faults.status(SECOND, 504, after=True),
        faults.resent(SECOND, COPIES),
        faults.then(faults.CLOSE_SESSION, emulator.release),
    )
    scenario.run()
    scenario.assert_complete()
    jobs = twins(scenario, 1 + COPIES)
    events = scenario.events("duplicate")
    assert {event["job"] for event in events} == set(jobs[1:])
    assert {event["kept"] for event in events} == {jobs[0]}
    assert Counter(emulator.job_states().values()) == {
        "Completed": PARTITIONS,
        "Cancelled": COPIES,
    }


def test_a_second_job_that_cannot_be_cancelled(scenario: Scenario) -> None:
    emulator = scenario.emulator
    emulator.hold()
    scenario.inject(
        faults.resent(SECOND),
        faults.status(faults.CANCEL_JOB, 500, times=None),
        faults.first(faults.LIST_JOBS, release_when_recorded(scenario), times=None),
    )
    scenario.run()
    scenario.assert_complete(executed_again=Counter({1: 1}))
    (event,) = scenario.events("duplicate")
    assert event["action"].startswith("not cancelled: ")


def test_an_orphan_is_adopted_by_its_tag(either: Scenario) -> None:
    """The job was created, and the process was killed before the reply."""
    either.allow(outage_s=0.3)
    gone = faults.gone_after(SECOND)
    either.inject(gone)
    with pytest.raises(UnfinishedError, match=r"qexp-job:1\.1:.*qexp resume"):
        either.run()
    assert len(either.emulator.job_ids) == 2
    (left,) = [event for event in either.events("submitting") if event["partition"] == 1]
    assert 1 not in {event["partition"] for event in either.events("submitted")}
    gone.stop()
    either.resume()
    either.assert_complete()
    assert either.emulator.jobs_by_tag()[left["tag"]] == 1
    (adopted,) = [event for event in either.events("submitted") if event["partition"] == 1]
    assert adopted["adopted"]
    assert adopted["job"] == either.emulator.jobs_of(1)[0]
    assert len(either.emulator.job_ids) == PARTITIONS


def test_a_job_that_never_was_is_submitted_again(scenario: Scenario) -> None:
    scenario.allow(outage_s=0.3)
    gone = faults.gone_at(SECOND)
    scenario.inject(gone)
    with pytest.raises(UnfinishedError):
        scenario.run()
    gone.stop()
    scenario.resume()
    scenario.assert_complete()
    (missing,) = scenario.events("not_submitted")
    assert (missing["partition"], missing["failure"]) == (1, "lost")
    assert len(scenario.emulator.job_ids) == PARTITIONS


def test_twin_orphans(scenario: Scenario) -> None:
    """A proxy made two, and the process was killed before it knew of either."""
    emulator = scenario.emulator
    emulator.hold()
    scenario.allow(outage_s=0.3)
    gone = faults.gone_after(SECOND)
    scenario.inject(gone, faults.resent(SECOND))
    with pytest.raises(UnfinishedError):
        scenario.run()
    jobs = twins(scenario, 2)
    gone.stop()
    scenario.inject(faults.first(faults.LIST_JOBS, release_when_recorded(scenario), times=None))
    scenario.resume()
    scenario.assert_complete()
    (event,) = scenario.events("duplicate")
    assert {event["kept"], event["job"]} == set(jobs)
    assert event["action"] == "asked to be cancelled"


def test_a_job_that_fails_is_replaced_by_its_double_that_has_run(scenario: Scenario) -> None:
    """Both exist before anyone knows; the second one is not paid for a third time."""
    emulator = scenario.emulator
    emulator.hold()
    emulator.fail_next_job("Internal error.", 9999)
    scenario.inject(
        faults.resent(faults.POST_JOB.tagged(r"qexp-job:0\.1:.*")),
        faults.status(faults.CANCEL_JOB, 409, times=None),
        faults.then(faults.CLOSE_SESSION, emulator.release),
    )
    scenario.run()
    scenario.assert_complete()
    assert len(emulator.job_ids) == PARTITIONS + 1
    failed, done = (job for job in scenario.jobs() if job.partition == 0)
    assert {failed.state, done.state} == {"ERROR", "DONE"}


def test_a_job_that_is_listed_late(scenario: Scenario) -> None:
    """The reply was lost, and the first listing does not have the job yet."""
    scenario.inject(
        faults.drop(SECOND, after=True),
        faults.edited(faults.LIST_JOBS, without_jobs, nth=1),
    )
    scenario.run()
    scenario.assert_complete()
    assert len(scenario.emulator.job_ids) == PARTITIONS


def twins(scenario: Scenario, number: int) -> list[str]:
    """Ids of the jobs of partition 1, which all have the same tag."""
    jobs = scenario.emulator.jobs_of(1)
    assert len(jobs) == number
    counts = scenario.emulator.jobs_by_tag()
    assert sorted(counts.values()) == sorted([number, *[1] * (len(counts) - 1)])
    return jobs


def release_when_recorded(scenario: Scenario) -> Callable[[], None]:
    """Jobs start once the journal has the duplicate."""

    def release() -> None:
        if scenario.events("duplicate"):
            scenario.emulator.release()

    return release


def without_jobs(text: str) -> str:
    return '{"jobs": [], "count": 0, "limit": 200, "offset": 0}'
