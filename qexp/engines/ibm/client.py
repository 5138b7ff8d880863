"""IBM's client, kept quiet: its errors become one line, and no secret passes through."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import qexp.redact
from qexp.core.jsonable import map_text, to_jsonable
from qexp.errors import EngineError, QexpError

_log = logging.getLogger(__name__)

_ENCODED_CRN = re.compile(r"crn%3a[^\s\"'<>]+", re.IGNORECASE)
_MAX_MESSAGE = 400


def redact(text: str) -> str:
    """Remove secrets from a text, also the CRNs in links that the client's warnings name."""
    return qexp.redact.redact(_ENCODED_CRN.sub(qexp.redact.MASK, text))


def redacted(value: Any) -> Any:
    """Any value of the service as plain JSON, with `redact` applied to every string."""
    return map_text(to_jsonable(value), redact)


def one_line(error: BaseException) -> str:
    """What an exception says, redacted, on one line of bounded length."""
    text = " ".join(redact(str(getattr(error, "message", None) or error)).split())
    text = text or type(error).__name__
    return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 3]}..."


@contextmanager
def service_call(doing: str) -> Iterator[None]:
    """Call IBM's client: its errors become `EngineError`, its warnings go to the log, redacted.

    Args:
        doing: What is being done, as in "opening the batch on ibm_torino".

    Raises:
        EngineError: The service refused or could not be reached. The original exception is not
            chained, because its text may hold the CRN or the request's headers.
        QiskitBackendNotFoundError: Left to the caller, who knows what was asked for.
    """
    from qiskit.exceptions import QiskitError
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError
    from requests import RequestException

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
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
