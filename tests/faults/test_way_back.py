"""Cancelling a run while the service misbehaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qexp.batch.status import read_state
from qexp.errors import EngineError, UnfinishedError
from qexp.experiment import RunReport, cancel, run
from qexp.journal.file import read_ledger
from tests.emulator import INSTANCE, OTHER_INSTANCE, faults
from tests.faults.conftest import PARTITIONS, Scenario


@pytest.fixture
def queued(scenario: Scenario) -> Scenario:
    """A run with three jobs in the queue, which another process submitted."""
    scenario.emulator.hold()
    spec = replace(scenario.spec(), stop_after="submit")
    run(spec, scenario.run_dir, scenario.watcher, clock=scenario.clock)
    return scenario


def cancel_it(scenario: Scenario) -> RunReport:
    return cancel(scenario.spec(), scenario.run_dir, scenario.watcher, clock=scenario.clock)


def states(scenario: Scenario) -> list[str]:
    return list(scenario.emulator.job_states().values())


@pytest.mark.parametrize(
    "fault",
    [
        # The batch is not known any more, or a proxy answers for it.
        faults.status(faults.CANCEL_SESSION, 404, times=None),
        faults.status(faults.CANCEL_SESSION, 204, times=None),
        faults.drop(faults.CANCEL_SESSION),
        faults.drop(faults.CANCEL_SESSION, after=True),
    ],
    ids=["unknown", "no effect", "dropped", "dropped after"],
)
def test_every_queued_job_is_cancelled(queued: Scenario, fault: faults.Scripted) -> None:
    queued.inject(fault)
    report = cancel_it(queued)
    assert fault.done > 0
    assert states(queued) == ["Cancelled"] * PARTITIONS
    assert report.status == "failed"
    assert queued.failures() == dict.fromkeys(((p, 1) for p in range(PARTITIONS)), "cancelled")
    assert queued.events()[-1]["event"] == "sealed"
    # What was cancelled is submitted again by those who resume the run.
    queued.emulator.release()
    queued.resume()
    queued.assert_complete()
    assert queued.posts() == 2 * PARTITIONS


def test_it_is_cancelled_on_disk_before_the_service_is_asked(queued: Scenario) -> None:
    gone = faults.gone_at(faults.ANYTHING.where(lambda path: "sessions" in path))
    queued.inject(gone)
    queued.allow(outage_s=0.3)
    with pytest.raises(UnfinishedError, match=r"go on with: python -m qexp cancel \S+$"):
        cancel_it(queued)
    ledger = read_ledger(queued.run_dir)
    assert ledger.is_cancelled
    assert ledger.ended is None
    assert states(queued) == ["Queued"] * PARTITIONS
    gone.stop()
    assert cancel_it(queued).status == "failed"
    assert states(queued) == ["Cancelled"] * PARTITIONS


def test_status_names_jobs_that_only_the_service_knows(queued: Scenario) -> None:
    path = queued.run_dir / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    # The process was killed before the last job's lines were written.
    last = max(k for k, line in enumerate(lines) if b'"submitting"' in line)
    path.write_bytes(b"".join(lines[:last]))
    state = read_state(queued.spec(), queued.run_dir)
    assert (state.queued, state.unsubmitted) == (PARTITIONS - 1, 1)
    assert state.strays == [queued.emulator.job_ids[-1]]
    assert "other jobs  1 carry the run's tag" in str(state)
    queued.emulator.delete_job(queued.emulator.job_ids[0])
    state = read_state(queued.spec(), queued.run_dir)
    assert (state.unlisted, state.queued) == (1, PARTITIONS - 2)
    assert "1 not listed by the service" in str(state)


def test_status_refuses_an_account_that_knows_none_of_the_jobs(queued: Scenario) -> None:
    queued.emulator.move_instance(INSTANCE, OTHER_INSTANCE)
    with pytest.raises(EngineError, match=r"knows none of this run's jobs .* backend\.instance="):
        read_state(queued.spec(), queued.run_dir)
