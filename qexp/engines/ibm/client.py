"""IBM's client, kept quiet: its errors become one line, and no secret passes through."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

from qexp.errors import EngineError, QexpError
from qexp.redact import RedactingFilter, redact, redactor

_log = logging.getLogger(__name__)

_REPLY = re.compile(r"\{\s*\"errors\".*\}", re.DOTALL)
_MAX_MESSAGE = 400


def redacted(value: Any) -> Any:
    """Any value of the service as plain JSON, with `redact` applied to every string."""
    from qexp.core.jsonable import map_text, to_jsonable

    return map_text(to_jsonable(value), redactor())


def one_line(error: BaseException) -> str:
    """What an exception says, redacted, on one line of bounded length."""
    text = str(getattr(error, "message", None) or error)
    text = " ".join(redact(_REPLY.sub(_errors_of, text)).split()) or type(error).__name__
    return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 3]}..."


def _errors_of(reply: re.Match[str]) -> str:
    """The messages in the JSON body of a refusal, which the client quotes as it is."""
    try:
        errors = json.loads(reply.group())["errors"]
        return "; ".join(f"{each['message']} (code {each['code']})" for each in errors)
    except (ValueError, TypeError, KeyError):
        return reply.group()


class _Redactor(logging.Handler):
    """Writes nothing; redacts each record before the handlers that come after it see it."""

    _filter = RedactingFilter()

    def emit(self, record: logging.LogRecord) -> None:
        self._filter.filter(record)


def quiet_client_log() -> None:
    """Send what IBM's client logs (CRNs among it) up to the program's log, redacted.

    The client sets up a handler of its own that writes to the terminal; a log file that the user
    asked for by `QISKIT_IBM_RUNTIME_LOG_FILE` stays, redacted too.
    """
    # Not just the package: it may be one whose own code was put off (`qexp.engines.deferred`).
    from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: F401 - its import adds the handler

    logger = logging.getLogger("qiskit_ibm_runtime")
    logger.propagate = True
    for handler in list(logger.handlers):
        if type(handler) is logging.StreamHandler:
            logger.removeHandler(handler)
    if not any(isinstance(handler, _Redactor) for handler in logger.handlers):
        logger.handlers.insert(0, _Redactor())


_CONNECT_S, _READ_S = 5.0, 30.0
"""How long a request waits; the client itself waits for a reply for ever."""


def limit_waiting(api_client: Any) -> None:
    """Let no request of IBM's client wait for ever: a reply may be lost while a laptop sleeps.

    A submission that was not answered in time is looked up, as after any other lost reply.
    """
    session = getattr(api_client, "_session", None)
    if session is not None and not isinstance(session.request, partial):
        session.request = partial(session.request, timeout=(_CONNECT_S, _READ_S))


def renew_token_on_refusal(api_client: Any) -> None:
    """Let IBM's client fetch another access token after the service has refused one (401).

    By itself it sends the same token until the hour that is written in it has passed.
    """
    session = getattr(api_client, "_session", None)
    tokens = getattr(getattr(session, "auth", None), "tm", None)
    if session is None or tokens is None:
        return
    hooks = session.hooks["response"]
    if not any(isinstance(hook, partial) and hook.func is _forget_token for hook in hooks):
        hooks.append(partial(_forget_token, tokens))


def _forget_token(tokens: Any, response: Any, *_: Any, **__: Any) -> None:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        tokens.expire_time = 0
        # Or IBM's SDK takes a request that failed for one under way, and waits a minute for it.
        tokens.request_time = 0


@contextmanager
def service_call(doing: str) -> Iterator[list[warnings.WarningMessage]]:
    """Call IBM's client: its errors become `EngineError`, its warnings go to the log, redacted.

    Args:
        doing: What is being done, as in "opening the batch on ibm_torino".

    Yields:
        The warnings of the client so far.

    Raises:
        EngineError: The service refused or could not be reached. The original exception is not
            chained, because its text may hold the CRN or the request's headers.
        QiskitBackendNotFoundError: Left to the caller, who knows what was asked for.
    """
    from qiskit.exceptions import QiskitError
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError
    from requests import RequestException

    quiet_client_log()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield caught
        except (QexpError, QiskitBackendNotFoundError):
            raise
        except IBMNotAuthorizedError as error:
            raise EngineError(
                f"{doing}: IBM refused the account ({one_line(error)}); renew the API key and "
                "save it with QiskitRuntimeService.save_account(..., overwrite=True)"
            ) from None
        except (QiskitError, RequestException, OSError) as error:
            raise EngineError(f"{doing}: {one_line(error)}") from None
        finally:
            for warning in caught:
                _log.warning("%s", redact(str(warning.message)))


@contextmanager
def reading(doing: str) -> Iterator[None]:
    """As `service_call`, for a reply that may not be what it should be.

    Raises:
        EngineError: As for `service_call`, or the reply is garbled or incomplete.
    """
    from qiskit.exceptions import QiskitError
    from requests import RequestException

    with service_call(doing):
        try:
            yield
        except (QiskitError, RequestException):
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise EngineError(
                f"{doing}: the reply cannot be read ({type(error).__name__}: {one_line(error)})"
            ) from None
