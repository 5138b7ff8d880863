"""The private parts of IBM's client that qexp uses, all in one place.

Tried with qiskit-ibm-runtime 0.51. Where another version lacks one of them, an `EngineError` names
both versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit_ibm_runtime import Batch, IBMBackend

    from qexp.core.model import PrimitiveKind

TRIED_VERSION = "0.51"

_CONNECT_S, _READ_S = 5.0, 30.0
"""Time limits of a request: to connect, and to get a reply. The client itself sets none."""

_EXECUTOR_SCHEMA = "v2.0"


def attach_session(backend: IBMBackend, batch_id: str) -> Batch:
    """Return an existing batch without a request: `Batch.from_id` makes three and may refuse."""
    from qiskit_ibm_runtime import Batch

    session = Batch(backend, create_new=False)
    _set(session, "_session_id", batch_id)
    return session


def batch_client(session: Batch) -> Any:
    """Return the `RuntimeClient` of a batch's instance."""
    return _get(session.service, "_get_api_client")(_get(session, "_instance"))


def other_clients(session: Batch) -> list[Any]:
    """Return the clients of the account's other instances."""
    own = batch_client(session)
    clients = _get(session.service, "_get_api_clients")().items()
    return [client for instance, client in clients if instance is not None and client is not own]


def connected_clients(service: Any) -> list[Any]:
    """Return the clients of all instances that a service is connected to."""
    return [client for client in _get(service, "_api_clients").values() if client is not None]


def move_to_instance(session: Batch, client: Any) -> None:
    """Move a batch to a client's instance, where its jobs are."""
    _set(session, "_instance", _get(client, "_instance"))


def set_status(handle: Any, entry: Mapping[str, Any]) -> None:
    """Give a `RuntimeJobV2` the state that was listed, which spares it a request."""
    _get(handle, "_set_status")(entry)


def retired_backend(name: str, service: Any) -> IBMBackend:
    """Return a stand-in for a backend that is gone, by which its jobs can be collected."""
    from qiskit_ibm_runtime.ibm_backend import IBMRetiredBackend

    retired = IBMRetiredBackend.from_name(name)
    _set(retired, "_service", service)
    _set(retired, "_instance", service.active_instance())
    return retired


def limit_waiting(api_client: Any) -> None:
    """Limit the time of the client's requests: a reply may be lost while a laptop sleeps.

    A submission without a reply in time is looked up, as after any other lost reply.
    """
    session = _get(api_client, "_session")
    if not isinstance(session.request, partial):
        session.request = partial(session.request, timeout=(_CONNECT_S, _READ_S))


def never_repeat_posts(api_client: Any) -> None:
    """Switch off the client's own retries of POST; those of reads stay as they are.

    The client sends a POST again after 500, 502, 503, 504, 520, 521, 522 and 524, without a look
    at the jobs that the first one may have created.
    """
    from qexp.engines.post_once import post_once

    for adapter in _get(_get(api_client, "_session"), "adapters").values():
        adapter.max_retries = post_once(adapter.max_retries)


def renew_token_on_refusal(api_client: Any) -> None:
    """Let the client fetch another access token after the service has refused one (401).

    Without that it sends the same token for as long as the token says, an hour.
    """
    session = _get(api_client, "_session")
    tokens = getattr(getattr(session, "auth", None), "tm", None)
    if tokens is None:
        return
    hooks = session.hooks["response"]
    if not any(isinstance(hook, partial) and hook.func is _forget_token for hook in hooks):
        hooks.append(partial(_forget_token, tokens))


def reply_hooks(api_client: Any) -> list[Any]:
    """Return the functions that a client's `requests` session calls with each reply."""
    hooks: list[Any] = _get(api_client, "_session").hooks["response"]
    return hooks


def instance_of(backend: IBMBackend) -> str:
    """Return the CRN of a backend's instance."""
    instance: str = _get(backend, "_instance")
    return instance


def encode_program(program: Any, options: Any, kind: PrimitiveKind) -> dict[str, Any]:
    """Return a prepared program as the client's executor sends it, JSON-able."""
    from qiskit_ibm_runtime.quantum_program.params_converters import (
        QUANTUM_PROGRAM_PARAMS_CONVERTERS,
    )

    # The executor needs the kind of post-processing.
    _set(program, "_semantic_role", f"{kind}_v2")
    encoded = QUANTUM_PROGRAM_PARAMS_CONVERTERS[_EXECUTOR_SCHEMA].encoder(program, options)
    fields: dict[str, Any] = encoded.model_dump(mode="json")
    return fields


def _forget_token(tokens: Any, response: Any, *_: Any, **__: Any) -> None:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        tokens.expire_time = 0
        # Else IBM's SDK takes a request that failed for one under way, and waits a minute for it.
        tokens.request_time = 0


def _get(owner: Any, name: str) -> Any:
    """Return a private attribute; raise `EngineError` if this version of the client lacks it."""
    try:
        return getattr(owner, name)
    except AttributeError:
        installed = version("qiskit-ibm-runtime")
        raise EngineError(
            f"qiskit-ibm-runtime {installed} has no {type(owner).__name__}.{name}, which qexp uses "
            f"and {TRIED_VERSION} has; install 'qiskit-ibm-runtime=={TRIED_VERSION}.*'"
        ) from None


def _set(owner: Any, name: str, value: Any) -> None:
    _get(owner, name)
    setattr(owner, name, value)
