"""The fault of a connection to the service: name, TLS, proxy, no reply, or the account.

IBM's client and its cloud SDK turn every failure of a connection into one of a few messages ("valid
API token"). The exceptions of `requests` and of the SDK, which they come from, say which it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from qexp.errors import EngineError, OutageError
from qexp.redact import redact
from qexp.text import one_line

if TYPE_CHECKING:
    import warnings

_TOKENLESS = "Unable to retrieve IBM Cloud access token"
_IDENTITY_PATH = "/identity/"
_SDK_STATUS = re.compile(r"Status code: (\d{3})")

_PEER = re.compile(r"host='?([^',)]+)'?, port=(\d+)")
_NAME = re.compile(r"resolve '([^']+)'")
_TLS_REASON = re.compile(r"\[SSL: (\w+)\]|(CERTIFICATE_VERIFY_FAILED|EOF occurred)")

_SAVE = "QiskitRuntimeService.save_account(..., overwrite=True)"


def find_failure(error: BaseException, outer: BaseException | None = None) -> BaseException | None:
    """Return the exception of `requests`, or of IBM's cloud SDK, behind one of IBM's client.

    Args:
        error: The exception.
        outer: The exception that was being handled when the call began, which is unrelated.
    """
    from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
    from requests import RequestException

    chain = _chain(error, outer)
    return next((each for each in chain if isinstance(each, ApiException | RequestException)), None)


def failed_call(
    doing: str, error: BaseException, reason: str, outer: BaseException | None = None
) -> EngineError:
    """Return the error that says what is wrong with the service, the connection or the account.

    Args:
        doing: The action, as in "connecting to IBM's service".
        error: An exception of IBM's client.
        reason: Its message, for a failure that is none of these.
        outer: See `find_failure`.
    """
    failure = find_failure(error, outer)
    response = _response(failure)
    if "valid API token" in reason:
        # The client's message for any failure while it looks up the account's instances.
        cause = failure or error.__cause__ or error
        reason = f"the account's instances cannot be looked up: {_said(cause)}"
    if response is None:
        return _without_reply(doing, failure or error, reason)
    status = response.status_code
    if _IDENTITY_PATH in str(response.url):
        return token_error(doing, f"{_said(failure)} (status {status})", status)
    if is_outage(status):
        said = "".join(f": {message}" for message in _messages(response))
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
    """Return the error for an identity service that gave no access token.

    Args:
        doing: The action.
        reason: What it said, or what is wrong with the connection to it.
        status: HTTP status of its reply; None if there was none, or none that can be read.
    """
    text = f"{doing}: IBM's identity service gave no access token: {reason}"
    if status is None or is_outage(status):
        return OutageError(text)
    return EngineError(f"{text}; check the API key, or make a new one and save it with {_SAVE}")


def missing_token(doing: str, caught: Sequence[warnings.WarningMessage]) -> EngineError | None:
    """Return the error behind the client's warning that it goes on without an access token.

    Args:
        doing: The action.
        caught: The warnings of the client.
    """
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


def connection_reason(failure: BaseException | str) -> str | None:  # noqa: PLR0911
    """Return what is wrong with a connection and what to check; None if the text does not say.

    Args:
        failure: An exception of `requests`, or its text.
    """
    text = str(failure)
    peer = _PEER.search(text)
    where = redact(f"{peer[1]}:{peer[2]}") if peer else "the service"
    if "ProxyError" in text:
        return (
            f"the proxy cannot be used ({_innermost(text)}); check HTTPS_PROXY and HTTP_PROXY, "
            f"or the proxies of the saved account"
        )
    if name := _NAME.search(text):
        return (
            f"the name {redact(name[1])} cannot be resolved (DNS); check the network, the VPN and "
            f"whether a proxy is needed (HTTPS_PROXY)"
        )
    if "SSLError" in text or "SSL:" in text:
        found = _TLS_REASON.search(text)
        reason = (found[1] or found[2]).lower().replace("_", " ") if found else "no handshake"
        return (
            f"{where} does not speak TLS as it should ({reason}); check this machine's clock, and "
            f"where a proxy inspects TLS name its CA file in REQUESTS_CA_BUNDLE"
        )
    if "refused" in text and "Errno" in text:
        return (
            f"{where} refuses connections: nothing listens there, or a firewall is between; check "
            f"the network, QISKIT_IBM_URL and IAM_URL"
        )
    if "timed out" in text or "Timeout" in text:
        return f"{where} did not answer in time; check the network and the firewall"
    if "unreachable" in text or "No route" in text:
        return f"no network leads to {where}; check the connection"
    if "Connection aborted" in text or "reset by peer" in text:
        return f"{where} hung up without a reply"
    if "error responses" in text:
        return f"{where} failed several times in a row ({_innermost(text)})"
    return None


def _innermost(text: str) -> str:
    """Return the last message in quotes of an exception that names those which led to it."""
    quoted = re.findall(r"""["']((?:[^"'()]|\([^()]*\))+)["']\)""", text)
    found = quoted[-1] if quoted else text
    return one_line(redact(found.rpartition(": ")[2]))


def _response(failure: Any) -> Any:
    """Return the reply that a failure is about, or None."""
    return (
        getattr(failure, "http_response", None)
        if hasattr(failure, "http_response")
        else (getattr(failure, "response", None))
    )


def _messages(response: Any) -> list[str]:
    """Return the messages in the body of a reply, redacted; none if it has another form."""
    try:
        return [one_line(redact(str(each["message"]))) for each in response.json()["errors"]]
    except (ValueError, LookupError, TypeError):
        return []


def _said(failure: Any) -> str:
    """Return a failure's own message, redacted, on one line."""
    text = one_line(redact(str(getattr(failure, "message", None) or failure)))
    return text or type(failure).__name__


def _chain(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    seen = [outer]
    following: BaseException | None = error
    while following is not None and following not in seen:
        yield following
        seen.append(following)
        following = following.__cause__ or following.__context__
