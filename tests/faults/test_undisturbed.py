"""A run without faults, which the other tests compare with."""

from __future__ import annotations

from tests.faults.conftest import PARTITIONS, Scenario


def test_a_run_that_nothing_disturbs(either: Scenario) -> None:
    report = either.run()
    assert report.status == "complete"
    either.assert_complete()
    assert either.posts() == PARTITIONS
    assert either.counts() == {
        "started": 1,
        "planned": 1,
        "batch_opened": 1,
        "submitting": PARTITIONS,
        "submitted": PARTITIONS,
        "batch_closed": 1,
        "collected": PARTITIONS,
        "ended": 1,
        "sealed": 1,
    }
    assert set(either.emulator.jobs_by_tag().values()) == {1}
    assert [job.attempt for job in either.jobs()] == [1] * PARTITIONS
    assert either.watcher.lost == []


def test_a_private_job(scenario: Scenario) -> None:
    scenario.options = {"environment": {"private": True}}
    scenario.run()
    scenario.assert_complete()
