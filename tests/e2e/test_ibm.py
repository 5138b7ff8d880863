"""The command line on IBM's service, through the unmodified client, against the emulator."""

from __future__ import annotations

import numpy as np
import pytest

from tests.e2e.conftest import Cli, Finished
from tests.emulator import (
    INSTANCE,
    INSTANCE_NAME,
    LEAST_BUSY,
    MANILA,
    TOKEN,
    IBMEmulator,
    faults,
)

SMALL = (
    "experiment=random_sampling",
    "circuits.num_circuits=5",
    "partition.max_circuits=2",
    "primitive.shots=200",
    "engine.poll_interval_s=0.1",
)
IMPLEMENTATIONS = pytest.mark.parametrize("implementation", ["client", "legacy"])


@pytest.fixture
def emulator():
    with IBMEmulator() as running:
        yield running


def environment(emulator: IBMEmulator) -> dict[str, str]:
    return {name: value for name, value in emulator.env.items() if name != "HOME"}


def assert_one_batch(emulator: IBMEmulator, num_jobs: int, max_ttl: int | None) -> str:
    """Exactly one session was opened, it got every job, and the program closed it."""
    (opened,) = emulator.journal.find("POST", "/sessions")
    assert opened.body["mode"] == "batch"
    assert opened.body.get("max_ttl") == max_ttl
    (session_id,) = emulator.session_ids
    jobs = emulator.journal.find("POST", "/jobs")
    assert len(jobs) == num_jobs
    assert {job.body["session_id"] for job in jobs} == {session_id}
    closed = emulator.journal.find("PATCH", f"/sessions/{session_id}")
    assert [record.body for record in closed] == [{"accepting_jobs": False}]
    assert max(job.index for job in jobs) < closed[0].index
    return session_id


def assert_no_secret(done: Finished) -> None:
    for path in (done.folder / "outputs").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in (TOKEN, INSTANCE, "eyJ"):
                assert secret.encode() not in content, (path, secret)
    for secret in (TOKEN, INSTANCE):
        assert secret not in done.out + done.err


@IMPLEMENTATIONS
def test_random_sampling_on_the_least_busy_qpu(
    cli: Cli, emulator: IBMEmulator, implementation: str
):
    done = cli(
        *SMALL,
        "backend=least_busy",
        "batch.max_time=25m",
        f"primitive.implementation={implementation}",
        env=environment(emulator),
    )
    assert done.code == 0, done.err
    session_id = assert_one_batch(emulator, num_jobs=3, max_ttl=1500)
    with done.archive() as run:
        assert run.status == "complete"
        assert run.details["id"] == session_id
        assert run.details["backend_name"] == LEAST_BUSY
        assert run.details["state"] == "closed"
        assert run.details_opened["state"] == "open"
        assert [job.job_id for job in run.jobs] == emulator.job_ids
        assert all(job.usage_s is not None for job in run.jobs)
        assert all(job.spans for job in run.jobs)
        for job, record in zip(run.jobs, emulator.journal.find("POST", "/jobs"), strict=True):
            assert f"qexp-run:{run.run_id}" in record.body["tags"]
            for offset, truth in enumerate(emulator.results[job.job_id]):
                data = run.results["main"][job.first + offset].data
                for register, bits in truth.items():
                    # The archive's bits are in Qiskit's order, most significant first.
                    stored = np.unpackbits(data[register].array, axis=-1)[..., ::-1]
                    np.testing.assert_array_equal(stored[..., : bits.shape[-1]], bits)
    assert_no_secret(done)


@IMPLEMENTATIONS
def test_estimator_and_sampler_in_one_batch(cli: Cli, emulator: IBMEmulator, implementation: str):
    done = cli(
        "experiment=estimator_and_sampler",
        "backend=ibm",
        f"backend.name={MANILA}",
        "engine.poll_interval_s=0.1",
        "workloads.sampler.primitive.shots=100",
        "workloads.estimator.primitive.precision=0.1",
        *(
            f"workloads.{name}.primitive.implementation={implementation}"
            for name in ("estimator", "sampler")
        ),
        env=environment(emulator),
    )
    assert done.code == 0, done.err
    assert_one_batch(emulator, num_jobs=2, max_ttl=None)
    with done.archive() as run:
        assert run.status == "complete"
        assert run.results["estimator"][0].data.evs.shape == (3, 2)
        assert run.results["sampler"][0].data.shape == (3, 2)
    assert_no_secret(done)


@IMPLEMENTATIONS
def test_what_is_asked_of_the_service(cli: Cli, emulator: IBMEmulator, implementation: str):
    """Each submission takes the client's three requests, a poll one, a finished job three."""
    jobs, polls = 6, 4
    listings: list[str] = []

    def run_after_some_polls(method: str, path: str) -> None:
        if (method, path) == ("GET", "/jobs"):
            listings.append(path)
            if len(listings) == polls:
                emulator.release()

    emulator.hold()
    emulator.faults.append(run_after_some_polls)
    done = cli(
        *SMALL,
        f"circuits.num_circuits={2 * jobs}",
        f"primitive.implementation={implementation}",
        "backend=ibm",
        f"backend.name={MANILA}",
        env=environment(emulator),
    )
    assert done.code == 0, done.err
    asked = [f"{record.method} {record.path}" for record in emulator.journal]
    (session_id,) = emulator.session_ids
    session, status = f"/sessions/{session_id}", f"GET /backends/{MANILA}/status"
    until_polled = [
        "POST /sessions",
        f"GET {session}",
        *["GET /instances/usage", status, "POST /jobs"] * jobs,
        f"PATCH {session}",
        status,
        *["GET /jobs"] * polls,
    ]
    start = asked.index("POST /sessions")
    rest = start + len(until_polled)
    assert asked[start:rest] == until_polled
    calibration = f"GET /backends/{MANILA}/properties"
    collected = [
        request
        for job_id in emulator.job_ids
        for request in (f"GET /jobs/{job_id}/metrics", calibration, f"GET /jobs/{job_id}/results")
    ]
    assert [one for one in asked[rest:] if one != "GET /jobs"] == [*collected, f"GET {session}"]
    *polled, last = emulator.journal.find("GET", "/jobs")
    for listing in polled:
        assert listing.query["session_id"] == [session_id]
        assert listing.query["exclude_params"] == ["true"]
    # Once more in the end, for jobs that a proxy has doubled or that are listed late.
    assert last.query["tags"] == [f"qexp-run:{done.archives()[0].parent.name}"]


