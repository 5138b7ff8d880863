from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qexp.core.model import PrimitiveSpec
from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.jobs import Expiry, classify_failure, read_state
from qexp.errors import EngineError
from tests.emulator import IBMEmulator, Response
from tests.unit.engines.jobs import isa_pub, request

RAN = {"created": "2026-05-01T08:00:00Z", "running": "2026-05-01T09:00:00Z"}
QUEUED = {"created": "2026-05-01T08:00:00Z", "running": None, "finished": "2026-05-01T10:00:00Z"}
NEVER = Expiry(lambda: None)


class Batch:
    """Details of a batch whose first job started at 09:00."""

    def __init__(self, **details: Any) -> None:
        self.details = {"started_at": "2026-05-01T09:00:00Z", "max_time": 3600} | details
        self.asked = 0

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        return self.details


def entry(status: str, code: Any = None, reason: str | None = None) -> dict[str, Any]:
    return {"id": "x", "state": {"status": status, "reason": reason, "reason_code": code}}


@pytest.mark.parametrize(
    ("listed", "stamps", "expected"),
    [
        (entry("Failed", 1305), RAN, "too_long"),
        (entry("Cancelled", "1305"), RAN, "too_long"),
        (entry("Failed", 5201), RAN, "too_long"),
        ({"id": "x", "status": "Cancelled - Ran too long"}, RAN, "too_long"),
        (entry("Cancelled", None, "Ran too long"), RAN, "too_long"),
        (entry("Failed", 4317), QUEUED, "denied"),
        (entry("Failed", 3211), QUEUED, "refused"),
        (entry("Failed", 7000), RAN, "refused"),
        (entry("Failed", 8044), RAN, "refused"),
        (entry("Failed", 3243, "Circuit is too big."), QUEUED, "refused"),
        (entry("Failed", 3248, "Your job is too long."), QUEUED, "too_large"),
        (entry("Failed", 1102), RAN, "too_large"),
        (entry("Failed", None, "Too many circuits."), RAN, "too_large"),
        (entry("Cancelled", None, "The job exceeded what it may."), RAN, "cancelled"),
        (entry("Failed", None, "The batch has expired: jobs exceeded it."), QUEUED, "expired"),
        (entry("Failed", 3211, "Job not valid: internal error."), QUEUED, "transient"),
        (entry("Failed", 1106, "Correct your program and try again."), QUEUED, "refused"),
        (entry("Failed", 1102, "Too many experiments: timeout, try again."), QUEUED, "transient"),
        (entry("Failed", 6000, "Internal error, retry."), RAN, "transient"),
        (entry("Failed", 6000), RAN, "transient"),
        (entry("Failed", 1005), QUEUED, "transient"),
        (entry("Failed", 8040), QUEUED, "transient"),
        (entry("Failed", 1217), QUEUED, "expired"),
        (entry("Cancelled", 1217), QUEUED, "expired"),
        (entry("Failed", 4001), {}, "expired"),
        (entry("Failed", None, "Session has reached its maximum time."), QUEUED, "expired"),
        (entry("Cancelled", None, "The batch has expired."), QUEUED, "expired"),
        (entry("Cancelled", None, "max_ttl reached"), QUEUED, "expired"),
        (entry("Failed", 1217), RAN, "transient"),
        (entry("Cancelled", None, "max_ttl reached"), RAN, "cancelled"),
        (entry("Cancelled"), QUEUED, "cancelled"),
        (entry("Failed", 5202), RAN, "cancelled"),
        (entry("Failed", 1500), RAN, "transient"),
        (entry("Failed", 9707), QUEUED, "transient"),
        (entry("Failed", "bad"), QUEUED, "transient"),
        ({"id": "x", "state": None, "status": "Failed"}, {}, "transient"),
    ],
)
def test_kinds_of_failure(listed: dict[str, Any], stamps: dict[str, Any], expected: str) -> None:
    state = read_state(listed)
    assert state in ("ERROR", "CANCELLED")
    assert classify_failure(listed, state, stamps, NEVER) == expected


@pytest.mark.parametrize("status", ["Failed", "Cancelled"])
@pytest.mark.parametrize(
    ("ended", "is_expired"),
    [("2026-05-01T09:59:30Z", False), ("2026-05-01T10:00:00Z", True), ("rubbish", True)],
)
def test_a_batchs_time_is_over(status: str, ended: str, is_expired: bool) -> None:
    batch = Batch()
    expiry = Expiry(batch)
    listed = entry(status)
    stamps = {"running": None, "finished": ended}
    for _ in range(2):
        failure = classify_failure(listed, read_state(listed), stamps, expiry)
        assert (failure == "expired") is is_expired
    assert batch.asked == 1
    assert (
        classify_failure(listed, read_state(listed), RAN | {"finished": ended}, expiry) != "expired"
    )


