"""The service fails, drops connections, is slow, or is gone."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress

import pytest

from qexp.errors import ConfigError, EngineError, UnfinishedError
from tests.emulator import faults
from tests.emulator.faults import Endpoint
from tests.faults.conftest import CIRCUITS, PARTITIONS, TRIES_OF_THE_CLIENT, Scenario

BEFORE_THE_PLAN = {
    "token": faults.TOKEN,
    "backends": faults.BACKENDS,
    "configuration": faults.CONFIGURATION,
    "properties": faults.PROPERTIES,
}
AFTER_THE_PLAN = {
    "open_session": faults.OPEN_SESSION,
    "usage": faults.USAGE,
    "status": faults.STATUS,
    "post_job": faults.POST_JOB,
    "session": faults.SESSION,
    "close_session": faults.CLOSE_SESSION,
    "list_jobs": faults.LIST_JOBS,
    "job": faults.JOB,
    "results": faults.RESULTS,
    "metrics": faults.METRICS,
    "properties_of_the_moment": Endpoint("GET", faults.PROPERTIES.path, query="updated_before"),
}
CHANGES_SOMETHING = ("open_session", "post_job", "close_session")
# More than IBM's client tries by itself, so that qexp has to deal with it.
LONG = TRIES_OF_THE_CLIENT + 1


def every(*groups: dict[str, Endpoint], only: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """The endpoints of these groups, or some of them, one after the other."""
    named = {key: each for group in groups for key, each in group.items()}
    chosen = {key: each for key, each in named.items() if not only or key in only}
    return pytest.mark.parametrize("endpoint", chosen.values(), ids=chosen.keys())


@every(BEFORE_THE_PLAN, AFTER_THE_PLAN)
def test_a_short_burst_of_503(scenario: Scenario, endpoint: Endpoint) -> None:
    burst = faults.status(endpoint, 503, times=2)
    scenario.inject(burst)
    finish(scenario)
    scenario.assert_complete()
    assert burst.done == min(burst.seen, 2)


@every(AFTER_THE_PLAN)
def test_a_long_burst_of_503(scenario: Scenario, endpoint: Endpoint) -> None:
    burst = faults.status(endpoint, 503, times=LONG)
    scenario.inject(burst)
    scenario.run()
    scenario.assert_complete()
    assert burst.done == min(burst.seen, LONG)


@every(BEFORE_THE_PLAN)
def test_a_long_burst_of_503_before_anything_is_planned(
    scenario: Scenario, endpoint: Endpoint
) -> None:
    scenario.inject(faults.status(endpoint, 503, times=LONG))
    finish(scenario)
    scenario.assert_complete()


@every(AFTER_THE_PLAN)
def test_connections_that_drop_before_the_server_acted(
    scenario: Scenario, endpoint: Endpoint
) -> None:
    scenario.inject(faults.drop(endpoint, times=LONG))
    scenario.run()
    scenario.assert_complete()


@every(AFTER_THE_PLAN, only=CHANGES_SOMETHING)
def test_one_connection_that_drops_where_the_client_does_not_try_again(
    scenario: Scenario, endpoint: Endpoint
) -> None:
    scenario.inject(faults.drop(endpoint))
    scenario.run()
    scenario.assert_complete()


@pytest.mark.parametrize("times", [1, 3], ids=["once", "thrice"])
def test_a_connection_that_drops_after_the_job_was_created(either: Scenario, times: int) -> None:
    either.inject(faults.drop(faults.POST_JOB, after=True, times=times))
    either.run()
    either.assert_complete()
    assert either.posts() == PARTITIONS
    adopted = [event["adopted"] for event in either.events("submitted")]
    assert adopted == [True] * times + [False] * (PARTITIONS - times)


@every(AFTER_THE_PLAN, only=("open_session", "close_session"))
def test_a_connection_that_drops_after_a_batch_was_opened_or_closed(
    scenario: Scenario, endpoint: Endpoint
) -> None:
    scenario.inject(faults.drop(endpoint, after=True))
    scenario.run()
    scenario.assert_complete()


@every(AFTER_THE_PLAN, only=("session", "list_jobs", "job", "metrics"))
def test_replies_that_are_no_json(scenario: Scenario, endpoint: Endpoint) -> None:
    scenario.inject(
        faults.edited(endpoint, faults.garbled),
        faults.edited(endpoint, faults.truncated, nth=2),
        faults.edited(endpoint, faults.empty, nth=3),
    )
    scenario.run()
    scenario.assert_complete()


@pytest.mark.parametrize("edit", [faults.truncated, faults.garbled, faults.empty])
def test_a_job_that_was_created_and_the_reply_is_no_json(
    scenario: Scenario, edit: faults.Edit
) -> None:
    scenario.inject(faults.edited(faults.POST_JOB, edit, nth=2))
    scenario.run()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS
    assert [event["adopted"] for event in scenario.events("submitted")] == [False, True, False]


@every(AFTER_THE_PLAN, only=("post_job", "list_jobs", "results"))
def test_a_slow_reply(scenario: Scenario, endpoint: Endpoint) -> None:
    """It comes once everything that was submitted until then has run."""
    until = threading.Event()
    slow = faults.delayed(endpoint, until, nth=2)
    scenario.inject(slow)

    def release() -> None:
        while not slow.done:
            until.wait(0.01)
        scenario.emulator.wait_until_idle()
        until.set()

    waiting = threading.Thread(target=release)
    waiting.start()
    scenario.run()
    waiting.join()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS


@every(AFTER_THE_PLAN, only=(*CHANGES_SOMETHING, "list_jobs", "results"))
def test_a_service_that_is_gone_for_good_and_comes_back_another_day(
    scenario: Scenario, endpoint: Endpoint
) -> None:
    come_back(scenario, faults.gone_at(endpoint))


@every(AFTER_THE_PLAN, only=CHANGES_SOMETHING)
def test_the_last_thing_that_a_service_did(scenario: Scenario, endpoint: Endpoint) -> None:
    come_back(scenario, faults.gone_after(endpoint))


def come_back(scenario: Scenario, gone: faults.Gone) -> None:
    """Run until the service is gone for good, and go on with it when it is back after all."""
    scenario.inject(gone)
    scenario.allow(outage_s=0.3)
    with pytest.raises((UnfinishedError, EngineError)) as stopped:
        scenario.run()
    opened = bool(scenario.events("batch_opened"))
    assert isinstance(stopped.value, UnfinishedError) or not opened
    assert "\n" not in str(stopped.value)
    if opened:
        assert "qexp resume" in str(stopped.value)
        assert scenario.counts()["interrupted"] == 1
        with scenario.archive() as archive:
            assert archive.status in {"partial", "failed"}
            scenario.measured(archive)
    # Another process, as often as one likes while it is still gone.
    with pytest.raises((UnfinishedError, EngineError)):
        scenario.resume()
    gone.stop()
    scenario.resume()
    scenario.assert_complete()
    assert len(scenario.emulator.job_ids) == PARTITIONS


def test_a_service_that_is_gone_after_a_result_was_collected(scenario: Scenario) -> None:
    gone = faults.gone_at(faults.RESULTS, nth=2)
    scenario.inject(gone)
    scenario.allow(outage_s=0.3)
    with pytest.raises(UnfinishedError, match="1 of 3 jobs are kept"):
        scenario.run()
    with scenario.archive() as archive:
        assert archive.status == "partial"
        assert 0 < len(scenario.measured(archive)) < CIRCUITS
    gone.stop()
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS
    collected = Counter(event["partition"] for event in scenario.events("collected"))
    assert collected == Counter(range(PARTITIONS))


def test_going_on_with_a_complete_run_asks_nothing(scenario: Scenario) -> None:
    scenario.run()
    before = len(scenario.emulator.journal)
    assert scenario.resume().status == "complete"
    assert len(scenario.emulator.journal) == before
    scenario.assert_complete()


def test_a_backend_that_is_retired_meanwhile_is_no_failure(scenario: Scenario) -> None:
    moment = AFTER_THE_PLAN["properties_of_the_moment"]
    scenario.inject(faults.status(moment, 404, times=None))
    scenario.run()
    scenario.assert_complete()
    assert [job.snapshot for job in scenario.jobs()] == [None] * PARTITIONS


def test_metrics_that_cannot_be_had_do_not_cost_a_result(scenario: Scenario) -> None:
    scenario.inject(faults.status(faults.METRICS, 404, times=None))
    scenario.run()
    scenario.assert_complete()


def test_an_identity_service_that_fails_when_a_token_has_to_be_renewed(scenario: Scenario) -> None:
    """The client then sends the API key instead of a token, which the service refuses."""
    scenario.emulator.tokens.lifetime_s = 10  # so short that the client wants a new one each time
    failing = faults.status(faults.TOKEN, 503, times=4)
    scenario.inject(faults.then(faults.STATUS, lambda: scenario.inject(failing)))
    scenario.run()
    scenario.assert_complete()
    assert failing.done == 4


def finish(scenario: Scenario) -> None:
    """Run, again and again while no backend is available."""
    for number in range(LONG + 1):
        with suppress(EngineError, ConfigError):
            scenario.resume() if number else scenario.run()
            return
        assert scenario.emulator.session_ids == []
    raise AssertionError("it never came to anything")
