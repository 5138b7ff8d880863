"""`doctor --live` against a service that breaks one of the promises that the protocol rests on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from urllib3.util.retry import Retry

from qexp.cli.main import main
from qexp.core.findings import Finding
from qexp.engines.ibm import doctor as service_doctor
from qexp.engines.ibm.select import named
from qexp.engines.ibm.transcript import Transcript
from tests.emulator import INSTANCE, MANILA, TOKEN, IBMEmulator, Response
from tests.emulator.discovery import ACCOUNT
from tests.emulator.faults import (
    ANYTHING,
    CANCEL_JOB,
    CANCEL_SESSION,
    CLOSE_SESSION,
    JOB,
    LIST_JOBS,
    METRICS,
    OPEN_SESSION,
    POST_JOB,
    RESULTS,
    SESSION,
    Endpoint,
    Scripted,
    edited,
    status,
    then,
    without_last_pub,
)
from tests.emulator.replay import Replay
from tests.emulator.routes import Request

BY_TAG = Endpoint("GET", "/jobs", query="tags")
NAMES = [
    "batch",
    "first job",
    "second job",
    "listing by run",
    "listing by batch",
    "cancelling",
    "closing",
    "result",
    "usage",
    "clock skew",
]


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def now_s(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor --live --yes --json` came to."""

    code: int
    findings: dict[str, Mapping[str, str]]
    transcript: Path

    def states(self) -> dict[str, str]:
        """The checks that are not ok."""
        states = {name: finding["state"] for name, finding in self.findings.items()}
        return {name: state for name, state in states.items() if state != "ok"}

    def shown(self) -> list[Mapping[str, str]]:
        return list(self.findings.values())


Doctor = Callable[..., Diagnosis]


@pytest.fixture
def doctor(
    ibm_emulator: IBMEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Doctor:
    """The command without the machine's checks; the first job runs once another is cancelled."""
    monkeypatch.setattr(Retry, "get_backoff_time", lambda retry: 0.0)
    monkeypatch.setattr("qexp.doctor.check_machine", lambda folder: iter(()))
    monkeypatch.chdir(tmp_path)
    time = Time()
    quick = partial(
        service_doctor.LiveChecks, poll_interval_s=0.02, sleep=time.sleep, now_s=time.now_s
    )
    monkeypatch.setattr(service_doctor, "LiveChecks", quick)
    ibm_emulator.hold()
    ibm_emulator.faults.append(then(CANCEL_JOB, ibm_emulator.release, times=None))

    def run(*faults: Any, more: tuple[str, ...] = ()) -> Diagnosis:
        ibm_emulator.faults[:0] = faults
        with pytest.raises(SystemExit) as ended:
            main(["doctor", "--live", "--yes", "--json", "--backend", MANILA, *more])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        document = json.loads(printed.out)
        findings = {finding["name"]: finding for finding in document["findings"]}
        assert len(findings) == len(document["findings"])
        assert isinstance(ended.value.code, int)
        return Diagnosis(ended.value.code, findings, tmp_path / document["transcript"])

    return run


def edited_jobs(edit: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    """Edit each job in a listing."""

    def act(text: str) -> str:
        page = json.loads(text)
        for job in page["jobs"]:
            edit(job)
        return json.dumps(page)

    return act


def changed(**fields: Any) -> Callable[[str], str]:
    """Set fields of a reply."""
    return lambda text: json.dumps(json.loads(text) | fields)


def nothing_listed(text: str) -> str:
    return json.dumps(json.loads(text) | {"jobs": [], "count": 0})


def ignored(endpoint: Endpoint) -> Scripted:
    """Say that it was done, and do nothing."""
    return Scripted(endpoint, lambda request, proceed: Response(204), times=None)


def assert_nothing_is_left(emulator: IBMEmulator) -> None:
    emulator.release()
    emulator.wait_until_idle()
    (session_id,) = emulator.session_ids
    (session,) = [emulator._queue.session_view(session_id)]
    assert (session["accepting_jobs"], session["state"]) == (False, "closed")


def test_a_service_that_keeps_its_promises(ibm_emulator: IBMEmulator, doctor: Doctor):
    diagnosis = doctor()
    assert diagnosis.code == 0
    assert list(diagnosis.findings) == NAMES
    assert diagnosis.states() == {}
    assert {job["state"] for job in diagnosis.shown()} == {"ok"}
    first, second = ibm_emulator.job_ids
    assert ibm_emulator.job_states() == {first: "Completed", second: "Cancelled"}
    assert diagnosis.findings["first job"]["found"] == (
        f"{first} was listed by its tag when asked 0.0 s after it was accepted, with all its tags"
    )
    assert "2 PUBs with 10 shots of 1 bit" in diagnosis.findings["result"]["found"]
    assert diagnosis.findings["usage"]["found"] == "2.006 QPU seconds are charged, complete"
    (opened,) = ibm_emulator.journal.find("POST", "/sessions")
    assert opened.body["max_ttl"] == 600
    posts = ibm_emulator.journal.find("POST", "/jobs")
    assert [post.status for post in posts] == [200, 200, 400]
    assert sum(post.body["cost"] for post in posts) <= 10
    assert_nothing_is_left(ibm_emulator)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            edited(LIST_JOBS, edited_jobs(lambda job: job.pop("tags")), times=None),
            {
                "first job": "is not listed by its tag, 20.0 s after it was accepted",
                "second job": "is not listed by its tag",
                "listing by run": "listed are none",
            },
        ),
        (
            edited(LIST_JOBS, edited_jobs(lambda job: job["tags"].remove("qexp")), times=None),
            {"first job": "was sent with tags", "second job": "was sent with tags"},
        ),
        (
            edited(BY_TAG, nothing_listed, times=6),
            {"first job": "when asked 8.0 s after it was accepted; the protocol waits for 2.0 s"},
        ),
        (
            edited(Endpoint("GET", "/jobs", query="session_id"), nothing_listed, times=1),
            {"listing by batch": "listed are none"},
        ),
        (
            edited(SESSION, changed(max_ttl=7), times=1),
            {"batch": "but its details have max_time=7"},
        ),
        (edited(RESULTS, without_last_pub), {"result": "it cannot be decoded"}),
        (edited(METRICS, changed(usage=None)), {"usage": "the metrics lack usage"}),
    ],
    ids=lambda value: next(iter(value)).replace(" ", "-") if isinstance(value, dict) else "",
)
def test_a_promise_that_is_broken_is_named(
    ibm_emulator: IBMEmulator, doctor: Doctor, fault: Scripted, expected: dict[str, str]
):
    diagnosis = doctor(fault)
    assert diagnosis.code == 1
    problems = {name for name, state in diagnosis.states().items() if state == "problem"}
    assert problems == expected.keys()
    for name, fragment in expected.items():
        assert fragment in diagnosis.findings[name]["found"]
        assert diagnosis.findings[name]["advice"]
    assert_nothing_is_left(ibm_emulator)


