"""The fault of a connection to the service: name, TLS, proxy, no reply, or the account.

IBM's client and its cloud SDK turn every failure of a connection into one of a few messages ("valid
API token"). The exceptions of `requests` and of the SDK, which they come from, say which it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from qexp.engines.ibm.replies import find_failures, read_reply
from qexp.errors import EngineError, OutageError
from qexp.redact import redact
from qexp.text import one_line

if TYPE_CHECKING:
    import warnings

_TOKENLESS = "Unable to retrieve IBM Cloud access token"
_IDENTITY_PATH = "/identity/"
_SDK_STATUS = re.compile(r"Status code: (\d{3})")

_PEER = re.compile(r"host='?([^',)]+)'?, port=(\d+)")
_TLS_REASON = re.compile(r"\[SSL: (\w+)\]|(CERTIFICATE_VERIFY_FAILED|EOF occurred)")
_REASONS: Final = (
    (
        "ProxyError",
        "the proxy cannot be used ({innermost}); check HTTPS_PROXY and HTTP_PROXY, or the proxies "
        "of the saved account",
    ),
    (
        r"resolve '([^']+)'",
        "the name {name} cannot be resolved (DNS); check the network, the VPN and whether a proxy "
        "is needed (HTTPS_PROXY)",
    ),
    (
        "SSLError|SSL:",
        "{where} does not speak TLS as it should ({tls}); check this machine's clock, and where a "
        "proxy inspects TLS name its CA file in REQUESTS_CA_BUNDLE",
    ),
    (
        "Errno.*refused",
        "{where} refuses connections: nothing listens there, or a firewall is between; check the "
        "network, QISKIT_IBM_URL and IAM_URL",
    ),
    (
        "timed out|Timeout",
        "{where} did not answer in time; check the network and the firewall",
    ),
    ("unreachable|No route", "no network leads to {where}; check the connection"),
    ("Connection aborted|reset by peer", "{where} hung up without a reply"),
    ("error responses", "{where} failed several times in a row ({innermost})"),
)
"""Patterns of texts of `requests`, the innermost fault first, and what each means."""

_SAVE = "QiskitRuntimeService.save_account(..., overwrite=True)"


def failed_call(
    doing: str, error: BaseException, reason: str, outer: BaseException | None = None
) -> EngineError:
    """Return the error that says what is wrong with the service, the connection or the account.

    `reason` is the message of the error, for a failure that is none of these; for `outer`, see
    `chain`.
    """
    failure = next(find_failures(error, outer), None)
    reply = read_reply(failure)
    if "valid API token" in reason:
        # The client's message for any failure while it looks up the account's instances.
        cause = failure or error.__cause__ or error
        reason = f"the account's instances cannot be looked up: {_said(cause)}"
    if reply is None:
        return _without_reply(doing, failure or error, reason)
    status = reply.status
    if _IDENTITY_PATH in reply.url:
        return token_error(doing, f"{_said(failure)} (status {status})", status)
    if is_outage(status):
        said = f": {redact(reply.message)}" if reply.message else ""
        return OutageError(f"{doing}: the service failed (status {status}){said}")
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return OutageError(f"{doing}: the reply cannot be read: {reason}")
    return EngineError(f"{doing}: {reason}")


def _without_reply(doing: str, failure: BaseException, reason: str) -> EngineError:
    from jwt import PyJWTError
    from requests import JSONDecodeError, RequestException

    if isinstance(failure, JSONDecodeError) or isinstance(failure.__cause__, PyJWTError):
        return OutageError(f"{doing}: the reply cannot be read ({reason})")
    kind = OutageError if isinstance(failure, RequestException | OSError) else EngineError
    return kind(f"{doing}: {connection_reason(failure) or reason}")


def token_error(doing: str, reason: str, status: int | None) -> EngineError:
    """Return the error for an identity service that gave no access token, for a `reason`.

    `status` is that of its reply; None if there was none, or none that can be read.
    """
    text = f"{doing}: IBM's identity service gave no access token: {reason}"
    if status is None or is_outage(status):
        return OutageError(text)
    return EngineError(f"{text}; check the API key, or make a new one and save it with {_SAVE}")


def missing_token(doing: str, caught: Sequence[warnings.WarningMessage]) -> EngineError | None:
    """Return the error behind the client's warning that it goes on without an access token."""
    texts = [str(each.message) for each in caught if _TOKENLESS in str(each.message)]
    if not texts:
        return None
    text = texts[-1].partition("used instead.")[2].strip().removeprefix("Error: ")
    if status := _SDK_STATUS.search(text):
        said = one_line(redact(text[: status.start()]).rstrip(", "))
        return token_error(doing, f"{said} (status {status[1]})", int(status[1]))
    unreadable = f"its reply cannot be read ({one_line(redact(text))})"
    return token_error(doing, connection_reason(text) or unreadable, None)


def is_outage(status: int) -> bool:
    """Return True for an HTTP status after which the same request may succeed later."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }


def connection_reason(failure: BaseException | str) -> str | None:
    """Return what is wrong with a connection and what to check; None if the text does not say.

    `failure` is an exception of `requests`, or its text.
    """
    text = str(failure)
    for pattern, reason in _REASONS:
        if found := re.search(pattern, text):
            peer, tls = _PEER.search(text), _TLS_REASON.search(text)
            return reason.format(
                name=redact(found[1]) if found.lastindex else "",
                where=redact(f"{peer[1]}:{peer[2]}") if peer else "the service",
                tls=(tls[1] or tls[2]).lower().replace("_", " ") if tls else "no handshake",
                innermost=_innermost(text),
            )
    return None


def _innermost(text: str) -> str:
    """Return the last message in quotes of an exception that names those which led to it."""
    quoted = re.findall(r"""["']((?:[^"'()]|\([^()]*\))+)["']\)""", text)
    found = quoted[-1] if quoted else text
    return one_line(redact(found.rpartition(": ")[2]))


def _said(failure: Any) -> str:
    """Return a failure's own message, redacted, on one line."""
    text = one_line(redact(str(getattr(failure, "message", None) or failure)))
    return text or type(failure).__name__
