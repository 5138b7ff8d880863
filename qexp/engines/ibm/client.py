"""Calls to IBM's client: errors become one line, and no secret passes through."""

from __future__ import annotations

import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from qexp.engines.ibm.outages import failed_call, missing_token
from qexp.errors import BusyError, EngineError, OutageError, QexpError
from qexp.redact import RedactingFilter, redact, redactor
from qexp.text import one_line

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult

_log = logging.getLogger(__name__)

_REPLY = re.compile(r"\{\s*\"errors\".*\}", re.DOTALL)
_MAX_MESSAGE = 400

_DAMAGED = (AttributeError, LookupError, TypeError, ValueError)
"""Errors that the client, or qexp, raises over a garbled or incomplete reply."""


def redact_json(value: Any) -> Any:
    """Return any value of the service as plain JSON, with `redact` applied to every string."""
    from qexp.core.jsonable import map_text, to_jsonable

    return map_text(to_jsonable(value), redactor())


def write_result(result: PrimitiveResult[Any], stream: TextIO) -> None:
    """Write a `PrimitiveResult` so that `json.load(stream, cls=RuntimeDecoder)` returns it.

    This is how https://quantum.cloud.ibm.com/docs/guides/save-jobs keeps results.
    """
    from qiskit_ibm_runtime import RuntimeEncoder

    json.dump(result, stream, cls=RuntimeEncoder)


def client_reason(error: BaseException) -> str:
    """Return the message of an exception of the client, redacted, on one line of bounded length.

    Where the client quotes the JSON body of a refusal, only the messages in it are kept.
    """
    text = str(getattr(error, "message", None) or error)
    text = one_line(redact(_REPLY.sub(_messages_in, text))) or type(error).__name__
    return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 3]}..."


def _messages_in(body: re.Match[str]) -> str:
    try:
        errors = json.loads(body.group())["errors"]
        return "; ".join(f"{each['message']} (code {each['code']})" for each in errors)
    except (ValueError, TypeError, KeyError):
        return body.group()


class _Redactor(logging.Handler):
    """Writes nothing; redacts each record before the handlers that come after it."""

    _filter = RedactingFilter()

    def emit(self, record: logging.LogRecord) -> None:
        self._filter.filter(record)


def quiet_client_log() -> None:
    """Send the log of IBM's client (CRNs included) up to the program's log, redacted.

    The client sets up a handler of its own that writes to the terminal; a log file that the user
    asked for by `QISKIT_IBM_RUNTIME_LOG_FILE` stays, redacted too.
    """
    # Not only the package, whose own code may be deferred (`qexp.engines.lazy_client`).
    from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: F401 - its import adds the handler

    logger = logging.getLogger("qiskit_ibm_runtime")
    logger.propagate = True
    for handler in list(logger.handlers):
        if type(handler) is logging.StreamHandler:
            logger.removeHandler(handler)
    if not any(isinstance(handler, _Redactor) for handler in logger.handlers):
        logger.handlers.insert(0, _Redactor())


@contextmanager
def service_call(
    doing: str, damaged: tuple[type[Exception], ...] = ()
) -> Iterator[list[warnings.WarningMessage]]:
    """Call IBM's client: its errors become `EngineError`, its warnings go to the log, redacted.

    `doing` is the action, as in "opening the batch on ibm_torino"; errors that mean that the reply
    cannot be read are `damaged`.

    Yields:
        The warnings of the client so far.

    Raises:
        OutageError: The service could not be reached, failed, or sent a damaged reply.
        EngineError: The service refused. The original exception is not chained: its text may hold
            the CRN or the request's headers.
        QiskitBackendNotFoundError: Left to the caller, who can name the backend.
    """
    from qiskit.exceptions import QiskitError
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError
    from requests import RequestException

    quiet_client_log()
    outer = sys.exception()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield caught
        except BusyError as error:
            # The client sends its API key instead of a token, which the service refuses (401).
            if tokenless := missing_token(doing, caught):
                raise BusyError(str(tokenless), error.retry_after_s) from None
            raise
        except (QexpError, QiskitBackendNotFoundError):
            raise
        except IBMNotAuthorizedError as error:
            raise missing_token(doing, caught) or EngineError(
                f"{doing}: IBM refused the account ({client_reason(error)}); renew the API key and "
                "save it with QiskitRuntimeService.save_account(..., overwrite=True)"
            ) from None
        except (QiskitError, RequestException, OSError) as error:
            raise failed_call(doing, error, client_reason(error), outer) from None
        except damaged as error:
            reason = f"{type(error).__name__}: {client_reason(error)}"
            raise OutageError(f"{doing}: the reply cannot be read ({reason})") from None
        finally:
            for warning in caught:
                _log.warning("%s", redact(str(warning.message)))


def reading(doing: str) -> AbstractContextManager[list[warnings.WarningMessage]]:
    """Call IBM's client, as `service_call` does, for a reply that may be damaged."""
    return service_call(doing, _DAMAGED)