def test_a_job_that_is_listed_in_time_though_not_at_once_is_no_problem(doctor: Doctor):
    diagnosis = doctor(edited(BY_TAG, nothing_listed, times=4))
    assert diagnosis.code == 0
    assert "when asked 2.0 s after it was accepted" in diagnosis.findings["first job"]["found"]


def test_a_batch_that_cannot_be_closed_is_cancelled(ibm_emulator: IBMEmulator, doctor: Doctor):
    diagnosis = doctor(status(CLOSE_SESSION, 500, times=None))
    assert diagnosis.states() == {"closing": "problem"}
    assert "was cancelled" in diagnosis.findings["left behind"]["found"]
    assert len(ibm_emulator.job_ids) == 2
    assert_nothing_is_left(ibm_emulator)


def test_a_batch_that_can_be_neither_closed_nor_cancelled_is_named(
    ibm_emulator: IBMEmulator, doctor: Doctor
):
    diagnosis = doctor(
        status(CLOSE_SESSION, 500, times=None), status(CANCEL_SESSION, 500, times=None)
    )
    assert diagnosis.code == 1
    left = diagnosis.findings["left behind"]
    assert left["state"] == "problem"
    assert ibm_emulator.session_ids[0] in left["found"]
    assert "ends by itself after 600 s" in left["advice"]


def test_a_closed_batch_that_takes_a_job_is_a_problem_and_the_job_is_cancelled(
    ibm_emulator: IBMEmulator, doctor: Doctor
):
    diagnosis = doctor(
        ignored(CLOSE_SESSION),
        edited(SESSION, changed(accepting_jobs=False), nth=2, times=None),
        then(CANCEL_JOB, ibm_emulator.hold),
    )
    third = ibm_emulator.job_ids[2]
    assert diagnosis.findings["closing"]["state"] == "problem"
    assert third in diagnosis.findings["closing"]["found"]
    assert ibm_emulator.job_states()[third] == "Cancelled"
    assert_nothing_is_left(ibm_emulator)


def test_a_cancellation_that_does_nothing_is_a_problem(ibm_emulator: IBMEmulator, doctor: Doctor):
    released = Scripted(POST_JOB, lambda request, proceed: (ibm_emulator.release(), proceed())[1])
    released.nth = 3
    diagnosis = doctor(ignored(CANCEL_JOB), released)
    assert diagnosis.states()["cancelling"] == "problem"
    assert "is still QUEUED" in diagnosis.findings["cancelling"]["found"]
    assert_nothing_is_left(ibm_emulator)


def test_a_lost_reply_leaves_no_job(ibm_emulator: IBMEmulator, doctor: Doctor):
    """The second job exists, but nobody knows its id."""
    diagnosis = doctor(status(POST_JOB, 408, after=True, nth=2))
    assert diagnosis.states()["second job"] == "problem"
    assert diagnosis.findings["cancelling"]["found"] == "not tried: 1 of 2 jobs were accepted"
    assert set(ibm_emulator.job_states().values()) == {"Cancelled"}
    assert_nothing_is_left(ibm_emulator)


