"""Each fault does what it says, to the requests it names and to no others."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from qiskit_ibm_runtime import Sampler
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMRuntimeError
from urllib3.util.retry import Retry

from tests.emulator import IBMEmulator, faults
from tests.unit.emulator.conftest import Bench


def test_a_status_for_some_of_the_requests(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    refused = faults.status(faults.POST_JOB, 400, nth=2, times=2)
    ibm_emulator.faults.append(refused)
    for refuses in (False, True, True, False):
        if refuses:
            with pytest.raises(IBMRuntimeError, match="Emulated status 400"):
                bench.submit()
        else:
            bench.submit()
    assert (refused.seen, refused.done) == (4, 2)
    assert len(ibm_emulator.job_ids) == 2


def test_only_the_jobs_with_a_tag(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.faults.append(
        faults.status(faults.POST_JOB.tagged(r"qexp-job:1\..*"), 429, retry_after_s=7, times=None)
    )
    bench.submit(None, "qexp", "qexp-job:0.1:aa")
    with pytest.raises(IBMRuntimeError, match="429"):
        bench.submit(None, "qexp", "qexp-job:1.1:bb")
    assert [record.status for record in ibm_emulator.journal.find("POST", "/jobs")] == [200, 429]


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_that_drops(ibm_emulator: IBMEmulator, bench: Bench, after: bool) -> None:
    ibm_emulator.faults.append(faults.drop(faults.POST_JOB, after=after))
    with pytest.raises(IBMRuntimeError, match="Failed to run program"):
        bench.submit()
    assert len(ibm_emulator.job_ids) == int(after)


def test_a_server_error_after_the_job_was_created_makes_two(
    ibm_emulator: IBMEmulator, bench: Bench
) -> None:
    ibm_emulator.faults.append(faults.status(faults.POST_JOB, 503, after=True))
    bench.submit(None, "qexp-job:0.1:aa")
    assert ibm_emulator.jobs_by_tag() == {"qexp-job:0.1:aa": 2}


@pytest.mark.parametrize(
    ("edit", "found"),
    [(faults.truncated, str), (faults.garbled, str), (faults.empty, type(None))],
    ids=["truncated", "garbled", "empty"],
)
def test_a_result_that_is_none(
    ibm_emulator: IBMEmulator, bench: Bench, edit: Any, found: type
) -> None:
    ibm_emulator.faults.append(faults.edited(faults.RESULTS, edit))
    job = legacy(bench, 10)
    assert type(job.result()) is found
    assert job.result()[0].data.meas.num_shots == 10


def test_a_short_result(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    for job in (bench.submit(), legacy(bench, 10)):
        ibm_emulator.faults[:] = [
            faults.edited(faults.RESULTS, faults.without_last_pub),
            faults.edited(faults.RESULTS, faults.without_last_shot, nth=2),
        ]
        assert len(job.result()) == 0
        (short,) = job.result()
        assert short.data.meas.num_shots == 9
        (whole,) = job.result()
        np.testing.assert_array_equal(short.data.meas.array, whole.data.meas.array[:9])


def test_a_slow_reply(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    until = threading.Event()
    slow = faults.delayed(faults.POST_JOB, until)
    ibm_emulator.faults.append(slow)
    ibm_emulator.hold()
    replies: list[Any] = []
    client = threading.Thread(target=lambda: replies.append(bench.submit()))
    client.start()
    while not ibm_emulator.job_ids:
        until.wait(0.01)
    assert replies == []
    until.set()
    client.join()
    assert [job.job_id() for job in replies] == ibm_emulator.job_ids


def test_something_that_happens_meanwhile(ibm_emulator: IBMEmulator, bench: Bench) -> None:
    ibm_emulator.hold()
    ibm_emulator.faults.append(
        faults.then(faults.POST_JOB, lambda: ibm_emulator.cancel_job(ibm_emulator.job_ids[0]))
    )
    assert bench.submit().status() == "CANCELLED"


def test_a_service_that_is_gone(
    ibm_emulator: IBMEmulator, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retry, "get_backoff_time", lambda self: 0.0)
    job = bench.submit()
    outage = faults.gone_at(faults.JOB)
    ibm_emulator.faults.append(outage)
    with pytest.raises(RequestsApiError):
        bench.service._active_api_client.job_metadata("no-such-job")
    outage.stop()
    assert job.result()[0].data.meas.num_shots == 10


def test_a_client_that_dies_while_it_sends_has_asked_for_nothing(
    ibm_emulator: IBMEmulator, bench: Bench
) -> None:
    token = bench.service._active_api_client._session.auth.tm.get_token()
    body = json.dumps({"program_id": "sampler", "backend": "ibm_jakarta", "params": {}})
    for sent in (0, 10, len(body) - 1):
        with socket.create_connection(("127.0.0.1", urlsplit(ibm_emulator.url).port)) as client:
            head = (
                "POST /experimental/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            client.sendall((head + body[:sent]).encode())
    bench.submit().result()
    assert len(ibm_emulator.job_ids) == 1
    assert len(ibm_emulator.journal.find("POST", "/jobs")) == 1


def test_a_client_that_dies_before_the_reply_has_its_job(
    ibm_emulator: IBMEmulator, bench: Bench
) -> None:
    until = threading.Event()
    ibm_emulator.faults.append(faults.delayed(faults.POST_JOB, until))
    ibm_emulator.hold()
    session = bench.service._active_api_client._session
    body = json.dumps({"program_id": "sampler", "backend": "ibm_jakarta", "params": {}})
    with socket.create_connection(("127.0.0.1", urlsplit(ibm_emulator.url).port)) as client:
        lines = [f"{name}: {value}" for name, value in session.auth.get_headers().items()]
        head = ["POST /experimental/jobs HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        client.sendall(("\r\n".join([*head, *lines, "", ""]) + body).encode())
        while not ibm_emulator.job_ids:
            until.wait(0.01)
    until.set()
    bench.submit()
    assert len(ibm_emulator.job_ids) == 2


def legacy(bench: Bench, shots: int) -> Any:
    with pytest.warns(DeprecationWarning, match="Sampler"):
        sampler = Sampler(mode=bench.backend)
    return sampler.run([bench.circuit], shots=shots)
