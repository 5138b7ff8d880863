"""Ctrl-C and SIGTERM while jobs are out."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from qexp.archive.parts import StoredParts
from qexp.core.model import Partition
from tests.emulator import faults
from tests.faults.conftest import PARTITIONS, Scenario

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])


@SIGNALS
def test_jobs_are_left_to_be_collected_later(scenario: Scenario, number: signal.Signals) -> None:
    emulator = scenario.emulator
    emulator.hold()
    scenario.inject(interrupting(faults.POST_JOB, number, nth=2))
    with pytest.raises(KeyboardInterrupt, match=r"qexp resume"):
        scenario.run()
    assert list(emulator.job_states().values()) == ["Queued", "Queued"]
    assert scenario.counts()["interrupted"] == 1
    assert len(emulator.journal.find("PATCH", f"/sessions/{emulator.session_ids[0]}")) == 1
    emulator.release()
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS


@SIGNALS
def test_jobs_are_cancelled(scenario: Scenario, number: signal.Signals) -> None:
    emulator = scenario.emulator
    emulator.stall_next_job()
    scenario.allow(on_interrupt="cancel")
    scenario.inject(
        faults.then(faults.CLOSE_SESSION, emulator.wait_until_running),
        interrupting(faults.LIST_JOBS, number),
    )
    with pytest.raises(KeyboardInterrupt, match=r"qexp resume"):
        scenario.run()
    assert list(emulator.job_states().values()) == ["Running", "Cancelled", "Cancelled"]
    emulator.end_stall()
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS + 2


@SIGNALS
def test_a_stop_is_named_beside_the_jobs_that_failed(
    scenario: Scenario, number: signal.Signals
) -> None:
    scenario.allow(retries=0)
    scenario.emulator.fail_next_job("the fridge is warm", 9999)
    scenario.inject(interrupting(faults.RESULTS, number, nth=PARTITIONS - 1))
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted; 2 of 3 jobs are kept; go on with"):
        scenario.run()
    assert scenario.posts() == PARTITIONS


@SIGNALS
@pytest.mark.parametrize("loads", ["pub_digests", "load_isa_pubs"])
def test_a_stop_while_circuits_are_loaded_keeps_their_job_from_being_sent(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, loads: str
) -> None:
    load, calls = getattr(StoredParts, loads), []

    def interrupted(parts: StoredParts, partition: Partition) -> Any:
        found = load(parts, partition)
        calls.append(partition.index)
        if calls == [0, 1]:
            os.kill(os.getpid(), number)
        return found

    monkeypatch.setattr(StoredParts, loads, interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"qexp resume"):
        scenario.run()
    assert scenario.posts() == 1
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS


def interrupting(
    endpoint: faults.Endpoint, number: signal.Signals, *, nth: int = 1
) -> faults.Scripted:
    """The process gets a signal while it waits for a reply."""
    return faults.then(endpoint, lambda: os.kill(os.getpid(), number), nth=nth)
