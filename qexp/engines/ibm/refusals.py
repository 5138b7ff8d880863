"""The meaning of a failed submission: refused, not now, batch over, or unclear."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from traceback import walk_tb

from qexp.engines.ibm.client import client_reason, service_call
from qexp.engines.ibm.codes import (
    INVALID,
    PENDING_LIMIT,
    RATE_LIMIT,
    advice,
    key_to_lower,
    may_succeed_later,
)
from qexp.engines.ibm.replies import Reply, chain, find_reply
from qexp.errors import (
    BatchOverError,
    BusyError,
    EngineError,
    QexpError,
    RefusedError,
    UnclearError,
)

_PENDING_LIMIT = re.compile(r"(?=.*\bjobs?\b)(?:limit|maximum).*\b(?:pending|concurrent)", re.I)
_EXCEEDS = re.compile(r"too large|exceeds", re.I)
_THROTTLED = "too many 429 error responses"
"""Message of urllib3 after it gave up on a GET; a POST with status 429 is not repeated."""

_AMBIGUOUS = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
_REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
_SERVICE = ("qiskit_ibm_runtime.qiskit_runtime_service", "qiskit_ibm_runtime.api.")


@contextmanager
def submitting(doing: str) -> Iterator[None]:
    """Submit a job, or open a batch, by IBM's client: `doing` "submitting partition 3 to batch x".

    Raises:
        EngineError: One of the five kinds that `Batch.submit` names, whatever the client raised.
    """
    outer = sys.exception()
    with service_call(doing):
        try:
            yield
        except QexpError:
            raise
        except Exception as error:
            raise _classify(error, doing, outer) from None


def _classify(error: Exception, doing: str, outer: BaseException | None) -> EngineError:
    reply = find_reply(error, outer)
    if reply is not None:
        return _classify_reply(reply, f"{doing}: {client_reason(error)}", _unclear(error, doing))
    if any(_THROTTLED in str(each) for each in chain(error, outer)):
        return BusyError(f"{doing}: the service takes no more requests for now")
    if any(_reached_service(each) for each in chain(error, outer)):
        return _unclear(error, doing)
    return _classify_local(error, doing)


def _classify_reply(  # noqa: PLR0911
    reply: Reply, text: str, unclear: UnclearError
) -> EngineError:
    status, code = reply.status, reply.code
    if not 400 <= status < 500 or (status in _AMBIGUOUS and not reply.is_quota):
        return unclear
    if code in PENDING_LIMIT or _PENDING_LIMIT.search(reply.message):
        return BusyError(text, reply.retry_after_s, needs_slot=True)
    if reply.is_batch_over:
        return BatchOverError(text)
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in RATE_LIMIT:
        return BusyError(text, reply.retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        # An access token expires every hour; the client fetches another for the next request.
        return BusyError(text)
    if status == HTTPStatus.FORBIDDEN or reply.is_quota:
        return EngineError(text)
    if reply.method != "POST":
        # A question of the client about instance or backend: it says nothing of this job.
        return EngineError(text)
    return _classify_refusal(reply, text)


def _classify_refusal(reply: Reply, text: str) -> EngineError:
    """Classify a refusal of the job; only a readable one that blames the request is final."""
    status, code = reply.status, reply.code
    key = key_to_lower(code, reply.message)
    if key is None and status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        key = "max_payload_bytes"
    if key is not None:
        return RefusedError(f"{text}; {advice(key)}", code, "too_large")
    if may_succeed_later(reply.message):
        return RefusedError(text, code, "transient")
    if status in _REFUSALS and not reply.is_readable:
        return RefusedError(f"{text}; the reason cannot be read", code, "transient")
    plain = status == HTTPStatus.UNPROCESSABLE_ENTITY or (status in _REFUSALS and not code)
    if plain or code in INVALID or _EXCEEDS.search(reply.message):
        return RefusedError(text, code)
    # Perhaps a gateway, or maintenance: it need not be about this job.
    return EngineError(text)


def _classify_local(error: Exception, doing: str) -> EngineError:
    """Classify an error that came before anything was sent."""
    reason = client_reason(error)
    if "session is closed" in str(error).lower():
        return BatchOverError(f"{doing}: {reason}")
    if isinstance(error, OSError | MemoryError):
        return EngineError(f"{doing}: {type(error).__name__}: {reason}")
    return RefusedError(f"{doing}: it was refused by IBM's client: {reason}")


def _unclear(error: Exception, doing: str) -> UnclearError:
    from qiskit.exceptions import QiskitError
    from requests import RequestException

    reason = client_reason(error)
    if not isinstance(error, QiskitError | RequestException):
        reason = f"the reply cannot be read ({type(error).__name__}: {reason})"
    return UnclearError(f"{doing}: it is not known whether it was done: {reason}")


def _reached_service(error: BaseException) -> bool:
    """Return whether an exception passed through the part of the client that sends requests."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(str(frame.f_globals.get("__name__")).startswith(_SERVICE) for frame in frames)
