"""Every request has the same patience, and what it could not do the next process does."""

from __future__ import annotations

import json

import pytest

from qexp.errors import JobsFailedError, OutageError, UnfinishedError
from tests.emulator import MANILA, faults
from tests.emulator.faults import Endpoint
from tests.faults.conftest import PARTITIONS, TRIES_OF_THE_CLIENT, Scenario
from tests.faults.test_interrupts import SIGNALS, interrupting

CONNECTING = {
    "token": faults.TOKEN,
    "backends": faults.BACKENDS,
    "configuration": faults.CONFIGURATION,
    "properties": faults.PROPERTIES,
}
LONG = 4 * TRIES_OF_THE_CLIENT


@pytest.fixture
def stopped(scenario: Scenario) -> Scenario:
    """A run whose jobs are on the service, and which has collected none of them."""
    gone = faults.gone_at(faults.LIST_JOBS)
    scenario.inject(gone)
    scenario.allow(outage_s=0.3)
    with pytest.raises(UnfinishedError):
        scenario.run()
    gone.stop()
    scenario.watcher.lost.clear()
    return scenario


@pytest.mark.parametrize("endpoint", CONNECTING.values(), ids=CONNECTING.keys())
def test_connecting_again_is_patient(stopped: Scenario, endpoint: Endpoint) -> None:
    stopped.allow(outage_s=30.0)
    burst = faults.status(endpoint, 503, times=LONG)
    stopped.inject(burst)
    stopped.resume()
    stopped.assert_complete()
    assert burst.done == LONG
    assert stopped.watcher.lost
    assert stopped.posts() == PARTITIONS


@pytest.mark.parametrize("edit", [faults.truncated, faults.garbled])
@pytest.mark.parametrize("endpoint", CONNECTING.values(), ids=CONNECTING.keys())
def test_connecting_again_is_patient_with_replies_that_cannot_be_read(
    stopped: Scenario, endpoint: Endpoint, edit: faults.Edit
) -> None:
    stopped.allow(outage_s=30.0)
    stopped.inject(faults.edited(endpoint, edit, times=3))
    stopped.resume()
    stopped.assert_complete()


@pytest.mark.parametrize("endpoint", CONNECTING.values(), ids=CONNECTING.keys())
def test_connecting_again_to_no_avail_says_how_to_go_on(
    stopped: Scenario, endpoint: Endpoint
) -> None:
    down = faults.status(endpoint, 503, times=None)
    stopped.inject(down)
    with pytest.raises(UnfinishedError, match=r"0 of 3 jobs are kept; go on with: .*qexp resume"):
        stopped.resume()
    assert stopped.watcher.lost
    down.stop()
    stopped.resume()
    stopped.assert_complete()


def test_a_wrong_key_is_said_at_once(stopped: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "another-key")
    asked = len(stopped.emulator.journal.find("POST", "/identity/token"))
    with pytest.raises(Exception, match="check the API key"):
        stopped.resume()
    assert stopped.watcher.lost == []
    assert len(stopped.emulator.journal.find("POST", "/identity/token")) == asked + 1


def test_a_new_run_has_nothing_at_stake_and_is_not_patient(scenario: Scenario) -> None:
    scenario.inject(faults.status(faults.TOKEN, 503, times=None))
    with pytest.raises(OutageError, match="identity service gave no access token"):
        scenario.run()
    assert scenario.watcher.lost == []
    assert len(scenario.emulator.journal.find("POST", "/identity/token")) == 1


def test_closing_is_patient(scenario: Scenario) -> None:
    scenario.inject(faults.status(faults.CLOSE_SESSION, 503, times=5))
    scenario.run()
    scenario.assert_complete()
    assert scenario.counts()["batch_closed"] == 1
    assert scenario.watcher.warnings == []
    assert is_closed(scenario)


def test_jobs_are_collected_while_a_batch_cannot_be_closed(scenario: Scenario) -> None:
    """It can be closed only once every result has been fetched."""
    failing = faults.status(faults.CLOSE_SESSION, 503, times=None)
    scenario.inject(failing, faults.then(faults.RESULTS, failing.stop, nth=PARTITIONS))
    scenario.run()
    scenario.assert_complete()
    assert failing.done
    assert scenario.watcher.warnings == []
    assert is_closed(scenario)


