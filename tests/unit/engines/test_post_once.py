"""The client's own HTTP session, on a line that breaks once the request has been sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.api.session import RetrySession
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util.retry import Retry

from qexp.engines.post_once import PostOnce, post_once
from qexp.engines.private_api import never_repeat_posts

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
    never_repeat_posts(SimpleNamespace(_session=client))
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
    retries = post_once(Retry(total=5, connect=3))
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
    for _ in range(2):
        never_repeat_posts(SimpleNamespace(_session=client))
    for scheme in ("http", "https"):
        after = client.get_adapter(f"{scheme}://x").max_retries
        assert type(after) is PostOnce
        assert (after.total, after.connect, after.backoff_factor) == (5, 3, 0.5)
        assert after.status_forcelist == before.status_forcelist
        assert not after.is_retry("POST", 503, has_retry_after=True)
