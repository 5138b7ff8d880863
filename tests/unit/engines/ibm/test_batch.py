from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qexp.core.model import FINAL_STATES, Implementation, JobRequest, PrimitiveKind, PrimitiveSpec
from qexp.core.protocols import Batch, Engine
from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.jobs import read_state
from qexp.errors import ConfigError, EngineError, UndeliveredError
from tests.emulator import INSTANCE, MANILA, TOKEN, IBMEmulator, Response
from tests.unit.engines.ibm.requests import SUBMISSION, asked
from tests.unit.engines.jobs import isa_pub, request

VARIANTS = [
    (kind, implementation)
    for kind in ("sampler", "estimator")
    for implementation in ("client", "legacy")
]


def job(backend: Any, kind: PrimitiveKind = "sampler", **changes: Any) -> JobRequest:
    pub = isa_pub(kind, backend)
    return replace(request(PrimitiveSpec(kind), [pub, pub]), **changes)


def finish(emulator: IBMEmulator, batch: IBMBatch) -> None:
    emulator.wait_until_idle()
    assert all(state in FINAL_STATES for state in batch.states().values())


def test_satisfies_the_protocols(batch: IBMBatch) -> None:
    assert isinstance(batch, Batch)
    assert isinstance(IBMEngine(), Engine)


