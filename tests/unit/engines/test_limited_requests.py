"""The client's own HTTP session, on a line that breaks once the request has been sent."""

from __future__ import annotations

import copy
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.api.session import RetrySession
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util.retry import Retry

from qexp.engines import limited_requests, private_api
from qexp.engines.ibm.select import named
from qexp.engines.limited_requests import LimitedAdapter, LimitedRetry, limit_requests
from tests.emulator import MANILA, IBMEmulator, faults

TRIES_OF_A_READ = 6


class Line:
    """A server that reads a request and hangs up, or replies a status."""

    def __init__(self, reply: bytes) -> None:
        self.methods: list[str] = []
        self._reply = reply
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                self.methods.append(next(lines).split()[0].decode("ascii"))
                while lines.readline().strip():
                    pass
                connection.sendall(self._reply)


@pytest.fixture
def line(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(Retry, "get_backoff_time", lambda retry: 0.0)
    line = Line(request.param)
    yield line
    line.close()


def session(url: str, *, proxy: str | None = None) -> RetrySession:
    client = RetrySession(base_url=url, proxies={"http": proxy} if proxy else None)
    client.trust_env = False
    limit_requests(client, 30.0)
    return client


BUSY = b"HTTP/1.1 %d Busy\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n"
REPLIES = {
    "hangs_up": b"",
    "no_http": b"\x15\x03\x01",
    **{str(code): BUSY % (code, b"") for code in (500, 502, 503, 504, 520, 521, 522, 524)},
}
AGAIN = {f"{code}_and_when": BUSY % (code, b"Retry-After: 0\r\n") for code in (429, 503)}


@pytest.mark.parametrize("line", (REPLIES | AGAIN).values(), indirect=True, ids=[*REPLIES, *AGAIN])
@pytest.mark.parametrize("behind_a_proxy", [False, True])
def test_a_post_is_sent_once_and_a_get_again(line: Line, behind_a_proxy: bool) -> None:
    url, proxy = ("http://service.invalid", line.url) if behind_a_proxy else (line.url, None)
    client = session(url, proxy=proxy)
    with pytest.raises(RequestsApiError):
        client.post("/jobs", data="{}")
    assert line.methods == ["POST"]
    line.methods.clear()
    with pytest.raises(RequestsApiError):
        client.get("/jobs")
    assert line.methods == ["GET"] * TRIES_OF_A_READ


@pytest.mark.parametrize("line", [BUSY % (429, b"")], indirect=True, ids=["429"])
def test_a_refused_read_is_repeated_only_if_the_service_says_when(line: Line) -> None:
    with pytest.raises(RequestsApiError):
        session(line.url).get("/jobs")
    assert line.methods == ["GET"]


NEVER_REACHED = ConnectTimeoutError("no route")


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (NEVER_REACHED, True),
        (ProxyError("no route", NEVER_REACHED), True),
        (ProxyError("hung up", ConnectionResetError()), False),
        (SSLError("bad record"), False),
        (ProtocolError("hung up"), False),
        (ReadTimeoutError(None, "/jobs", "slow"), False),  # type: ignore[arg-type]
    ],
    ids=["connect", "proxy_connect", "proxy", "tls", "dropped", "timeout"],
)
def test_a_post_that_never_left_may_be_repeated(error: Exception, again: bool) -> None:
    retries = LimitedAdapter(30.0, Retry(total=5, connect=3), None).max_retries
    if not again:
        with pytest.raises(type(error)):
            retries.increment("POST", "/jobs", error=error)
        return
    for _ in range(3):
        retries = retries.increment("POST", "/jobs", error=error)
    with pytest.raises(MaxRetryError):
        retries.increment("POST", "/jobs", error=error)


def test_the_numbers_are_those_of_the_client() -> None:
    client = RetrySession(base_url="http://service.invalid")
    before = client.get_adapter("https://x").max_retries
    for longest_s in (30.0, 15.0, 20.0):
        limit_requests(client, longest_s)
    for scheme in ("http", "https"):
        adapter = copy.deepcopy(client.get_adapter(f"{scheme}://x"))
        assert adapter.longest_s == 15.0
        after = adapter.max_retries
        assert type(after) is LimitedRetry
        assert (after.total, after.connect, after.backoff_factor) == (5, 3, 0.5)
        assert after.status_forcelist == before.status_forcelist
        assert not after.is_retry("POST", 503, has_retry_after=True)


