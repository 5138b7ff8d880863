"""The private parts of IBM's client that qexp uses, all in one place.

Tried with qiskit-ibm-runtime 0.51. Where another version lacks one of them, an `EngineError` names
both versions.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from types import FunctionType
from typing import TYPE_CHECKING, Any

from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit_ibm_runtime import Batch, IBMBackend

    from qexp.core.model import PrimitiveKind

TRIED_VERSION = "0.51"

LONGEST_WAIT_S = 30.0
"""Time limit of a reply, and of the client's own repetitions; the client itself sets none."""

_CONNECT_S = 5.0
_SHORTEST_WAIT_S = 3.0
_WAITS_IN_OUTAGE = 4

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


def longest_wait_s(outage_s: float) -> float:
    """Return the time limit of one request where `execution.outage` is as long as this.

    It is at least 3 s, because a slow reply is no outage.
    """
    return max(_SHORTEST_WAIT_S, min(LONGEST_WAIT_S, outage_s / _WAITS_IN_OUTAGE))


def connect(longest_s: float, **account: Any) -> Any:
    """Return a `QiskitRuntimeService` none of whose requests waits for longer than it may.

    Its constructor makes requests of its own: for an access token, for the account's instances and
    for their backends.

    Args:
        longest_s: See `limit_waiting`.
        **account: Arguments of `QiskitRuntimeService`.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService

    class Service(QiskitRuntimeService):
        @property
        def _active_api_client(self) -> Any:
            return self.__dict__["_active_api_client"]

        @_active_api_client.setter
        def _active_api_client(self, client: Any) -> None:
            # Every client is made the active one before its first request.
            limit_waiting(client, longest_s)
            self.__dict__["_active_api_client"] = client

        def _discover_account(self, *args: Any, **kwargs: Any) -> Any:
            found = super()._discover_account(*args, **kwargs)
            _limit_account(found, longest_s)
            return found

        def _get_crn_from_instance_name(self, account: Any, instance: str) -> Any:
            _limit_account(account, longest_s)
            return super()._get_crn_from_instance_name(account, instance)

    Service.__name__ = QiskitRuntimeService.__name__
    return Service(**account)


def _limit_account(account: Any, longest_s: float) -> None:
    """Limit the time of the requests by which an account finds its instances."""
    from qiskit_ibm_runtime.accounts import Account

    def make(service: Any, **given: Any) -> Any:
        made = service(**given)
        made.set_http_config({"timeout": _timeout(longest_s)})
        return made

    find = Account.list_instances
    names = dict(find.__globals__)
    for name in {"GlobalSearchV2", "GlobalCatalogV1"} & names.keys():
        # The function makes these clients itself, with a time limit of a minute.
        names[name] = partial(make, names[name])

    class Limited(Account):
        list_instances = FunctionType(find.__code__, names, find.__name__)

        def get_iam_authentificator(self) -> Any:
            authenticator = super().get_iam_authentificator()
            _limit_tokens(_get(authenticator, "token_manager"), longest_s)
            return authenticator

    account.__class__ = Limited


def limit_waiting(api_client: Any, longest_s: float = LONGEST_WAIT_S) -> None:
    """Limit the time of the client's requests: a reply may be lost while a laptop sleeps.

    A submission without a reply in time is looked up, as after any other lost reply. A client
    that has a limit keeps it, unless the new one is lower.

    Args:
        api_client: A `RuntimeClient`.
        longest_s: A reply takes no longer, and a question that failed is repeated by the client
            itself for no longer; then it is for qexp to ask again.
    """
    session = _get(api_client, "_session")
    if isinstance(session.request, _LimitedRequest):
        session.request.longest_s = min(longest_s, session.request.longest_s)
    else:
        session.request = _LimitedRequest(session.request, session, longest_s)
    if (tokens := _tokens(session)) is not None:
        _limit_tokens(tokens, session.request.longest_s)


class _LimitedRequest:
    """Sends the requests of a `RetrySession`, each with a time limit."""

    def __init__(self, send: Any, session: Any, longest_s: float) -> None:
        self.longest_s = longest_s
        self.until_s = 0.0  # no repetition begins later, by `time.monotonic`
        self._send = send
        self._session = session

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.until_s = time.monotonic() + self.longest_s
        for adapter in self._session.adapters.values():
            if not hasattr(adapter.max_retries, "is_limited"):
                adapter.max_retries = _limited(adapter.max_retries, self)
        # The client names none, or None.
        timeout = kwargs.pop("timeout", None) or _timeout(self.longest_s)
        return self._send(*args, timeout=timeout, **kwargs)


def _limited(retry: Any, limit: _LimitedRequest) -> Any:
    """Return the same `urllib3.Retry`, of whatever class, for as long as a limit says."""
    kind = type(retry)

    class Limited(kind):  # type: ignore[misc, valid-type]
        is_limited = True

        def increment(
            self, method: Any = None, url: Any = None, response: Any = None, *args: Any, **kw: Any
        ) -> Any:
            following = super().increment(method, url, response, *args, **kw)
            told_s = following.get_retry_after(response) if response else None
            pause_s = told_s or following.get_backoff_time()
            if self.total and time.monotonic() + pause_s >= limit.until_s:
                # As if all repetitions were made: it raises what the client expects then.
                return self.new(total=0).increment(method, url, response, *args, **kw)
            return following

    limited = copy.copy(retry)
    limited.__class__ = Limited
    return limited


def _limit_tokens(tokens: Any, longest_s: float) -> None:
    """Limit the time in which IBM's identity service gives an access token.

    After a failure, its SDK takes the request that failed for one under way, and the next one
    waits for up to a minute.
    """
    tokens.http_config = {**tokens.http_config, "timeout": _timeout(longest_s)}
    if isinstance(tokens.request_token, partial):
        return

    def request_token(send: Any) -> Any:
        try:
            return send()
        except Exception:
            tokens.request_time = 0
            raise

    tokens.request_token = partial(request_token, tokens.request_token)


def _timeout(longest_s: float) -> tuple[float, float]:
    return min(_CONNECT_S, longest_s), longest_s


def _tokens(session: Any) -> Any:
    """Return the manager of a session's access tokens, or None."""
    return getattr(getattr(session, "auth", None), "tm", None)


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
    tokens = _tokens(session)
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