def test_every_primitive_in_one_batch(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    journal = ibm_emulator.journal
    (opening,) = journal.find("POST", "/sessions")
    assert opening.body == {
        "mode": "batch", "backend": MANILA, "instance": INSTANCE, "max_ttl": 1500,
    }  # fmt: skip
    assert [batch.id] == ibm_emulator.session_ids
    ids = []
    for index, (kind, implementation) in enumerate(VARIANTS):
        pub = isa_pub(kind, backend)
        spec = PrimitiveSpec(kind, implementation, options={"environment": {"job_tags": ["mine"]}})
        since = len(journal)
        ids.append(batch.submit(request(spec, [pub, pub], index=index, tags=("run", str(index)))))
        assert asked(ibm_emulator, since) == SUBMISSION
    batch.close()
    batch.close()
    assert [record.body for record in journal.find("PATCH", f"/sessions/{batch.id}")] == [
        {"accepting_jobs": False}
    ]
    posted = journal.find("POST", "/jobs")
    assert [record.body["session_id"] for record in posted] == [batch.id] * 4
    assert [record.body["tags"] for record in posted] == [["run", str(k), "mine"] for k in range(4)]
    programs = ["executor", "sampler", "executor", "estimator"]
    assert [record.body["program_id"] for record in posted] == programs

    ibm_emulator.wait_until_idle()
    since = len(journal)
    assert batch.states() == dict.fromkeys(ids, "DONE")
    assert asked(ibm_emulator, since) == [("GET", "/jobs")]
    since = len(journal)
    assert batch.states() == dict.fromkeys(ids, "DONE")
    assert asked(ibm_emulator, since) == []

    for index, (kind, _) in enumerate(VARIANTS):
        since = len(journal)
        outcome = batch.collect(ids[index])
        assert asked(ibm_emulator, since) == [
            ("GET", f"/jobs/{ids[index]}/metrics"),
            ("GET", f"/backends/{MANILA}/properties"),
            ("GET", f"/jobs/{ids[index]}/results"),
        ]
        assert (outcome.state, outcome.error, outcome.partition) == ("DONE", None, index)
        assert outcome.result is not None
        assert len(outcome.result) == 2
        assert set(outcome.metrics) >= {"timestamps", "usage"}
        assert {span.pub for span in outcome.spans} == {0, 1}
        assert outcome.options["environment"]["job_tags"] == ["run", str(index), "mine"]
        assert outcome.info["tags"] == ["run", str(index), "mine"]
        assert outcome.info["session_id"] == batch.id
        assert outcome.info["primitive_id"] == programs[index]
        assert outcome.info["usage_estimation"]["quantum_seconds"] > 0
        assert outcome.backend_properties is not None
        assert outcome.backend_properties["backend_name"] == MANILA
        assert INSTANCE not in repr(outcome)
        assert TOKEN not in repr(outcome)
        if kind == "sampler":
            assert {sum(s.size for s in outcome.spans if s.pub == pub) for pub in (0, 1)} == {50}
            counts = outcome.result[0].data.meas.get_counts()
            assert max(counts, key=counts.__getitem__) == "01"
        else:
            assert outcome.result[0].data.evs < -0.5
    assert batch.details()["state"] == "closed"
    assert len(journal.find("POST", "/sessions")) == 1


def test_details(ibm_emulator: IBMEmulator, batch: IBMBatch) -> None:
    since = len(ibm_emulator.journal)
    details = batch.details()
    assert asked(ibm_emulator, since) == [("GET", f"/sessions/{batch.id}")]
    assert len(details) == 15
    assert (details["id"], details["mode"], details["max_time"]) == (batch.id, "batch", 1500)


def test_states_of_a_waiting_batch(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    assert batch.states() == {}
    ibm_emulator.hold()
    job_id = batch.submit(job(backend))
    assert batch.states() == {job_id: "QUEUED"}
    with pytest.raises(EngineError, match=f"job {job_id} is QUEUED: it has nothing to collect"):
        batch.collect(job_id)
    ibm_emulator.release()
    ibm_emulator.wait_until_idle()
    assert batch.collect(job_id).state == "DONE"


def test_more_jobs_than_one_reply_holds(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexp.engines.ibm.batch._PAGE", 2)
    first = batch.submit(job(backend))
    finish(ibm_emulator, batch)
    ibm_emulator.hold()
    later = [batch.submit(job(backend)) for _ in range(3)]
    since = len(ibm_emulator.journal)
    assert batch.states() == {first: "DONE"} | dict.fromkeys(later, "QUEUED")
    assert asked(ibm_emulator, since) == [("GET", "/jobs")] * 2


def test_a_failed_job_is_an_outcome(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.fail_next_job(f"The backend {INSTANCE} broke.", 1517)
    job_id = batch.submit(job(backend))
    finish(ibm_emulator, batch)
    since = len(ibm_emulator.journal)
    outcome = batch.collect(job_id)
    assert asked(ibm_emulator, since) == [
        ("GET", f"/jobs/{job_id}/metrics"),
        ("GET", f"/jobs/{job_id}/logs"),
    ]
    assert (outcome.state, outcome.result, outcome.error_code) == ("ERROR", None, 1517)
    assert (outcome.failure, outcome.attempt, outcome.batch_id) == ("transient", 1, batch.id)
    assert outcome.error == "The backend [redacted] broke."
    assert outcome.info["logs"].startswith("Emulated run")
    assert outcome.info["reason_solution"] == "Check the job that was sent."


def test_a_cancelled_job_is_an_outcome(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.hold()
    job_id = batch.submit(job(backend))
    ibm_emulator.service().job(job_id).cancel()
    outcome = batch.collect(job_id)
    assert (outcome.state, outcome.result) == ("CANCELLED", None)
    assert outcome.failure == "cancelled"
    assert outcome.error


def test_jobs_of_an_expired_batch_fail(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.hold()
    job_id = batch.submit(job(backend))
    ibm_emulator.expire_session(batch.id)
    outcome = batch.collect(job_id)
    assert (outcome.state, outcome.failure) == ("ERROR", "expired")
    assert "maximum time" in str(outcome.error)


@pytest.mark.parametrize("implementation", ["client", "legacy"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "rubbish", "short"])
def test_damaged_results_are_not_delivered(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    implementation: Implementation,
    damage: str,
) -> None:
    pub = isa_pub("sampler", backend)
    pubs = [pub, pub]
    spec = PrimitiveSpec("sampler", implementation)
    job_id = batch.submit(request(spec, pubs))
    # The result of another job, of one PUB only.
    other = batch.submit(request(spec, [pub]))
    finish(ibm_emulator, batch)
    client = backend.service._get_api_client()
    text = client.job_results(other if damage == "short" else job_id)
    body = {"truncated": text[:-200], "empty": "", "rubbish": "<html>", "short": text}[damage]
    path = f"/jobs/{job_id}/results"
    ibm_emulator.faults.append(lambda _, asked: Response(body=body) if asked == path else None)
    since = len(ibm_emulator.journal)
    for _ in range(2):
        with pytest.raises(
            UndeliveredError, match=f"the reply is not the result of job {job_id}: "
        ):
            batch.collect(job_id)
    ibm_emulator.faults.clear()
    outcome = batch.collect(job_id)
    assert (outcome.state, outcome.failure) == ("DONE", None)
    assert outcome.result is not None
    assert len(outcome.result) == 2
    assert asked(ibm_emulator, since).count(("GET", path)) == 3


def test_strange_spans_lose_no_result(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(result: Any) -> None:
        raise IndexError("tuple index out of range")

    monkeypatch.setattr("qexp.engines.ibm.collect.read_spans", fail)
    job_id = batch.submit(job(backend))
    finish(ibm_emulator, batch)
    outcome = batch.collect(job_id)
    assert (outcome.state, outcome.spans) == ("DONE", ())
    assert outcome.result is not None
    assert "its execution spans cannot be read: tuple index" in caplog.text


def test_an_error_of_the_service_can_be_repeated(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    job_id = batch.submit(job(backend))
    finish(ibm_emulator, batch)
    refusal = Response(400, {"errors": [{"code": 9, "message": f"no {INSTANCE}"}]})
    ibm_emulator.faults.append(lambda _, path: refusal if path.endswith("/results") else None)
    with pytest.raises(EngineError, match=f"fetching the result of job {job_id}: .* no .redacted"):
        batch.collect(job_id)
    ibm_emulator.faults.clear()
    assert batch.collect(job_id).state == "DONE"


def test_a_refused_batch(ibm_emulator: IBMEmulator, backend: Any) -> None:
    refusal = Response(400, {"errors": [{"code": 1217, "message": "max_ttl is too long."}]})
    ibm_emulator.faults.append(lambda _, path: refusal if path == "/sessions" else None)
    with pytest.raises(EngineError, match=f"opening the batch on {MANILA}: .*max_ttl is too long"):
        IBMEngine().open_batch(backend, max_time_s=10**6)


def test_closing_can_be_repeated(ibm_emulator: IBMEmulator, batch: IBMBatch) -> None:
    ibm_emulator.faults.append(
        lambda method, _: Response(500, {"errors": []}) if method == "PATCH" else None
    )
    with pytest.raises(EngineError, match=f"closing batch {batch.id}"):
        batch.close()
    ibm_emulator.faults.clear()
    batch.close()
    assert batch.details()["accepting_jobs"] is False


def test_wait_sleeps_no_longer_than_its_timeout(batch: IBMBatch) -> None:
    slept: list[float] = []
    waiting = IBMBatch(batch._session, batch._backend, poll_interval_s=3.0, sleep=slept.append)
    for timeout_s, expected in ((60.0, 3.0), (0.25, 0.25), (-1.0, 0.0)):
        slept.clear()
        waiting.wait(timeout_s, lambda: False)
        assert sum(slept) == pytest.approx(expected)
        assert max(slept, default=0.0) <= 0.1


def test_wait_ends_once_stopped(batch: IBMBatch) -> None:
    slept: list[float] = []
    waiting = IBMBatch(batch._session, batch._backend, poll_interval_s=3.0, sleep=slept.append)
    waiting.wait(60.0, lambda: len(slept) == 2)
    assert len(slept) == 2
    waiting.wait(60.0, lambda: True)
    assert len(slept) == 2


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        ({"state": {"status": "Queued"}}, "QUEUED"),
        ({"state": {"status": "Running"}}, "RUNNING"),
        ({"state": {"status": "Completed"}}, "DONE"),
        ({"state": {"status": "Failed", "reason_code": 1517}}, "ERROR"),
        ({"state": {"status": "Cancelled"}}, "CANCELLED"),
        ({"state": {"status": "Cancelled", "reason_code": 1305}}, "ERROR"),
        ({"state": {"status": "Cancelled", "reason_code": "1305"}}, "ERROR"),
        ({"status": "Cancelled - Ran too long"}, "ERROR"),
        ({"status": "Completed"}, "DONE"),
        ({"state": {"status": "Something new"}}, "INITIALIZING"),
        ({}, "INITIALIZING"),
    ],
)
def test_states_are_mapped_as_by_the_client(entry: dict[str, Any], state: str) -> None:
    assert read_state(entry) == state


def test_only_the_simulators_options_mean_nothing_to_a_qpu() -> None:
    options = {
        "simulator": {"seed_simulator": 1, "angle_decimals": None},
        "twirling": {"enable_gates": True},
    }
    assert IBMEngine().ignored_options(PrimitiveSpec("sampler", options=options)) == {
        "simulator.seed_simulator": 1
    }
    assert IBMEngine().ignored_options(PrimitiveSpec("sampler")) == {}


def test_another_backend_is_refused() -> None:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    with pytest.raises(ConfigError, match="engine=ibm cannot run on backend 'fake_manila'"):
        IBMEngine().check_backend(FakeManilaV2())