def test_an_instance_by_name(cli: Cli, emulator: IBMEmulator):
    env = {name: value for name, value in emulator.proxy_env.items() if name != "HOME"}
    done = cli(
        *SMALL, "backend=ibm", f"backend.name={MANILA}", f"backend.instance={INSTANCE_NAME}",
        env=env,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert_no_secret(done)


def test_jobs_whose_replies_are_lost_behind_a_proxy_run_once(cli: Cli, emulator: IBMEmulator):
    second, third = (faults.POST_JOB.tagged(rf"qexp-job:{index}\.1:.*") for index in (1, 2))
    emulator.faults += [
        faults.drop(second, after=True),
        faults.status(third, 504, after=True, times=5),
    ]
    env = {name: value for name, value in emulator.proxy_env.items() if name != "HOME"}
    done = cli(*SMALL, "backend=ibm", f"backend.name={MANILA}", env=env)
    assert done.code == 0, done.err
    emulator.wait_until_idle()
    assert emulator.runs_per_partition() == {0: 1, 1: 1, 2: 1}
    assert_one_batch(emulator, num_jobs=3, max_ttl=None)


def test_a_backend_that_does_not_exist_lists_those_that_do(cli: Cli, emulator: IBMEmulator):
    done = cli(*SMALL, "backend=ibm", "backend.name=ibm_atlantis", env=environment(emulator))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "backend.name" in done.err
    assert MANILA in done.err
    assert emulator.session_ids == []


def test_a_plan_asks_but_submits_nothing(cli: Cli, emulator: IBMEmulator):
    done = cli(*SMALL, "backend=least_busy", "stop_after=plan", env=environment(emulator))
    assert done.code == 0, done.err
    assert LEAST_BUSY in done.out
    assert emulator.session_ids == []
    assert emulator.job_ids == []


def test_a_failed_job_is_tried_again_in_a_linked_batch(cli: Cli, emulator: IBMEmulator):
    emulator.fail_next_job("the fridge is warm", 9999)
    done = cli(*SMALL, "backend=least_busy", env=environment(emulator))
    assert done.code == 0, done.err
    first, second = emulator.session_ids
    with done.archive() as run:
        assert run.status == "complete"
        assert [batch.id for batch in run.batches] == [first, second]
        assert run.batches[1].follows == first
        assert [job.attempt for job in run.jobs if job.failure] == [1]
        assert len(run.jobs) == 4


def test_a_failed_job_leaves_a_partial_archive_and_says_so(cli: Cli, emulator: IBMEmulator):
    emulator.fail_next_job("the fridge is warm", 9999)
    done = cli(*SMALL, "backend=least_busy", "execution.retries=0", env=environment(emulator))
    assert done.code == 4
    assert "1 of 3 jobs have no result" in done.err
    assert_one_batch(emulator, num_jobs=3, max_ttl=None)
    with done.archive() as run:
        assert run.status == "partial"
        failed = [job for job in run.jobs if job.state != "DONE"]
        assert len(failed) == 1
        assert "the fridge is warm" in failed[0].error
        kept = sum(job.stop - job.first for job in run.jobs if job.state == "DONE")
        assert kept >= 3


def test_a_wrong_token_is_one_line_without_the_token(cli: Cli, emulator: IBMEmulator):
    env = {**environment(emulator), "QISKIT_IBM_TOKEN": "not-the-right-token-42"}
    done = cli(*SMALL, "backend=least_busy", env=env)
    assert done.code in {2, 3}
    assert done.err.count("\n") == 1
    assert "not-the-right-token-42" not in done.err


def test_a_batch_that_was_left_open_is_closed_by_the_next_command(cli: Cli, emulator: IBMEmulator):
    failing = faults.status(faults.CLOSE_SESSION, 503, times=None)
    emulator.faults.append(failing)
    env = environment(emulator)
    done = cli(*SMALL, "backend=ibm", f"backend.name={MANILA}", "execution.outage=1s", env=env)
    assert done.code == 0, done.err
    (batch,) = emulator.session_ids
    assert f"batch {batch} could not be closed (the service failed (status 503)" in done.err
    assert "to close it: python -m qexp resume outputs/" in done.err
    failing.stop()
    for said in ("complete, and now closed on the service: ", "no unfinished run in it (1 runs)"):
        again = cli("resume", "--all", "outputs", env=env)
        assert (again.code, again.err) == (0, "")
        assert said in again.out
    patched = emulator.journal.find("PATCH", f"/sessions/{batch}")
    assert [record.status for record in patched].count(204) == 1
