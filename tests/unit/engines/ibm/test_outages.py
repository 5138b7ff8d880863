"""What is wrong with a connection, through IBM's real client."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator

import pytest
from urllib3.util.retry import Retry

from qexp.engines.ibm.outages import connection_reason
from qexp.engines.ibm.select import least_busy, named
from qexp.errors import EngineError, OutageError
from tests.emulator import INSTANCE, MANILA, TOKEN, IBMEmulator, faults
from tests.emulator.emulator import EVERY_PROXY_VARIABLE
from tests.emulator.faults import Endpoint

SEARCH = Endpoint("POST", "/v3/resources/search")
CATALOG = Endpoint("GET", "/api/v1/plan-.*")
NOBODY = "nobody.invalid"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "get_backoff_time", lambda retry: 0.0)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on: bound, so that nobody else gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def failure(pinned: str | None = None) -> EngineError:
    """How connecting fails, in one line without secrets."""
    with pytest.raises(EngineError) as caught:
        named(name=MANILA, pinned=pinned)
    text = str(caught.value)
    assert "\n" not in text
    assert "valid API token" not in text
    assert TOKEN not in text
    assert INSTANCE not in text
    return caught.value


def without_signature(text: str) -> str:
    """A reply whose access token was cut."""
    reply = json.loads(text)
    return json.dumps({**reply, "access_token": reply["access_token"].partition(".")[0]})


Break = Callable[[pytest.MonkeyPatch, IBMEmulator, int], None]


def iam_at(url: str) -> Break:
    def change(monkeypatch: pytest.MonkeyPatch, emulator: IBMEmulator, port: int) -> None:
        monkeypatch.setenv("IAM_URL", url.format(port=port, here=emulator.url.partition("//")[2]))

    return change


def service_at(url: str) -> Break:
    def change(monkeypatch: pytest.MonkeyPatch, emulator: IBMEmulator, port: int) -> None:
        here = emulator.url.partition("//")[2]
        monkeypatch.setenv("QISKIT_IBM_URL", url.format(port=port, here=here) + "/experimental")

    return change


def instances_at(url: str) -> Break:
    """With the client's own discovery, and no proxy."""

    def change(monkeypatch: pytest.MonkeyPatch, emulator: IBMEmulator, port: int) -> None:
        monkeypatch.setenv("QISKIT_FUNCTIONS_EXPERIMENTAL", "")
        monkeypatch.setenv("QISKIT_IBM_URL", url.format(port=port))

    return change


def proxy_at(scheme: str, proxy: str) -> Break:
    def change(monkeypatch: pytest.MonkeyPatch, emulator: IBMEmulator, port: int) -> None:
        for name, value in emulator.proxy_env.items():
            monkeypatch.setenv(name, value)
        for name in EVERY_PROXY_VARIABLE:
            monkeypatch.setenv(name, proxy.format(port=port))
        monkeypatch.setenv("QISKIT_IBM_URL", f"{scheme}://cloud.emulated.test")
        monkeypatch.setenv("IAM_URL", f"{scheme}://iam.cloud.emulated.test")

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (iam_at(f"http://iam.{NOBODY}"), rf"the name iam\.{NOBODY} cannot be resolved \(DNS\)"),
        (service_at(f"http://api.{NOBODY}"), rf"the name api\.{NOBODY} cannot be resolved \(DNS"),
        (instances_at(f"http://{NOBODY}"), rf"search-tagging\.{NOBODY} cannot be resolved \(DNS\)"),
        (iam_at("http://127.0.0.1:{port}"), r"127\.0\.0\.1:\d+ refuses connections"),
        (service_at("http://127.0.0.1:{port}"), r"127\.0\.0\.1:\d+ refuses connections"),
        (iam_at("https://{here}"), r"does not speak TLS as it should \(wrong version number\)"),
        (service_at("https://{here}"), r"does not speak TLS as it should \(wrong version number\)"),
        (proxy_at("http", "http://127.0.0.1:{port}"), r"the proxy cannot be used \(.*refused\)"),
        (proxy_at("https", "http://127.0.0.1:{port}"), r"the proxy cannot be used \(.*refused\)"),
        (proxy_at("https", f"http://proxy.{NOBODY}"), r"the proxy cannot be used \(.*not known\)"),
    ],
    ids=[
        "dns_identity", "dns_service", "dns_instances", "refused_identity", "refused_service",
        "tls_identity", "tls_service", "proxy", "proxy_tls", "proxy_dns",
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_connection(
    ibm_emulator: IBMEmulator,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: int,
    change: Break,
    said: str,
) -> None:
    change(monkeypatch, ibm_emulator, closed_port)
    error = failure()
    assert type(error) is OutageError
    assert re.search(said, str(error))
    assert "API key" not in str(error)


@pytest.mark.parametrize("discovers", [False, True], ids=["given", "discovered"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, EngineError), (401, EngineError), (403, EngineError), (429, OutageError),
     (500, OutageError), (503, OutageError)],
)  # fmt: skip
def test_an_identity_service_that_refuses_or_fails(
    ibm_emulator: IBMEmulator,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[EngineError],
    discovers: bool,
) -> None:
    if discovers:
        for name, value in ibm_emulator.proxy_env.items():
            monkeypatch.setenv(name, value)
    ibm_emulator.faults.append(faults.status(faults.TOKEN, code, times=None))
    error = failure()
    assert type(error) is kind
    assert f"identity service gave no access token: Emulated status {code}. (status {code})" in str(
        error
    )
    assert ("check the API key" in str(error)) == (kind is EngineError)