def test_a_batch_that_runs_is_not_over() -> None:
    started = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    assert not Expiry(Batch(started_at=started)).is_before(None)
    assert Expiry(Batch(started_at=started, max_time=30)).is_before(None)


@pytest.mark.parametrize(
    "details", [{"started_at": None}, {"max_time": None}, {"max_time": "long"}, {"started_at": 3}]
)
def test_a_batch_without_times_is_not_over(details: dict[str, Any]) -> None:
    assert not Expiry(Batch(**details)).is_before("2026-05-01T10:00:00Z")
    later = Expiry(Batch(**({"activated_at": "2026-05-01T08:00:00"} | details)))
    assert later.is_before("2026-05-01T10:00:00Z") is ("max_time" not in details)


def submitted(emulator: IBMEmulator, batch: IBMBatch, backend: Any, jobs: int) -> list[str]:
    pub = isa_pub("sampler", backend)
    wanted = replace(request(PrimitiveSpec("sampler", "legacy"), [pub]), attempt=3)
    return [batch.submit(wanted) for _ in range(jobs)]


def test_jobs_that_the_service_cancels_at_max_time(ibm_emulator: IBMEmulator, backend: Any) -> None:
    """The batch's `max_time` has passed, and the service gives neither reason nor code."""
    ibm_emulator.limits.at_max_ttl = "cancel"
    batch = IBMEngine().open_batch(backend, max_time_s=1)
    ibm_emulator.stall_next_job()
    first, *queued = submitted(ibm_emulator, batch, backend, 3)
    ibm_emulator.wait_until_running()
    batch.close()
    ibm_emulator.pass_time(1)
    for _ in range(600):
        if {batch.states()[job_id] for job_id in queued} == {"CANCELLED"}:
            break
        batch.wait(0.1, lambda: False)
    ibm_emulator.end_stall()
    ibm_emulator.wait_until_idle()
    since = len(ibm_emulator.journal)
    outcomes = [batch.collect(job_id) for job_id in queued]
    assert {outcome.failure for outcome in outcomes} == {"expired"}
    assert {(outcome.attempt, outcome.batch_id) for outcome in outcomes} == {(3, batch.id)}
    asked = [record.path for record in ibm_emulator.journal][since:]
    assert asked.count(f"/sessions/{batch.id}") == 1
    assert len(asked) == 5
    assert batch.collect(first).state == "DONE"


def test_a_job_that_someone_cancelled(ibm_emulator: IBMEmulator, backend: Any) -> None:
    batch = IBMEngine().open_batch(backend, max_time_s=1500)
    ibm_emulator.stall_next_job()
    running, queued = submitted(ibm_emulator, batch, backend, 2)
    ibm_emulator.wait_until_running()
    ibm_emulator.cancel_job(queued)
    ibm_emulator.cancel_job(running)
    batch.close()
    assert set(batch.states().values()) == {"CANCELLED"}
    assert [batch.collect(job_id).failure for job_id in (queued, running)] == ["cancelled"] * 2


@pytest.mark.parametrize("at", ["queue", "start", "end"])
def test_a_job_that_fails(ibm_emulator: IBMEmulator, backend: Any, at: Any) -> None:
    batch = IBMEngine().open_batch(backend, max_time_s=1500)
    ibm_emulator.fail_next_job("It broke.", 9707, at=at)
    (job_id,) = submitted(ibm_emulator, batch, backend, 1)
    ibm_emulator.wait_until_idle()
    outcome = batch.collect(job_id)
    assert (outcome.failure, outcome.error, outcome.error_code) == ("transient", "It broke.", 9707)


@pytest.mark.parametrize("reply", [Response(501), Response(body="<html>"), Response(body=[])])
@pytest.mark.parametrize("what", ["metrics", "session"])
def test_a_failure_is_collected_again_when_the_service_could_not_tell(
    ibm_emulator: IBMEmulator, backend: Any, reply: Response, what: str
) -> None:
    batch = IBMEngine().open_batch(backend, max_time_s=1500)
    ibm_emulator.hold()
    (job_id,) = submitted(ibm_emulator, batch, backend, 1)
    batch.cancel()
    path = {"metrics": f"/jobs/{job_id}/metrics", "session": f"/sessions/{batch.id}"}[what]
    ibm_emulator.faults.append(lambda _, asked: reply if asked == path else None)
    with pytest.raises(EngineError):
        batch.collect(job_id)
    ibm_emulator.faults.clear()
    assert batch.collect(job_id).failure == "cancelled"
