"""Batches and jobs from opening to closing, and what can go wrong on the way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import (
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
)
from qiskit_ibm_runtime.executor_sampler import Sampler

from tests.emulator import INSTANCE, JAKARTA, OFFLINE, PAUSED, IBMEmulator, Response


@pytest.fixture
def backend(ibm_emulator: IBMEmulator) -> Any:
    return QiskitRuntimeService().backend(JAKARTA)


def flip(backend: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.measure_all()
    return generate_preset_pass_manager(1, target=backend.target).run(circuit)


def submit(mode: Any, backend: Any, *, tags: list[str] | None = None, private: bool = False) -> Any:
    sampler = Sampler(mode=mode)
    sampler.options.environment.job_tags = tags or []
    sampler.options.environment.private = private
    return sampler.run([flip(backend)], shots=10)


def test_a_batch_from_open_to_closed(ibm_emulator: IBMEmulator, backend: Any) -> None:
    ibm_emulator.hold()
    batch = Batch(backend, max_time=600)
    opened = batch.details()
    assert opened == {
        "id": batch.session_id,
        "backend_name": JAKARTA,
        "interactive_timeout": 60,
        "max_time": 600,
        "active_timeout": 600,
        "state": "open",
        "accepting_jobs": True,
        "mode": "batch",
        "usage_time": None,
        "timestamps": opened["timestamps"],
        **dict.fromkeys(
            ("last_job_started", "last_job_completed", "started_at", "closed_at", "activated_at")
        ),
    }
    jobs = [submit(batch, backend) for _ in range(2)]
    assert [job.status() for job in jobs] == ["QUEUED", "QUEUED"]
    assert jobs[0].metrics()["usage"]["status"] == "pending"
    assert jobs[0].usage() == 0
    batch.close()
    assert batch.status() == "Pending"
    assert not batch.details()["accepting_jobs"]
    ibm_emulator.release()
    ibm_emulator.wait_until_idle()
    closed = batch.details()
    assert batch.status() == "Closed"
    assert [entry["status"] for entry in closed["timestamps"]] == ["open", "active", "closed"]
    moments = [entry["timestamp"] for entry in closed["timestamps"]]
    assert moments == sorted(moments)
    assert closed["activated_at"] == closed["started_at"] == moments[1]
    assert closed["closed_at"] == moments[2]
    assert moments[1] <= closed["last_job_started"] <= closed["last_job_completed"] <= moments[2]
    assert closed["usage_time"] == pytest.approx(sum(job.usage() for job in jobs))
    assert ibm_emulator.job_ids == [job.job_id() for job in jobs]
    assert ibm_emulator.session_ids == [batch.session_id]


def test_exactly_these_requests_make_a_batch(ibm_emulator: IBMEmulator, backend: Any) -> None:
    circuit = flip(backend)
    before = len(ibm_emulator.journal)
    with Batch(backend, max_time="25m") as batch:
        job = Sampler(mode=batch).run([circuit], shots=10)
        ibm_emulator.wait_until_idle()
        job.result()
    batch.details()
    seen = [(record.method, record.path, record.status) for record in ibm_emulator.journal][before:]
    assert seen == [
        ("POST", "/sessions", 200),
        ("GET", "/instances/usage", 200),
        ("GET", f"/backends/{JAKARTA}/status", 200),
        ("POST", "/jobs", 200),
        ("GET", f"/jobs/{job.job_id()}", 200),
        ("GET", f"/jobs/{job.job_id()}/results", 200),
        ("PATCH", f"/sessions/{batch.session_id}", 204),
        ("GET", f"/sessions/{batch.session_id}", 200),
    ]
    (opening,) = ibm_emulator.journal.find("POST", "/sessions")
    assert opening.body == {
        "mode": "batch",
        "backend": JAKARTA,
        "instance": INSTANCE,
        "max_ttl": 1500,
    }
    indices = [record.index for record in ibm_emulator.journal]
    assert indices == list(range(len(indices)))


def test_a_batch_that_no_longer_accepts_refuses_jobs(
    ibm_emulator: IBMEmulator, backend: Any
) -> None:
    batch = Batch(backend)
    sampler = Sampler(mode=batch)
    backend.service._get_api_client(None).close_session(batch.session_id)
    with pytest.raises(IBMRuntimeError, match=r"400.*is closed"):
        sampler.run([flip(backend)], shots=10)
    assert batch.details()["state"] == "closed"


def test_cancelling_a_batch_cancels_what_is_queued(ibm_emulator: IBMEmulator, backend: Any) -> None:
    ibm_emulator.hold()
    batch = Batch(backend)
    job = submit(batch, backend)
    batch.cancel()
    assert job.status() == "CANCELLED"
    assert batch.details()["state"] == "closed"
    assert batch.details()["activated_at"] is None


def test_a_batch_that_runs_out_of_time(ibm_emulator: IBMEmulator, backend: Any) -> None:
    ibm_emulator.hold()
    batch = Batch(backend, max_time=60)
    job = submit(batch, backend)
    ibm_emulator.expire_session(batch.session_id)
    with pytest.raises(RuntimeJobFailureError, match="maximum time"):
        job.result()
    assert batch.details()["state"] == "closed"


def test_cancel_a_job(ibm_emulator: IBMEmulator, backend: Any) -> None:
    ibm_emulator.hold()
    job = submit(backend, backend)
    job.cancel()
    ibm_emulator.release()
    ibm_emulator.wait_until_idle()
    with pytest.raises(RuntimeInvalidStateError, match="Job was cancelled"):
        job.result()
    assert ibm_emulator.results == {}
    with pytest.raises(RuntimeInvalidStateError, match="cannot be cancelled"):
        job.cancel()


def test_a_failed_job_tells_why(ibm_emulator: IBMEmulator, backend: Any) -> None:
    ibm_emulator.fail_next_job("The QPU fell over.", 8001)
    failed, fine = submit(backend, backend), submit(backend, backend)
    with pytest.raises(RuntimeJobFailureError, match=r"Error code 8001; The QPU fell over."):
        failed.result()
    assert failed.status() == "ERROR"
    assert "The QPU fell over." in failed.error_message()
    assert fine.result()[0].data.meas.num_shots == 10


def test_a_job_that_ran_too_long(ibm_emulator: IBMEmulator, backend: Any) -> None:
    ibm_emulator.fail_next_job("Job ran longer than maximum execution time.", 1305)
    with pytest.raises(RuntimeJobMaxTimeoutError):
        submit(backend, backend).result()


def test_a_circuit_that_is_not_isa_fails_the_job(ibm_emulator: IBMEmulator, backend: Any) -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.measure_all()
    job = Sampler(mode=backend).run([circuit], shots=10)
    with pytest.raises(RuntimeJobFailureError, match=r"Error code 3211; Job not valid.* h on"):
        job.result()
    assert job.metrics()["usage"] == {"qpu_charge_time_seconds": 0.0, "status": "complete"}


def test_listing_jobs(ibm_emulator: IBMEmulator, backend: Any) -> None:
    ibm_emulator.hold()
    service = backend.service
    with Batch(backend) as batch:
        inside = [submit(batch, backend, tags=["main", f"job-{k}"]).job_id() for k in range(23)]
    outside = submit(backend, backend, tags=["main"]).job_id()

    def ids(**filters: Any) -> list[str]:
        return [job.job_id() for job in service.jobs(**filters)]

    assert ids(limit=None, session_id=batch.session_id) == inside[::-1]
    assert ids(limit=None, session_id=batch.session_id, descending=False) == inside
    assert ids(session_id=batch.session_id) == inside[:-11:-1]
    assert ids(limit=None, skip=20, session_id=batch.session_id) == inside[2::-1]
    assert ids(job_tags=["main", "job-3"]) == [inside[3]]
    assert ids(limit=1, job_tags=["main"]) == [outside]
    assert ids(session_id="no-such-session") == []
    assert ids(program_id="sampler") == []
    assert ids(limit=None, backend_name=JAKARTA, pending=False) == []
    assert len(ids(limit=None, pending=True)) == 24
    assert service.job(inside[0]).tags == ["main", "job-0"]
    assert service.job(inside[0]).session_id == batch.session_id


def test_what_a_finished_job_tells(ibm_emulator: IBMEmulator, backend: Any) -> None:
    job = submit(backend, backend, tags=["one"])
    job.result()
    metrics = job.metrics()
    assert metrics["usage"] == {"qpu_charge_time_seconds": 2.003, "status": "complete"}
    assert job.usage() == 2.003
    moments = [metrics["timestamps"][key] for key in ("created", "running", "finished")]
    assert moments == sorted(moments)
    assert job.properties().backend_name == JAKARTA
    (asked,) = [
        record.query["updated_before"][0]
        for record in ibm_emulator.journal
        if "updated_before" in record.query
    ]
    assert datetime.fromisoformat(asked) == datetime.fromisoformat(moments[1])
    assert "executor" in job.logs()
    assert job.creation_date.timestamp() == datetime.fromisoformat(moments[0]).timestamp()
    assert job.update_tags(["two"]) == ["two"]
    assert backend.service.usage()["usage_consumed_seconds"] == 2.003


def test_a_deleted_job_is_gone(ibm_emulator: IBMEmulator, backend: Any) -> None:
    job = submit(backend, backend)
    ibm_emulator.wait_until_idle()
    backend.service.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        backend.service.job(job.job_id())


def test_a_private_result_is_there_once(ibm_emulator: IBMEmulator, backend: Any) -> None:
    job = submit(backend, backend, private=True)
    job.result()
    with pytest.raises(Exception, match="already read"):
        job.result()


@pytest.mark.parametrize("name", [PAUSED, OFFLINE])
def test_jobs_wait_while_the_qpu_does_not_run(ibm_emulator: IBMEmulator, name: str) -> None:
    backend = QiskitRuntimeService().backend(name)
    if name == PAUSED:
        with pytest.warns(UserWarning, match="currently has a status of internal"):
            waiting = submit(backend, backend)
    else:
        waiting = submit(backend, backend)
    other = QiskitRuntimeService().backend(JAKARTA)
    submit(other, other).result()
    assert waiting.status() == "QUEUED"


def test_a_fault_instead_of_the_reply(ibm_emulator: IBMEmulator, backend: Any) -> None:
    busy = Response(429, {"errors": [{"code": 1202, "message": "Too many requests"}]})
    ibm_emulator.faults.append(lambda method, path: busy if method == "POST" else None)
    with pytest.raises(IBMRuntimeError, match="Too many requests"):
        submit(backend, backend)
    assert ibm_emulator.job_ids == []
    ibm_emulator.faults.clear()
    submit(backend, backend).result()


def test_a_fault_after_the_job_was_created(ibm_emulator: IBMEmulator, backend: Any) -> None:
    late = [Response(502, after=True)]
    ibm_emulator.faults.append(
        lambda method, path: late.pop() if late and (method, path) == ("POST", "/jobs") else None
    )
    # The client sends it again by itself, which makes a second job.
    submit(backend, backend).result()
    assert len(ibm_emulator.job_ids) == 2


def test_a_dropped_connection(ibm_emulator: IBMEmulator, backend: Any) -> None:
    dropped = Response(drop=True, after=True)
    ibm_emulator.faults.append(
        lambda method, path: dropped if (method, path) == ("POST", "/jobs") else None
    )
    with pytest.raises(IBMRuntimeError, match="Failed to run program"):
        submit(backend, backend)
    assert len(ibm_emulator.job_ids) == 1
    assert ibm_emulator.journal.find("POST", "/jobs")[0].status == 0
