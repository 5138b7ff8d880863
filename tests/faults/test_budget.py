"""`budget.qpu` on the service: what runs, fails, exists twice, and is asked for in vain."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from qexp.batch.status import read_state
from qexp.errors import PlanError, UnfinishedError
from tests.emulator import faults
from tests.faults.conftest import PARTITIONS, Scenario


@pytest.fixture
def tight(scenario: Scenario) -> Scenario:
    """Each job is charged 40 s instead of the few milliseconds that are predicted."""

    def dearer(text: str) -> str:
        reply = json.loads(text)
        if reply["timestamps"]["running"]:
            reply["usage"]["qpu_charge_time_seconds"] = 40.0
        return json.dumps(reply)

    scenario.inject(faults.edited(faults.METRICS, dearer, times=None))
    scenario.allow(max_pending=1)
    return scenario


def test_a_plan_above_the_budget_opens_no_batch(scenario: Scenario) -> None:
    scenario.run_dir.mkdir()
    scenario.budget_s = 1
    scenario.options = {"execution": {"rep_delay": 0.05}}
    with pytest.raises(PlanError, match=r"^budget\.qpu is 1\.0s, but all jobs together are pre"):
        scenario.run()
    assert scenario.emulator.session_ids == []


def test_a_run_stops_at_its_budget_and_goes_on_with_a_higher_one(tight: Scenario) -> None:
    tight.budget_s = 60
    with pytest.raises(UnfinishedError) as caught:
        tight.run()
    # The second job began with 40 s used, and brought it to 80 s.
    message = str(caught.value)
    assert message.startswith("budget.qpu is 1m 0s, of which 1m 20s are used, and the next job is ")
    assert "; 2 of 3 jobs are kept; go on with: python -m qexp resume " in message
    assert message.endswith(" budget.qpu=81")
    with tight.archive() as archive:
        assert archive.status == "partial"
    assert tight.posts() == 2
    [command] = read_state(tight.spec(), tight.run_dir).next
    assert command.endswith(" budget.qpu=81")
    with pytest.raises(UnfinishedError, match="of which 1m 20s are used"):
        tight.resume()
    assert (tight.posts(), len(tight.emulator.session_ids)) == (2, 1)
    tight.budget_s = 81
    tight.resume()
    tight.assert_complete()


def test_an_attempt_that_failed_and_was_charged_counts(tight: Scenario) -> None:
    tight.emulator.fail_next_job("Internal error.", 1010, at="end")
    tight.budget_s = 100
    with pytest.raises(UnfinishedError, match=r"2m 0s are used.*2 of 3 jobs are kept"):
        tight.run()
    tight.budget_s = None
    tight.resume()
    tight.assert_complete(executed_again=Counter({0: 1}))


def test_a_job_that_exists_twice_counts_twice(tight: Scenario) -> None:
    """A proxy sends the first one twice, and both run."""
    tight.inject(
        faults.resent(faults.POST_JOB),
        faults.then(faults.LIST_JOBS, tight.emulator.wait_until_idle, times=None),
    )
    tight.budget_s = 100
    with pytest.raises(UnfinishedError, match=r"2m 0s are used.*2 of 3 jobs are kept"):
        tight.run()
    charged = [(job.partition, job.usage_s) for job in tight.jobs()]
    assert charged == [(0, 40.0), (0, 40.0), (1, 40.0)]


def test_a_usage_that_cannot_be_read_keeps_no_job_from_its_budget(scenario: Scenario) -> None:
    scenario.inject(faults.edited(faults.USAGE, faults.garbled, times=2))
    scenario.budget_s = 60
    scenario.run()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS
