"""What the service refuses, and what becomes of the jobs of a batch that runs out of time."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from qiskit_ibm_runtime import Batch
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError

from tests.emulator import IBMEmulator
from tests.emulator.errors import RefusedError
from tests.emulator.limits import RateLimit
from tests.unit.emulator.conftest import Bench


def test_the_rate_limit_is_a_token_bucket() -> None:
    now_s = 0.0
    limit = RateLimit(jobs=2, period_s=60, clock=lambda: now_s)
    limit.take()
    limit.take()
    now_s = 12.0
    with pytest.raises(RefusedError) as refused:
        limit.take()
    assert refused.value.status == 429
    assert refused.value.headers == (("Retry-After", "18"),)
    now_s = 30.0
    limit.take()
    now_s = 1000.0
    limit.take()
    limit.take()
    with pytest.raises(RefusedError):
        limit.take()


@pytest.mark.parametrize("tells", [True, False])
def test_too_many_requests(ibm_emulator: IBMEmulator, bench: Bench, tells: bool) -> None:
    ibm_emulator.limits.rate = RateLimit(jobs=1, period_s=100, tells=tells)
    bench.submit()
    with pytest.raises(IBMRuntimeError, match=r"429.*1202") as refused:
        bench.submit()
    assert len(ibm_emulator.job_ids) == 1
    reply = refused.value.__context__
    while reply is not None and not hasattr(reply, "response"):
        reply = reply.__context__
    assert reply is not None
    assert ("Retry-After" in reply.response.headers) == tells


def test_too_many_pending_jobs(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.limits.max_pending = 2
    ibm_emulator.hold()
    first, _ = bench.submit(), bench.submit()
    with pytest.raises(IBMRuntimeError, match=r"400.*3458.*limit of 2 pending jobs"):
        bench.submit()
    first.cancel()
    bench.submit()
    assert len(ibm_emulator.job_ids) == 3


def test_a_payload_that_is_too_large(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.limits.max_payload_bytes = 200
    with pytest.raises(IBMRuntimeError, match=r"413.*Payload too large: \d+ bytes, at most 200"):
        bench.submit()
    assert ibm_emulator.job_ids == []


def test_a_quota_that_is_used_up(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.limits.quota_s = 2.0
    bench.submit().result()
    with (
        pytest.warns(UserWarning, match="met its usage limit"),
        pytest.raises(IBMRuntimeError, match=r"403.*usage limit"),
    ):
        bench.submit()
    assert len(ibm_emulator.job_ids) == 1


def test_expired_tokens_until_there_is_a_new_one(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    job = bench.submit()
    ibm_emulator.tokens.expire()
    with pytest.raises(IBMNotAuthorizedError, match="401"):
        job.properties()
    again = Bench()
    assert again.service.job(job.job_id()).result()[0].data.meas.num_shots == 10


@pytest.mark.parametrize(
    ("at_max_ttl", "state"), [("fail", "Failed"), ("cancel", "Cancelled")], ids=["fail", "cancel"]
)
def test_the_time_of_a_batch_starts_with_its_first_job_and_ends(
    ibm_emulator: IBMEmulator, bench: Bench, at_max_ttl: Any, state: str
) -> None:
    ibm_emulator.limits.at_max_ttl = at_max_ttl
    ibm_emulator.stall_next_job()
    batch = Batch(bench.backend, max_time=1)
    running, queued = bench.submit(batch), bench.submit(batch)
    assert ibm_emulator.wait_until_running() == running.job_id()
    ibm_emulator.pass_time(0.5)
    assert batch.details()["state"] == "active"
    ibm_emulator.pass_time(0.5)
    assert batch.details()["state"] == "closed"
    assert ibm_emulator.job_states() == {running.job_id(): "Running", queued.job_id(): state}
    with pytest.raises(IBMRuntimeError, match="is closed"):
        bench.submit(batch)
    ibm_emulator.end_stall()
    assert running.result()[0].data.meas.num_shots == 10


def test_a_batch_without_a_job_does_not_run_out_of_time(
    ibm_emulator: IBMEmulator, bench: Bench
) -> None:
    batch = Batch(bench.backend, max_time=1)
    ibm_emulator.hold()
    bench.submit(batch)
    other = Batch(bench.backend, max_time=1)
    ibm_emulator.stall_next_job()
    ibm_emulator.release()
    ibm_emulator.wait_until_running()
    ibm_emulator.pass_time(1)
    assert batch.details()["state"] == "closed"
    assert other.details()["state"] == "open"
    ibm_emulator.end_stall()


@pytest.mark.parametrize(
    ("at", "ran", "started"), [("queue", 0, False), ("start", 0, True), ("end", 1, True)]
)
def test_when_a_job_fails(
    ibm_emulator: IBMEmulator, bench: Bench, at: Any, ran: int, started: bool
) -> None:
    ibm_emulator.fail_next_job("The QPU fell over.", 8001, at=at)
    job = bench.submit(None, "qexp-job:7.1:00ff")
    ibm_emulator.wait_until_idle()
    assert job.status() == "ERROR"
    assert ibm_emulator.runs_per_partition()[7] == ran
    assert (job.metrics()["timestamps"]["running"] is not None) == started
    assert (job.usage() > 0) == bool(ran)


def test_a_stalled_job_runs_until_someone_cancels_it(
    ibm_emulator: IBMEmulator, bench: Bench
) -> None:
    ibm_emulator.stall_next_job()
    stuck, fine = bench.submit(), bench.submit()
    ibm_emulator.cancel_job(ibm_emulator.wait_until_running())
    assert fine.result()[0].data.meas.num_shots == 10
    assert stuck.status() == "CANCELLED"


def test_jobs_and_runs_are_counted_by_tag(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.hold()
    tags = ["qexp-job:0.1:aa", "qexp-job:1.1:bb", "qexp-job:1.1:bb", "qexp-job:1.2:cc", "other"]
    jobs = [bench.submit(None, "qexp", tag) for tag in tags]
    ibm_emulator.cancel_job(jobs[2].job_id())
    ibm_emulator.release()
    ibm_emulator.wait_until_idle()
    ibm_emulator.delete_job(jobs[0].job_id())
    assert ibm_emulator.jobs_by_tag() == {tags[0]: 1, tags[1]: 2, tags[3]: 1}
    assert ibm_emulator.runs_per_partition() == {0: 1, 1: 2}


def wait_until(happened: Any) -> None:
    """Ask until it has, for a time that only a defect exceeds."""
    pause = threading.Event()
    for _ in range(600):
        if happened():
            return
        pause.wait(0.05)
    raise AssertionError("it never happened")
