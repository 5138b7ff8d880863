from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest

from qexp.engines import private_api
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.select import named
from qexp.engines.private_api import TRIED_VERSION
from qexp.errors import EngineError
from tests.emulator import MANILA, IBMEmulator


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
    assert client._session.request.keywords == {"timeout": (5.0, 30.0)}
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
