from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from qexp.engines import private_api
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.select import named
from qexp.engines.private_api import TRIED_VERSION
from qexp.errors import EngineError
from tests.emulator import INSTANCE_NAME, MANILA, IBMEmulator


def test_the_installed_client_is_the_one_that_was_tried() -> None:
    assert version("qiskit-ibm-runtime").startswith(f"{TRIED_VERSION}.")


@pytest.mark.parametrize(
    ("use", "missing"),
    [
        (private_api.limit_waiting, "_session"),
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


def test_no_client_of_the_account_repeats_a_post(ibm_emulator: IBMEmulator) -> None:
    backend = named(name=MANILA)
    later = backend.service._create_new_cloud_api_client("crn:v1:another")
    backend.service._api_clients["crn:v1:another"] = later
    batch = IBMEngine().open_batch(backend, max_time_s=1500)
    for client in private_api.connected_clients(backend.service):
        for adapter in client._session.adapters.values():
            assert not adapter.max_retries.is_retry("POST", 504)
    batch.close()


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
    """The client sets no limit; the SDK, which looks up the instances, one of a minute."""
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
    instances_s = [seen.pop(path) for path in list(seen) if "search" in path or "plan-" in path]
    assert set(instances_s) == {60}
    assert set(seen.values()) == {(3.75, 3.75)}
    for kind in ("identity/token", "backends", "properties", "sessions"):
        assert any(kind in path for path in seen), kind
    IBMEngine().limit_waiting(backend, 4.0)
    batch.find("anything")
    assert seen["/api/v1/jobs"] == (3.0, 3.0)
