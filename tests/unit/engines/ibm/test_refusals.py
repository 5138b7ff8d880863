from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from qexp.core.model import JobRequest, PrimitiveSpec
from qexp.engines.ibm.batch import IBMBatch
from qexp.errors import (
    ArchiveError,
    BatchOverError,
    BusyError,
    EngineError,
    RefusedError,
    UnclearError,
)
from tests.emulator import INSTANCE, MANILA, IBMEmulator, Response
from tests.unit.engines.ibm.requests import SUBMISSION
from tests.unit.engines.jobs import isa_pub, request


def job(backend: Any) -> JobRequest:
    pub = isa_pub("sampler", backend)
    return request(PrimitiveSpec("sampler", "legacy"), [pub])


def refused(status: int, code: Any, message: str, **headers: str) -> Response:
    body = {"errors": [{"code": code, "message": message}], "trace": "x"}
    names = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, body, names)


def failure(emulator: IBMEmulator, batch: IBMBatch, backend: Any, *replies: Response) -> Any:
    """Return the error of a submission whose POSTs get these replies, the last one repeatedly."""
    left = list(replies)

    def fault(method: str, path: str) -> Response | None:
        if (method, path) != ("POST", "/jobs"):
            return None
        return left.pop(0) if len(left) > 1 else left[0]

    emulator.faults.append(fault)
    with pytest.raises(EngineError) as caught:
        batch.submit(job(backend))
    emulator.faults.clear()
    text = str(caught.value)
    assert "\n" not in text
    assert INSTANCE not in text
    assert text.startswith(f"submitting partition 0 to batch {batch.id}: ")
    assert caught.value.__cause__ is None
    assert batch.states() == {}
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, 1233, "Payload too large.", RefusedError),
        (404, 1211, "Program not found.", EngineError),
        (413, None, "", RefusedError),
        (422, "bad_request", f"It is wrong at {INSTANCE}.", RefusedError),
        (400, 3458, "Too much.", BusyError),
        (400, "1012", "Too much.", BusyError),
        (403, None, "You have reached the limit of 3 pending jobs. Please wait.", BusyError),
        (429, None, "The user reached the maximum number of jobs running concurrently", BusyError),
        (400, 1217, "It is no more.", BatchOverError),
        (400, 9, "Session abc is closed.", BatchOverError),
        (409, 9, "The batch is not accepting jobs.", UnclearError),
        (409, None, "Usage exceeds instance limit.", EngineError),
        (429, None, "Slow down.", BusyError),
        (400, 1202, "Too many requests received: limit is 5 per minute.", BusyError),
        (401, 1200, "Token expired.", BusyError),
        (403, 1200, "You may not.", EngineError),
        (400, 4317, "You have exceeded it.", EngineError),
        (400, None, "Your monthly quota is used up.", EngineError),
        (408, None, "", UnclearError),
        (500, 1000, "Internal error.", UnclearError),
        (501, 3458, "Who knows.", UnclearError),
        (503, None, "", UnclearError),
    ],
)
def test_kinds_of_refusal(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    status: int,
    code: Any,
    message: str,
    expected: type[EngineError],
) -> None:
    error = failure(ibm_emulator, batch, backend, refused(status, code, message))
    assert type(error) is expected
    if isinstance(error, RefusedError):
        assert error.code == (code if isinstance(code, int) else None)
    if isinstance(error, BusyError):
        assert error.needs_slot == (code in (3458, "1012") or "jobs" in message)
        assert error.retry_after_s is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (refused(400, None, "It has no circuits."), "refused"),
        (refused(400, "bad_request", "It has no circuits."), "refused"),
        (refused(400, 3211, ""), "refused"),
        (refused(422, None, "It has no circuits."), "refused"),
        (refused(400, 9, "The number of shots exceeds 100000."), "refused"),
        (refused(413, None, ""), "too_large"),
        (Response(413, "<html>"), "too_large"),
        (refused(400, 3242, ""), "too_large"),
        (refused(400, None, "Too many circuits."), "too_large"),
        (Response(400, ""), "transient"),
        (Response(400, '{"errors": [{"code": 32'), "transient"),
        (Response(400, {"error": "It has no circuits."}), "transient"),
        (Response(422, "<html>"), "transient"),
        (refused(400, None, ""), "transient"),
        (refused(400, 3211, "Job not valid: internal error."), "transient"),
        (refused(400, 1000, "API Internal error."), "transient"),
        (refused(404, 3233, "It can't be created. Retry the action."), "transient"),
        (refused(413, None, "Too large for now, try again later."), "too_large"),
    ],
)
def test_a_refusal_is_final_only_if_it_blames_the_job(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch, reply: Response, expected: str
) -> None:
    error = failure(ibm_emulator, batch, backend, reply)
    assert isinstance(error, RefusedError)
    assert error.failure == expected
    assert ("--retry-refused" in str(error)) == (expected == "too_large")


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7.0, 7.0),
        (format_datetime(datetime.now(UTC) + timedelta(hours=10), usegmt=True), 30_000, 36_000),
        (format_datetime(datetime.now(UTC) - timedelta(hours=10), usegmt=True), 0.0, 0.0),
    ],
    # The dates differ where tests are collected in several processes.
    ids=["seconds", "to come", "past"],
)
def test_retry_after(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    header: str,
    least: float,
    most: float,
) -> None:
    error = failure(ibm_emulator, batch, backend, refused(429, 1202, "", Retry_After=header))
    assert isinstance(error, BusyError)
    assert error.retry_after_s is not None
    assert least <= error.retry_after_s <= most


def test_a_strange_retry_after_means_nothing(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    error = failure(ibm_emulator, batch, backend, refused(429, 1202, "", Retry_After="soon"))
    assert (type(error), error.retry_after_s) == (BusyError, None)


@pytest.mark.parametrize(
    "reply",
    [
        Response(drop=True),
        Response(drop=True, after=True),
        Response(body="<html>"),
        Response(body=""),
        Response(body={}),
        Response(body=[]),
        Response(body={"id": "x"}),
        Response(body={"backend": MANILA}),
        Response(body={"backend": MANILA, "id": None}),
        Response(body={"backend": "ibm_elsewhere", "id": "x"}),
        Response(body="<html>", after=True),
        Response(418, "<html>no JSON"),
    ],
)
def test_a_reply_after_which_the_job_may_exist_is_unclear(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch, reply: Response
) -> None:
    error = failure(ibm_emulator, batch, backend, reply)
    assert type(error) is (EngineError if reply.status == 418 else UnclearError)
    if reply.after:
        assert len(ibm_emulator.job_ids) == 1
        assert [each.job_id for each in batch.find("t")] == ibm_emulator.job_ids


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Response(drop=True), UnclearError),
        (Response(501), UnclearError),
        (Response(503), UnclearError),
        (Response(body="<html>"), UnclearError),
        (Response(body=[]), UnclearError),
        (refused(401, 1200, "Token expired."), BusyError),
        (refused(403, 1200, "You may not."), EngineError),
        (refused(404, 1007, "Backend not found."), EngineError),
        (refused(429, 1202, "", Retry_After="9"), BusyError),
        (refused(429, 1202, ""), BusyError),
    ],
)
@pytest.mark.parametrize("path", [path for method, path in SUBMISSION if method == "GET"])
def test_the_questions_before_the_submission_may_fail_too(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    path: str,
    reply: Response,
    expected: type[EngineError],
) -> None:
    ibm_emulator.faults.append(lambda _, asked: reply if asked == path else None)
    with pytest.raises(EngineError) as caught:
        batch.submit(job(backend))
    assert type(caught.value) is expected
    assert ibm_emulator.job_ids == []


def test_the_next_submission_takes_a_new_token(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    wanted = job(backend)
    since = len(ibm_emulator.journal.find("POST", "/identity/token"))
    ibm_emulator.tokens.expire()
    with pytest.raises(BusyError, match="401"):
        batch.submit(wanted)
    assert [batch.submit(wanted)] == ibm_emulator.job_ids
    assert len(ibm_emulator.journal.find("POST", "/identity/token")) == since + 1


def test_an_earlier_failure_is_not_taken_for_this_one(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.faults.append(
        lambda method, _: refused(429, 1202, "", Retry_After="5") if method == "POST" else None
    )
    wanted = job(backend)
    try:
        backend.service._get_api_client().job_cancel("x")
    except Exception:
        ibm_emulator.faults[:] = [
            lambda method, _: Response(drop=True) if method == "POST" else None
        ]
        with pytest.raises(UnclearError):
            batch.submit(wanted)


def test_a_job_that_the_client_refuses(backend: Any, batch: IBMBatch) -> None:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    pubs = [SamplerPub.coerce(circuit, 10)]
    with pytest.raises(RefusedError, match=r"partition 0 .* refused by .*instruction h") as caught:
        batch.submit(request(PrimitiveSpec("sampler", "legacy"), pubs))
    assert caught.value.code is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [(TypeError("not that"), RefusedError), (MemoryError(), EngineError)],
)
def test_failures_before_anything_is_sent(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    expected: type[EngineError],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("qiskit_ibm_runtime.sampler.SamplerV2.run", fail)
    with pytest.raises(EngineError) as caught:
        batch.submit(job(backend))
    assert type(caught.value) is expected


def test_pubs_that_cannot_be_loaded(ibm_emulator: IBMEmulator, batch: IBMBatch) -> None:
    def fail() -> Any:
        raise ArchiveError("part 0 is damaged")

    since = len(ibm_emulator.journal)
    spec = PrimitiveSpec("sampler")
    broken = JobRequest(request(spec, []).partition, spec, fail, (), 1)
    with pytest.raises(ArchiveError, match="part 0 is damaged"):
        batch.submit(broken)
    assert len(ibm_emulator.journal) == since


def test_a_closed_batch_takes_nothing(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.expire_session(batch.id)
    with pytest.raises(BatchOverError, match="1217"):
        batch.submit(job(backend))
    batch.close()
    since = len(ibm_emulator.journal)
    with pytest.raises(BatchOverError, match="it is closed"):
        batch.submit(job(backend))
    assert len(ibm_emulator.journal) == since


def test_the_limits_of_the_emulated_service(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    ibm_emulator.hold()
    ibm_emulator.limits.max_pending = 1
    batch.submit(job(backend))
    with pytest.raises(BusyError) as caught:
        batch.submit(job(backend))
    assert caught.value.needs_slot
    ibm_emulator.limits.max_pending = None
    ibm_emulator.limits.max_payload_bytes = 10
    with pytest.raises(RefusedError) as refusal:
        batch.submit(job(backend))
    assert refusal.value.code == 1233
    ibm_emulator.limits.max_payload_bytes = None
    ibm_emulator.limits.quota_s = 0.0
    with pytest.raises(EngineError, match="usage limit") as denied:
        batch.submit(job(backend))
    assert type(denied.value) is EngineError