@pytest.mark.parametrize("discovers", [False, True], ids=["given", "discovered"])
def test_a_wrong_key(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch, discovers: bool
) -> None:
    if discovers:
        for name, value in ibm_emulator.proxy_env.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "another-key")
    error = failure()
    assert type(error) is EngineError
    assert "Provided API key could not be found. (status 400); check the API key" in str(error)
    assert "another-key" not in str(error)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (
            faults.status(SEARCH, 503, times=None),
            OutageError,
            r"service failed \(status 503\): Emulated status 503",
        ),
        (
            faults.status(SEARCH, 403, times=None),
            EngineError,
            "instances cannot be looked up: Emulated status 403",
        ),
        (faults.edited(SEARCH, faults.truncated, times=None), OutageError, "cannot be read"),
        (faults.edited(SEARCH, faults.garbled, times=None), OutageError, "cannot be read"),
        (faults.drop(SEARCH, times=None), OutageError, "closed connection without response"),
        (faults.edited(faults.TOKEN, faults.garbled, times=None), OutageError, "cannot be read"),
        (faults.edited(faults.TOKEN, without_signature, times=None), OutageError, "cannot be read"),
        (faults.drop(faults.TOKEN, times=None), OutageError, "closed connection without response"),
        (faults.status(faults.BACKENDS, 503, times=None), OutageError, "too many 503 error"),
        (faults.status(faults.BACKENDS, 429, times=None), OutageError, "429"),
        (faults.status(faults.BACKENDS, 401, times=None), EngineError, "IBM refused the account"),
        (faults.status(faults.BACKENDS, 403, times=None), EngineError, "403 Client Error"),
        (faults.edited(faults.BACKENDS, faults.garbled, times=None), OutageError, "cannot be read"),
        (faults.status(faults.CONFIGURATION, 503, times=None), OutageError, "too many 503 error"),
        (
            faults.drop(faults.CONFIGURATION, times=None),
            OutageError,
            "closed connection without response",
        ),
        (faults.edited(faults.CONFIGURATION, faults.empty, times=None), OutageError, "be read"),
        (faults.status(faults.PROPERTIES, 503, times=None), OutageError, "too many 503 error"),
        (faults.edited(faults.PROPERTIES, faults.garbled, times=None), OutageError, "be read"),
    ],
)
@pytest.mark.parametrize("pinned", [None, MANILA], ids=["new", "resumed"])
def test_what_is_wrong_with_the_service(
    ibm_emulator: IBMEmulator,
    monkeypatch: pytest.MonkeyPatch,
    fault: faults.Scripted,
    kind: type[EngineError],
    said: str,
    pinned: str | None,
) -> None:
    for name, value in ibm_emulator.proxy_env.items():
        monkeypatch.setenv(name, value)
    ibm_emulator.faults.append(fault)
    error = failure(pinned)
    assert type(error) is kind, error
    assert re.search(said, str(error))


def test_a_plan_that_cannot_be_looked_up_matters_to_nobody(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ibm_emulator.proxy_env.items():
        monkeypatch.setenv(name, value)
    ibm_emulator.faults.append(faults.status(CATALOG, 403, times=None))
    assert least_busy(filters={"name": MANILA}).name == MANILA


def test_a_text_that_says_nothing_of_a_connection_is_left_alone() -> None:
    assert connection_reason("something else") is None
    assert connection_reason("HTTPConnectionPool(host='h', port=80): Read timed out.") == (
        "h:80 did not answer in time; check the network and the firewall"
    )