class Time:
    """Passes only when a client sleeps before it sends a request again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(limited_requests.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr("time.sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def client(ibm_emulator: IBMEmulator) -> Iterator[Any]:
    (client,) = private_api.connected_clients(named(name=MANILA).service)
    return client


@pytest.mark.parametrize(
    ("longest_s", "tries", "taken_s"), [(30.0, 6, 15.0), (10.0, 5, 7.0), (3.0, 3, 1.0)]
)
def test_the_client_repeats_a_question_for_a_limited_time(
    ibm_emulator: IBMEmulator,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    longest_s: float,
    tries: int,
    taken_s: float,
) -> None:
    down = faults.status(faults.BACKENDS, 503, times=None)
    ibm_emulator.faults.append(down)
    private_api.limit_waiting(client, longest_s)
    clock = Time(monkeypatch)
    for times in (1, 2):
        with pytest.raises(Exception, match="too many 503 error responses"):
            client.list_backends()
        assert down.done == times * tries
        assert clock.now_s == 100.0 + times * taken_s


def test_a_service_that_says_to_wait_for_longer_is_not_waited_for(
    ibm_emulator: IBMEmulator, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = faults.status(faults.BACKENDS, 503, retry_after_s=3600, times=None)
    ibm_emulator.faults.append(down)
    clock = Time(monkeypatch)
    with pytest.raises(Exception, match="too many 503 error responses"):
        client.list_backends()
    assert (down.done, clock.now_s) == (1, 100.0)


def test_a_token_that_could_not_be_had_is_asked_for_again_at_once(
    ibm_emulator: IBMEmulator, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IBM's SDK waits for up to a minute after a request that failed."""
    tokens = client._session.auth.tm
    assert tokens.http_config == {"timeout": (5.0, 30.0)}
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("it waits"))
    down = faults.drop(faults.TOKEN, times=3)
    ibm_emulator.faults += [down, faults.status(faults.BACKENDS, 409, times=3)]
    tokens.expire_time = 0
    for _ in range(3):
        with pytest.warns(match="Unable to retrieve"), pytest.raises(RequestsApiError):
            client.list_backends()
    assert client.list_backends()
    assert down.seen == 4


def test_a_token_that_is_refused_is_renewed(ibm_emulator: IBMEmulator, client: Any) -> None:
    refused = faults.status(faults.BACKENDS, 401)
    asked = faults.status(faults.TOKEN, 200, times=0)
    ibm_emulator.faults += [refused, asked]
    with pytest.raises(IBMNotAuthorizedError):
        client.list_backends()
    for _ in range(2):
        assert client.list_backends()
    assert asked.seen == 1


def test_the_limit_keeps_the_numbers_of_other_retries(
    ibm_emulator: IBMEmulator, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = HTTPAdapter(max_retries=Retry(total=2, backoff_factor=1.0, status_forcelist=[503]))
    client._session.mount("https://", twice)
    client._session.mount("http://", twice)
    down = faults.status(faults.BACKENDS, 503, times=None)
    ibm_emulator.faults.append(down)
    Time(monkeypatch)
    for longest_s, tries in ((30.0, 3), (1.5, 2)):
        private_api.limit_waiting(client, longest_s)
        before = down.done
        with pytest.raises(Exception, match="too many 503 error responses"):
            client.list_backends()
        assert down.done - before == tries


def test_a_large_job_may_be_sent_for_as_long_as_the_client_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    monkeypatch.setattr(HTTPAdapter, "send", lambda *_, **how: seen.append(how) or Response())
    for timeout in (900, (5.0, None), None):
        LimitedAdapter(3.0, Retry(), None).send(PreparedRequest(), timeout=timeout)
    assert [how["timeout"] for how in seen] == [900, (3.0, 3.0), (3.0, 3.0)]