def test_what_could_not_be_closed_is_closed_by_the_next_process(scenario: Scenario) -> None:
    failing = faults.status(faults.CLOSE_SESSION, 503, times=None)
    scenario.inject(failing)
    scenario.allow(outage_s=0.3)
    scenario.run()
    scenario.assert_complete()
    (warning,) = scenario.watcher.warnings
    (batch,) = scenario.emulator.session_ids
    assert warning.startswith(f"batch {batch} could not be closed (")
    assert "costs nothing and ends by itself at its max_time" in warning
    assert f"to close it: python -m qexp resume {scenario.run_dir}" in warning
    data = (scenario.run_dir / "run.h5").read_bytes()

    # It still cannot.
    assert scenario.resume().status == "complete"
    assert len(scenario.watcher.warnings) == 2
    assert not is_closed(scenario)

    failing.stop()
    assert scenario.resume().status == "complete"
    assert scenario.events()[-1]["event"] == "batch_closed"
    assert is_closed(scenario)
    assert (scenario.run_dir / "run.h5").read_bytes() == data

    before = len(scenario.emulator.journal)
    assert scenario.resume().status == "complete"
    assert len(scenario.emulator.journal) == before
    assert len(scenario.watcher.warnings) == 2


def test_a_complete_run_with_an_open_batch_needs_no_service(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.inject(faults.status(faults.CLOSE_SESSION, 503, times=None))
    scenario.allow(outage_s=0.3)
    scenario.run()
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    assert scenario.resume().status == "complete"
    assert "no IBM account found" in scenario.watcher.warnings[-1]


@SIGNALS
def test_a_stop_is_honoured_while_a_batch_cannot_be_closed(scenario: Scenario, number: int) -> None:
    failing = faults.status(faults.CLOSE_SESSION, 503, times=None)
    stop = interrupting(faults.CLOSE_SESSION, number)
    all_fetched = faults.then(
        faults.RESULTS, lambda: scenario.emulator.faults.insert(0, stop), nth=PARTITIONS
    )
    scenario.inject(failing, all_fetched)
    with pytest.raises(KeyboardInterrupt, match="interrupted; all 3 jobs are kept"):
        scenario.run()
    assert "could not be closed" in scenario.watcher.warnings[-1]
    failing.stop()
    scenario.resume()
    assert is_closed(scenario)


def test_a_stop_that_closes_its_batch_leaves_nothing_to_close(scenario: Scenario) -> None:
    scenario.inject(interrupting(faults.LIST_JOBS, 2))
    with pytest.raises(KeyboardInterrupt):
        scenario.run()
    assert scenario.counts()["batch_closed"] == 1


def test_details_and_queue_do_not_hold_back_jobs(scenario: Scenario) -> None:
    failing = [
        faults.status(faults.SESSION, 503, times=None),
        faults.status(Endpoint("GET", faults.STATUS.path), 503, times=None, nth=PARTITIONS + 1),
    ]
    scenario.inject(*failing)
    scenario.inject(
        faults.then(faults.RESULTS, lambda: [each.stop() for each in failing], nth=PARTITIONS)
    )
    scenario.run()
    scenario.assert_complete()
    with scenario.archive() as archive:
        (batch,) = archive.batches
    assert batch.opened is not None
    assert batch.final is not None


def test_a_retired_backend_is_no_reason_to_go_on(scenario: Scenario) -> None:
    scenario.emulator.limits.quota_s = None
    scenario.inject(faults.status(faults.POST_JOB, 403, nth=2))
    with pytest.raises(UnfinishedError, match="go on with"):
        scenario.run()
    scenario.inject(faults.edited(faults.BACKENDS, without_manila, times=None))
    for _ in range(2):
        with pytest.raises(JobsFailedError) as stopped:
            scenario.resume()
        text = str(stopped.value)
        assert f"backend '{MANILA}' is no longer available to this account" in text
        assert "1 of 3 jobs are kept" in text
        assert "start a new run with backend=least_busy" in text
        assert "go on with" not in text
    assert scenario.events("ended")[-1]["status"] == "partial"


def is_closed(scenario: Scenario) -> bool:
    """Whether the service has closed every batch."""
    scenario.emulator.wait_until_idle()
    service = scenario.emulator.service()
    (client,) = service._api_clients.values()
    return all(
        not client.session_details(each)["accepting_jobs"] for each in scenario.emulator.session_ids
    )


def without_manila(text: str) -> str:
    """The listing of a service on which the backend is gone."""
    devices = [each for each in json.loads(text)["devices"] if each["name"] != MANILA]
    return json.dumps({"devices": devices})
