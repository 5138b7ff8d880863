"""What a transcript keeps of an exchange, and what it masks."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from qexp.core.findings import Finding
from qexp.engines.ibm.transcript import Transcript
from qexp.redact import MASK

ACCOUNT = "0123456789abcdef0123456789abcdef"
GUID = "0c9d5c1e-3f0b-4a0e-9a39-2f7d1c6a5b40"
HEADERS = CaseInsensitiveDict(
    {
        "Authorization": "Bearer abcdefghijklmnopqrstuvwxyz",
        "Service-CRN": f"crn:v1:bluemix:public:quantum-computing:us-east:a/{ACCOUNT}:{GUID}::",
    }
)


def response(url: str, body: str, request: str | bytes | None = None, **headers: str) -> Any:
    """A reply of `requests`, as far as it is read."""
    asked = SimpleNamespace(method="GET", headers=HEADERS, body=request)
    took = timedelta(seconds=0.25)
    return SimpleNamespace(
        request=asked, url=url, headers=headers, text=body, status_code=200, elapsed=took
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    return Transcript(tmp_path / "t.jsonl", {"backend": "ibm_torino"})


def test_an_exchange_is_kept_without_the_host_and_the_requests_headers(transcript: Transcript):
    url = "https://eu.example.org/api/v1/jobs?tags=a&tags=b&limit=2"
    transcript._record(
        response(
            url, '{"jobs": [1.5, null]}', b'{"x": 1}', **{"Retry-After": "3", "Set-Cookie": "c"}
        )
    )
    transcript.note(Finding("usage", "ok", "2.0 s"))
    first, exchange, finding = lines(transcript.path)
    assert first["made_by"]["backend"] == "ibm_torino"
    assert first["made_by"]["qiskit-ibm-runtime"].startswith("0.")
    kept = {name: exchange[name] for name in ("method", "path", "query", "status", "took_s")}
    assert kept == {
        "method": "GET",
        "path": "/api/v1/jobs",
        "query": {"tags": ["a", "b"], "limit": ["2"]},
        "status": 200,
        "took_s": 0.25,
    }
    assert exchange["request"] == {"x": 1}
    assert exchange["body"] == {"jobs": [1.5, None]}
    assert exchange["headers"] == {"retry-after": "3"}
    assert finding["finding"]["found"] == "2.0 s"
    assert "example" not in transcript.path.read_text()


@pytest.mark.parametrize("body", ["", "<html>", '"text"', "5", '{"cut": '])
def test_what_is_no_json_object_or_list_stays_text(transcript: Transcript, body: str):
    transcript._record(response("https://x/api/v1/jobs/1/results", body))
    assert lines(transcript.path)[1]["body"] == body


@pytest.mark.parametrize(
    "body",
    [
        {"note": f"of {ACCOUNT}, {GUID}"},
        {"errors": [{"message": "abcdefghijklmnopqrstuvwxyz"}]},
        {"by": "jane.doe@lab.example.org", "id": "IBMid-5500ABCD", "service": "iam-ServiceId-1f2e"},
        {"nested": [{"userId": "x", "instance_id": "y", "Account": "z"}]},
        {"user": "a-name-of-some-length", "text": "said a-name-of-some-length"},
        {"url": "mail=jane%40lab.example.org", "in": f"a%2F{ACCOUNT}"},
    ],
)
def test_secrets_people_and_accounts_are_masked(transcript: Transcript, body: dict[str, Any]):
    transcript._record(response("https://x/api/v1/jobs", json.dumps(body)))
    kept = json.dumps(lines(transcript.path)[1]["body"])
    assert MASK in kept
    for secret in (ACCOUNT, GUID, "abcdefgh", "jane", "5500ABCD", "1f2e", "a-name-of-some"):
        assert secret not in kept
    for value in ('"x"', '"y"', '"z"'):
        assert value not in kept


def test_ids_tags_and_names_are_not_masked(transcript: Transcript):
    body = {"id": "d1a2b3c4d5e6f7a8b9c0", "tags": ["qexp-job:0.1:0123456789abcdef"], "user": "no"}
    transcript._record(response("https://x/api/v1/jobs", json.dumps(body)))
    assert lines(transcript.path)[1]["body"] == {**body, "user": MASK}


def test_the_skew_of_the_clock_is_the_median(transcript: Transcript):
    assert transcript.skew_s() is None
    for year in ("2000", "2100", "2100"):
        date = f"Sat, 01 Jan {year} 00:00:00 GMT"
        transcript._record(response("https://x/api/v1/jobs", "{}", Date=date))
    transcript._record(response("https://x/api/v1/jobs", "{}", Date="soon"))
    skew_s = transcript.skew_s()
    assert skew_s is not None
    assert skew_s > 50 * 365 * 86400


def test_a_full_disk_does_not_fail_a_request(
    transcript: Transcript, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    transcript._record(response("https://x/api/v1/jobs", "{}"))
    assert transcript.failure == "No space left on device"


def test_an_older_transcript_is_never_written_over(transcript: Transcript):
    with pytest.raises(FileExistsError):
        Transcript(transcript.path, {})
