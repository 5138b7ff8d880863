"""Jobs that another process submitted, or that nobody knows of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qexp.core.model import Implementation, JobRequest, PrimitiveKind, PrimitiveSpec
from qexp.core.protocols import Batch
from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.select import least_busy, named
from qexp.errors import BatchOverError, EngineError, LostJobError, OutageError, UndeliveredError
from tests.emulator import INSTANCE, MANILA, OTHER_INSTANCE, IBMEmulator, Response, faults
from tests.unit.engines.ibm.requests import asked
from tests.unit.engines.jobs import isa_pub, request

TAG = "qexp-job:0.1:0123456789abcdef"


def job(
    backend: Any,
    kind: PrimitiveKind = "sampler",
    implementation: Implementation = "client",
    tags: tuple[str, ...] = (TAG,),
) -> JobRequest:
    pub = isa_pub(kind, backend)
    spec = PrimitiveSpec(kind, implementation, options={"environment": {"job_tags": ["mine"]}})
    return replace(request(spec, [pub, pub], tags=("run", *tags)), attempt=2)


def attach(backend: Any, batch_id: str) -> IBMBatch:
    return IBMEngine(poll_interval_s=0.01).attach_batch(backend, batch_id)


def gone(emulator: IBMEmulator, path: str) -> None:
    emulator.faults.append(lambda _, asked: Response(drop=True) if asked == path else None)


@pytest.mark.parametrize("kind", ["sampler", "estimator"])
@pytest.mark.parametrize("implementation", ["client", "legacy"])
def test_an_adopted_job_is_collected_as_its_own(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    kind: PrimitiveKind,
    implementation: Implementation,
) -> None:
    wanted = job(backend, kind, implementation)
    job_id = batch.submit(wanted)
    batch.close()
    ibm_emulator.wait_until_idle()
    batch.states()
    own = batch.collect(job_id)

    another = named(name=MANILA)
    since = len(ibm_emulator.journal)
    attached = attach(another, batch.id)
    assert isinstance(attached, Batch)
    assert attached.id == batch.id
    assert asked(ibm_emulator, since) == []
    attached.adopt(job_id, wanted)
    assert asked(ibm_emulator, since) == []
    assert attached.states() == {job_id: "DONE"}
    assert asked(ibm_emulator, since) == [("GET", "/jobs")]
    since = len(ibm_emulator.journal)
    adopted = attached.collect(job_id)
    assert asked(ibm_emulator, since) == [
        ("GET", f"/jobs/{job_id}/metrics"),
        ("GET", f"/backends/{MANILA}/properties"),
        ("GET", f"/jobs/{job_id}/results"),
    ]
    assert adopted.result is not None
    assert own.result is not None
    for mine, theirs in zip(own.result, adopted.result, strict=True):
        if kind == "sampler":
            assert mine.data.meas == theirs.data.meas
        else:
            assert mine.data.evs == theirs.data.evs
    assert replace(adopted, result=None, raw=None) == replace(own, result=None, raw=None)
    assert (adopted.attempt, adopted.batch_id, adopted.failure) == (2, batch.id, None)
    assert adopted.backend_properties is not None


def test_an_attached_batch(ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch) -> None:
    attached = attach(backend, batch.id)
    since = len(ibm_emulator.journal)
    with pytest.raises(BatchOverError, match=f"partition 0 to batch {batch.id}: it is closed"):
        attached.submit(job(backend))
    assert attached.states() == {}
    assert asked(ibm_emulator, since) == []
    assert attached.details()["id"] == batch.id
    attached.close()
    attached.close()
    assert asked(ibm_emulator, since) == [
        ("GET", f"/sessions/{batch.id}"),
        ("PATCH", f"/sessions/{batch.id}"),
    ]
    assert batch.details()["accepting_jobs"] is False
    with pytest.raises(EngineError, match="the service knows nothing of batch nobody"):
        attach(backend, "nobody").details()


def test_closing_a_closed_or_missing_batch_succeeds(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    attach(backend, "nobody").close()
    attach(backend, "nobody").cancel()
    refusal = Response(400, {"errors": [{"code": 1217, "message": "Session is closed."}]})
    ibm_emulator.faults.append(lambda method, _: refusal if method == "PATCH" else None)
    attached = attach(backend, batch.id)
    attached.close()
    attached.close()
    assert len(ibm_emulator.journal.find("PATCH", f"/sessions/{batch.id}")) == 1


def test_a_job_that_the_service_does_not_know(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    wanted = job(backend)
    since = len(ibm_emulator.journal)
    batch.adopt("nobody", wanted)
    assert asked(ibm_emulator, since) == []
    assert batch.states() == {"nobody": "ERROR"}
    assert asked(ibm_emulator, since) == [("GET", "/jobs"), ("GET", "/jobs/nobody")]
    with pytest.raises(LostJobError, match="does not know job nobody"):
        batch.collect("nobody")
    for fault in (Response(501), Response(body=[]), Response(body={}), Response(body="<html>")):
        ibm_emulator.faults[:] = [lambda _, path, fault=fault: fault]  # type: ignore[misc]
        with pytest.raises(EngineError) as caught:
            batch._look_up("nobody")
        assert type(caught.value) is OutageError


def test_a_job_that_was_hidden_for_a_while_is_not_lost(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    job_id = batch.submit(job(backend))
    ibm_emulator.wait_until_idle()
    nothing = {"jobs": [], "count": 0}
    attached = attach(backend, batch.id)
    attached.adopt(job_id, job(backend))
    ibm_emulator.faults.append(
        lambda _, path: Response(body=nothing) if path == "/jobs" else Response(404)
    )
    assert attached.states() == {job_id: "ERROR"}
    with pytest.raises(LostJobError):
        attached.collect(job_id)
    ibm_emulator.faults.clear()
    assert attached.states() == {job_id: "DONE"}
    assert attached.collect(job_id).state == "DONE"


def test_a_job_that_was_deleted_before_it_was_collected(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    wanted = job(backend)
    job_id = batch.submit(wanted)
    ibm_emulator.wait_until_idle()
    assert batch.states() == {job_id: "DONE"}
    ibm_emulator.delete_job(job_id)
    with pytest.raises(LostJobError, match=f"no longer knows job {job_id}"):
        batch.collect(job_id)
    with pytest.raises(LostJobError):
        batch._look_up(job_id)


def test_a_job_is_found_by_its_tag(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexp.engines.ibm.batch._PAGE", 2)
    ibm_emulator.hold()
    ids = [batch.submit(job(backend)) for _ in range(3)]
    batch.submit(job(backend, tags=("qexp-job:1.1:0123456789abcdef",)))
    other = IBMEngine().open_batch(backend, max_time_s=None)
    ids.append(other.submit(job(backend)))
    since = len(ibm_emulator.journal)
    found = attach(backend, batch.id).find(TAG)
    assert asked(ibm_emulator, since) == [("GET", "/jobs")] * 2
    query = list(ibm_emulator.journal)[-1].query
    assert query["tags"] == [TAG]
    assert "session_id" not in query
    assert [each.job_id for each in found] == ids
    assert {each.tags for each in found} == {("run", TAG, "mine")}
    assert {each.state for each in found} == {"QUEUED"}
    assert [each.created for each in found] == sorted(each.created for each in found)
    assert batch.find("qexp-job:7.1:0123456789abcdef") == []


def test_a_service_that_ignores_the_tag(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    listed = {
        "jobs": [{"id": "a", "tags": ["x"]}, {"id": "b", "tags": [TAG]}, {"id": "c"}],
        "count": 3,
    }
    ibm_emulator.faults.append(lambda _, path: Response(body=listed) if path == "/jobs" else None)
    assert [each.job_id for each in batch.find(TAG)] == ["b"]


@pytest.mark.parametrize(
    "reply",
    [
        Response(501),
        Response(503),
        Response(drop=True),
        Response(body="<html>"),
        Response(body=""),
        Response(body=[]),
        Response(body={"jobs": None, "count": 0}),
        Response(body={"jobs": []}),
        Response(body={"jobs": [{}], "count": 1}),
    ],
)
def test_a_list_that_cannot_be_read_changes_nothing(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch, reply: Response
) -> None:
    job_id = batch.submit(job(backend))
    ibm_emulator.wait_until_idle()
    ibm_emulator.faults.append(lambda _, path: reply if path == "/jobs" else None)
    for ask in (batch.states, lambda: batch.find(TAG)):
        with pytest.raises(EngineError):
            ask()
    ibm_emulator.faults.clear()
    assert batch.states() == {job_id: "DONE"}


def test_a_job_that_a_listing_lacks_keeps_its_state(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.hold()
    job_id = batch.submit(job(backend))
    nothing = {"jobs": [], "count": 0}
    ibm_emulator.faults.append(lambda _, path: Response(body=nothing) if path == "/jobs" else None)
    assert batch.states() == {job_id: "QUEUED"}


def test_strays(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexp.engines.ibm.batch._PAGE", 2)
    ibm_emulator.hold()
    another = attach(backend, batch.id)
    another._attached = False  # someone else's process, which submits to the same batch
    stray = another.submit(job(backend))
    another.submit(job(backend, tags=("not-qexp",)))
    own = [batch.submit(job(backend)) for _ in range(2)]
    assert batch.strays() == []
    since = len(ibm_emulator.journal)
    assert batch.states() == dict.fromkeys(own, "QUEUED")
    assert asked(ibm_emulator, since) == [("GET", "/jobs")] * 2
    (found,) = batch.strays()
    assert (found.job_id, found.state, found.tags) == (stray, "QUEUED", ("run", TAG, "mine"))
    # All are known now: one page is enough.
    since = len(ibm_emulator.journal)
    batch.states()
    assert asked(ibm_emulator, since) == [("GET", "/jobs")]
    batch.adopt(stray, job(backend))
    assert batch.strays() == []
    assert set(batch.states()) == {stray, *own}


def test_a_lost_submission_is_a_stray(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.hold()
    own = batch.submit(job(backend))
    ibm_emulator.faults.append(faults.drop(faults.POST_JOB, after=True))
    with pytest.raises(EngineError):
        batch.submit(job(backend))
    assert batch.states() == {own: "QUEUED"}
    (lost,) = batch.strays()
    assert [each.job_id for each in batch.find(TAG)] == [own, lost.job_id]


def test_cancelling(ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch) -> None:
    ibm_emulator.hold()
    first, second, third = (batch.submit(job(backend)) for _ in range(3))
    since = len(ibm_emulator.journal)
    batch.cancel_job(first)
    batch.cancel_job(first)
    batch.cancel_job("nobody")
    assert len(ibm_emulator.journal) == since + 3
    assert batch.states() == {first: "CANCELLED", second: "QUEUED", third: "QUEUED"}
    gone(ibm_emulator, f"/jobs/{second}/cancel")
    with pytest.raises(EngineError, match=f"cancelling job {second}"):
        batch.cancel_job(second)
    ibm_emulator.faults.clear()
    batch.cancel()
    assert set(batch.states().values()) == {"CANCELLED"}
    since = len(ibm_emulator.journal)
    batch.close()
    assert len(ibm_emulator.journal) == since
    with pytest.raises(BatchOverError):
        batch.submit(job(backend))
    outcome = batch.collect(second)
    assert (outcome.state, outcome.failure) == ("CANCELLED", "cancelled")


def test_an_attached_batch_is_cancelled(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.hold()
    job_id = batch.submit(job(backend))
    batch.close()
    attached = attach(backend, batch.id)
    attached.adopt(job_id, job(backend))
    attached.cancel()
    assert attached.states() == {job_id: "CANCELLED"}


def test_a_result_that_can_be_read_only_once(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    wanted = job(backend)
    options = {"environment": {"private": True}}
    private = replace(wanted, primitive=replace(wanted.primitive, options=options))
    job_id = batch.submit(private)
    ibm_emulator.wait_until_idle()
    batch.states()
    assert batch.collect(job_id).state == "DONE"
    with pytest.raises(UndeliveredError, match="the service has none"):
        batch.collect(job_id)


@pytest.mark.parametrize("implementation", ["client", "legacy"])
@pytest.mark.parametrize("damage", [faults.without_last_shot, faults.without_last_pub])
def test_a_short_result_is_not_delivered(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    implementation: Implementation,
    damage: faults.Edit,
) -> None:
    job_id = batch.submit(job(backend, "sampler", implementation))
    ibm_emulator.wait_until_idle()
    batch.states()
    ibm_emulator.faults.append(faults.edited(faults.RESULTS, damage))
    with pytest.raises(UndeliveredError, match=r"49 of 50 shots in 'meas'|1 PUB results|decoded"):
        batch.collect(job_id)
    assert batch.collect(job_id).state == "DONE"


def test_jobs_of_a_retired_backend(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    wanted = job(backend)
    job_id = batch.submit(wanted)
    ibm_emulator.wait_until_idle()
    ibm_emulator.faults.append(faults.edited(faults.BACKENDS, without_manila, times=None))
    for select in (least_busy, lambda pinned: named(name=MANILA, pinned=pinned)):
        retired = select(pinned=MANILA)
        IBMEngine().check_backend(retired)
        assert retired.name == MANILA
        with pytest.raises(EngineError, match=f"'{MANILA}' is no longer available") as caught:
            IBMEngine().open_batch(retired, max_time_s=None)
        assert "\n" not in str(caught.value)
        attached = attach(retired, batch.id)
        assert [each.job_id for each in attached.find(TAG)] == [job_id]
        attached.adopt(job_id, wanted)
        outcome = attached.collect(job_id)
        assert (outcome.state, outcome.backend_properties) == ("DONE", None)
        assert outcome.result is not None
        assert attached.details()["id"] == batch.id
        assert attached.queue_length() == 0
        attached.close()


def without_manila(text: str) -> str:
    return text.replace(MANILA, "ibm_renamed")


def test_the_other_instances_are_searched_for_an_earlier_batch(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ibm_emulator.proxy_env.items():
        monkeypatch.setenv(name, value)
    submitted = named(name=MANILA, instance=OTHER_INSTANCE)
    batch = IBMEngine(poll_interval_s=0.01).open_batch(submitted, max_time_s=None)
    wanted = job(submitted)
    job_id = batch.submit(wanted)
    ibm_emulator.wait_until_idle()

    backend = named(name=MANILA)
    assert backend._instance == INSTANCE
    attached = attach(backend, batch.id)
    since = len(ibm_emulator.journal)
    attached.cancel_job(job_id)
    assert [record.status for record in ibm_emulator.journal][since:] == [404, 409]
    assert [each.job_id for each in attached.find(TAG)] == [job_id]
    attached.adopt(job_id, wanted)
    assert attached.details()["id"] == batch.id
    assert attached.collect(job_id).state == "DONE"
    with pytest.raises(LostJobError):
        attached._look_up("nobody")
    closing = attach(backend, batch.id)
    closing.close()
    (closed,) = [record for record in ibm_emulator.journal if record.method == "PATCH"]
    assert (closed.status, closed.instance) == (204, submitted._instance)
    # A new batch can only be in its own instance.
    since = len(ibm_emulator.journal)
    assert IBMEngine().open_batch(backend, max_time_s=None).find(TAG) == []
    assert asked(ibm_emulator, since) == [("POST", "/sessions"), ("GET", "/jobs")]
