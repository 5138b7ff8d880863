"""What befalls jobs does, and the witness notes what the client was told of it."""

from __future__ import annotations

import pytest
from qiskit_ibm_runtime import Batch
from qiskit_ibm_runtime.exceptions import IBMRuntimeError

from tests.emulator import IBMEmulator, faults, mishaps
from tests.unit.emulator.conftest import Bench

TAG = "qexp-job:0.1:aa"


def test_a_request_that_a_proxy_doubles(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    witness = mishaps.Witness(ibm_emulator)
    told_first = mishaps.doubled(faults.POST_JOB, witness, ibm_emulator, nth=1, is_first_told=True)
    told_second = mishaps.doubled(faults.POST_JOB, witness, ibm_emulator, nth=1)
    ibm_emulator.faults.extend([witness, told_first])
    told = [bench.submit(None, TAG).job_id()]
    ibm_emulator.faults[1] = told_second
    told.append(bench.submit(None, TAG).job_id())
    first, second, third, fourth = ibm_emulator.job_ids
    assert told == [first, fourth]
    assert witness.doubled == {second, fourth}
    assert ibm_emulator.jobs_by_tag() == {TAG: 4}
    assert third not in witness.told


def test_a_job_that_somebody_cancels_before_it_runs(
    ibm_emulator: IBMEmulator, bench: Bench
) -> None:
    ibm_emulator.faults.append(mishaps.cancelled(ibm_emulator, nth=2))
    for _ in range(3):
        bench.submit()
    ibm_emulator.wait_until_idle()
    assert list(ibm_emulator.job_states().values()) == ["Completed", "Cancelled", "Completed"]
    assert [job.ran for job in ibm_emulator.taken] == [True, False, True]


def test_a_batch_that_runs_out_of_time(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.faults.append(mishaps.expired(ibm_emulator, nth=1))
    bench.submit(Batch(bench.backend))
    ibm_emulator.wait_until_idle()
    (job,), (session,) = ibm_emulator.taken, ibm_emulator.sessions
    assert (job.status, job.ran) == ("Failed", False)
    assert (session.state, session.accepting_jobs) == ("closed", False)


def test_the_nth_job_fails(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.faults.append(mishaps.failing(ibm_emulator, 6000, "end", nth=1))
    job = bench.submit()
    ibm_emulator.wait_until_idle()
    (kept,) = ibm_emulator.taken
    assert job.job_id() == kept.id
    assert (kept.status, kept.reason_code, kept.ran) == ("Failed", 6000, True)


def test_a_job_that_is_listed_late(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    witness = mishaps.Witness(ibm_emulator)
    late = mishaps.Late(ibm_emulator, witness, nth=2, listings=2)
    ibm_emulator.faults.extend([witness, late])
    first, second = (bench.submit(None, TAG).job_id() for _ in range(2))

    def listed(**criteria: object) -> set[str]:
        return {job.job_id() for job in bench.service.jobs(**criteria)}

    assert listed() == {first}
    assert witness.told == {first}
    assert listed(job_tags=[TAG]) == {first}
    assert listed(job_tags=[TAG]) == {first, second} == witness.told
    assert witness.unlisted == {second: 1}


def test_a_device_that_is_busy_takes_the_job_later(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.faults.append(mishaps.busy(ibm_emulator, 0.01, nth=1))
    bench.submit()
    ibm_emulator.wait_until_idle()
    assert list(ibm_emulator.job_states().values()) == ["Completed"]


def test_a_result_that_never_arrived_whole(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    witness = mishaps.Witness(ibm_emulator)
    spoiled = faults.edited(faults.RESULTS, faults.garbled, times=2)
    ibm_emulator.faults.extend([witness, spoiled])
    bench.submit()
    ibm_emulator.wait_until_idle()
    (job,) = ibm_emulator.taken
    client = bench.service._get_api_client()
    answers = []
    for _ in range(3):
        client.job_results(job.id)
        answers.append(witness.was_undelivered(job))
    assert answers == [False, True, False]


def test_a_job_without_metrics(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    witness = mishaps.Witness(ibm_emulator)
    ibm_emulator.faults.extend([witness, faults.status(faults.METRICS, 404)])
    job = bench.submit()
    with pytest.raises(IBMRuntimeError, match="Emulated status 404"):
        job.metrics()
    assert witness.unmeasured == {job.job_id()}
    job.metrics()
    assert witness.unmeasured == set()
