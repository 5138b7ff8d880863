from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from qexp.engines import private_api
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.select import named
from qexp.engines.private_api import TRIED_VERSION
from qexp.errors import EngineError
from tests.emulator import INSTANCE_NAME, MANILA, IBMEmulator, faults


def test_the_installed_client_is_the_one_that_was_tried() -> None:
    assert version("qiskit-ibm-runtime").startswith(f"{TRIED_VERSION}.")


@pytest.mark.parametrize(
    ("use", "missing"),
    [
        (private_api.limit_waiting, "_session"),
        (private_api.never_repeat_posts, "_session"),
        (private_api.renew_token_on_refusal, "_session"),
        (private_api.connected_clients, "_api_clients"),
        (lambda handle: private_api.set_status(handle, {}), "_set_status"),
        (lambda client: private_api.move_to_instance(SimpleNamespace(), client), "_instance"),  # type: ignore[arg-type]
    ],
)
def test_a_missing_attribute_is_named_with_both_versions(use: Any, missing: str) -> None:
    class Other:
        """Something of a client of another version."""

    with pytest.raises(EngineError) as caught:
        use(Other())
    assert str(caught.value) == (
        f"qiskit-ibm-runtime {version('qiskit-ibm-runtime')} has no Other.{missing}, which qexp "
        f"uses and {TRIED_VERSION} has; install 'qiskit-ibm-runtime=={TRIED_VERSION}.*'"
    )


def test_a_batch_of_another_version_is_no_crash(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = named(name=MANILA)
    monkeypatch.delattr("qiskit_ibm_runtime.QiskitRuntimeService._get_api_client")
    with pytest.raises(EngineError, match=r"has no QiskitRuntimeService\._get_api_client, which"):
        IBMEngine().attach_batch(backend, "some batch")


def test_requests_end_and_a_refused_token_is_renewed(ibm_emulator: IBMEmulator) -> None:
    service = named(name=MANILA).service
    (client,) = private_api.connected_clients(service)
    for _ in range(2):
        private_api.limit_waiting(client)
        private_api.renew_token_on_refusal(client)
    assert client._session.request.longest_s == 30.0
    assert client._session.auth.tm.http_config == {"timeout": (5.0, 30.0)}
    hooks = [hook for hook in client._session.hooks["response"] if hasattr(hook, "func")]
    assert [hook.func.__name__ for hook in hooks] == ["_forget_token"]


def test_no_client_of_the_account_repeats_a_post(ibm_emulator: IBMEmulator) -> None:
    backend = named(name=MANILA)
    later = backend.service._create_new_cloud_api_client("crn:v1:another")
    backend.service._api_clients["crn:v1:another"] = later
    batch = IBMEngine().open_batch(backend, max_time_s=1500)
    for client in private_api.connected_clients(backend.service):
        for adapter in client._session.adapters.values():
            assert not adapter.max_retries.is_retry("POST", 504)
    batch.close()


def test_a_client_without_tokens_has_none_to_renew() -> None:
    private_api.renew_token_on_refusal(SimpleNamespace(_session=SimpleNamespace()))


@pytest.mark.parametrize(
    ("outage_s", "longest_s"),
    [(900, 30.0), (120, 30.0), (60, 15.0), (15, 3.75), (1, 3.0), (0, 3.0)],
)
def test_one_request_takes_a_fraction_of_an_outage(outage_s: float, longest_s: float) -> None:
    assert private_api.longest_wait_s(outage_s) == longest_s


@pytest.mark.parametrize("instance", [None, INSTANCE_NAME])
def test_no_request_has_longer_than_it_may_also_while_connecting(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch, instance: str | None
) -> None:
    """The client and its SDK set no limit, or a minute."""
    for name, value in ibm_emulator.proxy_env.items():
        monkeypatch.setenv(name, value)
    seen: dict[str, Any] = {}
    send = HTTPAdapter.send

    def watched(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        seen[request.path_url.partition("?")[0]] = kwargs["timeout"]
        return send(adapter, request, *args, **kwargs)

    monkeypatch.setattr(HTTPAdapter, "send", watched)
    backend = named(name=MANILA, instance=instance, outage_s=15)
    batch = IBMEngine(poll_interval_s=0.01).open_batch(backend, max_time_s=None)
    batch.find("anything")
    batch.close()
    assert set(seen.values()) == {(3.75, 3.75)}
    kinds = "identity/token", "resources/search", "plan-open", "backends", "properties", "sessions"
    for kind in kinds:
        assert any(kind in path for path in seen), kind
    IBMEngine().limit_waiting(backend, 4.0)
    batch.find("anything")
    assert seen["/api/v1/jobs"] == (3.0, 3.0)


class Time:
    """Passes only when a client sleeps before it sends a request again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(private_api.time, "monotonic", lambda: self.now_s)
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
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("it waits"))
    down = faults.drop(faults.TOKEN, times=3)
    ibm_emulator.faults.append(down)
    tokens.expire_time = 0
    for _ in range(3):
        with pytest.raises(requests.ConnectionError):
            tokens.get_token()
    assert tokens.get_token()
    assert down.seen == 4


def test_the_limit_keeps_whatever_retries_there_are(
    ibm_emulator: IBMEmulator, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twice(Retry):
        """Set after the limit."""

    for adapter in client._session.adapters.values():
        adapter.max_retries = Twice(total=2, backoff_factor=1.0, status_forcelist=[503])
    down = faults.status(faults.BACKENDS, 503, times=None)
    ibm_emulator.faults.append(down)
    Time(monkeypatch)
    for longest_s, tries in ((30.0, 3), (1.5, 2)):
        private_api.limit_waiting(client, longest_s)
        before = down.done
        with pytest.raises(Exception, match="too many 503 error responses"):
            client.list_backends()
        assert down.done - before == tries
    assert all(isinstance(each.max_retries, Twice) for each in client._session.adapters.values())