def test_a_job_that_waits_for_too_long_is_cancelled(
    ibm_emulator: IBMEmulator, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        service_doctor, "LiveChecks", partial(service_doctor.LiveChecks, now_s=monotonic)
    )
    ibm_emulator.faults.clear()
    diagnosis = doctor(more=("--wait", "1s"))
    assert diagnosis.code == 0
    assert diagnosis.states() == dict.fromkeys(["result", "usage"], "warning")
    first = ibm_emulator.job_ids[0]
    assert diagnosis.findings["result"]["found"] == f"not tried: {first} is QUEUED after 1.0s"
    assert "was cancelled" in diagnosis.findings["left behind"]["found"]
    assert set(ibm_emulator.job_states().values()) == {"Cancelled"}
    assert_nothing_is_left(ibm_emulator)


def test_what_a_second_ctrl_c_leaves_behind_is_named(ibm_emulator: IBMEmulator, tmp_path: Path):
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    found: list[Finding] = []
    checks = service_doctor.LiveChecks(
        named(name=MANILA),
        found.append,
        Transcript(tmp_path / "transcript.jsonl", {}),
        settle_s=2.0,
        wait_s=1.0,
        is_stopped=lambda: bool(ibm_emulator.session_ids),
        sleep=interrupted,
    )
    with pytest.raises(KeyboardInterrupt):
        checks.run()
    assert [finding.name for finding in found] == ["batch", "left behind", "clock skew"]
    assert found[1].found == f"batch {ibm_emulator.session_ids[0]}: interrupted again"


def test_a_batch_that_is_refused_leaves_the_rest_untried(ibm_emulator: IBMEmulator, doctor: Doctor):
    diagnosis = doctor(status(OPEN_SESSION, 400))
    assert diagnosis.code == 1
    assert diagnosis.findings["batch"]["state"] == "problem"
    assert diagnosis.findings["first job"]["found"] == "not tried: there is no batch"
    assert ibm_emulator.job_ids == []


def test_a_job_that_fails_is_a_problem_with_its_reason(ibm_emulator: IBMEmulator, doctor: Doctor):
    ibm_emulator.fail_next_job("Job ran too long.", 1305)
    diagnosis = doctor()
    assert diagnosis.states() == {"result": "problem"}
    assert "(too_long, code 1305): Job ran too long." in diagnosis.findings["result"]["found"]


@pytest.mark.parametrize("year", ["2020", "2099"])
def test_a_clock_that_is_years_off_is_a_problem(doctor: Doctor, year: str):
    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        reply = proceed()
        date = ("Date", f"Wed, 01 Jan {year} 00:00:00 GMT")
        return Response(reply.status, reply.body, (*reply.headers, date))

    diagnosis = doctor(Scripted(ANYTHING, act, times=None))
    assert diagnosis.states() == {"clock skew": "problem"}


def leak(text: str) -> str:
    """All that a service may tell about an account, where nobody expects it."""
    found = {"note": f"of IBMid-5500012345, jane.doe@lab.example.org, a/{ACCOUNT} {INSTANCE}"}
    found |= {"user_id": "someone-or-other-9", "account": ACCOUNT, "apikey": TOKEN}
    more = {"guid": INSTANCE.split(":")[-3], "jwt": f"eyJhbGciOiJIUzI1NiJ9.{'a' * 20}.{'b' * 20}"}
    return json.dumps(json.loads(text) | found | more | {"again": ["someone-or-other-9", TOKEN]})


def test_no_secret_is_in_the_transcript(doctor: Doctor):
    diagnosis = doctor(edited(METRICS, leak), edited(JOB, leak))
    assert diagnosis.code == 0
    text = diagnosis.transcript.read_text()
    assert "[redacted]" in text
    guid = INSTANCE.split(":")[-3]
    for secret in (TOKEN, INSTANCE, ACCOUNT, guid, "eyJ", "IBMid", "jane", "someone-or", "Bearer"):
        assert secret not in text, secret
    assert not re.search("authorization|service-crn|127.0.0.1", text, re.I)


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [edited(BY_TAG, nothing_listed, times=6)],
        [status(CLOSE_SESSION, 500, times=None), edited(METRICS, changed(usage=None))],
        [edited(LIST_JOBS, edited_jobs(lambda job: job.pop("tags")), times=None)],
    ],
    ids=["right", "late", "closing", "tags"],
)
def test_a_replayed_transcript_gives_the_same_findings(
    ibm_emulator: IBMEmulator, doctor: Doctor, tmp_path: Path, faults: list[Scripted]
):
    recorded = doctor(*faults)
    replay = Replay.from_file(recorded.transcript)
    assert replay.command == f"python -m qexp doctor --live --yes --backend {MANILA}"
    recorded.transcript.rename(tmp_path / "recorded.jsonl")
    jobs = ibm_emulator.job_ids
    ibm_emulator.faults[:] = [replay]
    replayed = doctor()
    assert replayed.findings == recorded.findings
    assert replay.findings == recorded.shown()
    assert ibm_emulator.job_ids == jobs
