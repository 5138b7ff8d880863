"""The service's reply behind an exception of IBM's client.

The client turns every failure into one of a few exceptions and drops the reply, but the chain of
exceptions still leads to the one of `requests`, or of IBM's cloud SDK, that has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from qexp.engines.ibm.codes import BATCH_OVER, QUOTA, parse_code
from qexp.text import one_line

_BATCH_OVER = re.compile(
    r"\b(?:session|batch)\b.*(?:closed|expired|terminated|not accept|no longer accept)", re.I
)
_QUOTA = re.compile(r"\bquota\b|usage limit|instance limit", re.I)


@dataclass(frozen=True)
class Reply:
    """The service's reply to a request that failed."""

    method: str  # of the request
    url: str
    status: int  # of HTTP
    code: int | None  # the service's own
    message: str  # "" if it cannot be read
    retry_after_s: float | None  # from now

    @property
    def is_readable(self) -> bool:
        """True if the service says what is wrong: by a code of its own, or in words."""
        return self.code is not None or self.message != ""

    @property
    def is_quota(self) -> bool:
        """True if the service says that the account's time is used up."""
        return self.code in QUOTA or _QUOTA.search(self.message) is not None

    @property
    def is_batch_over(self) -> bool:
        """True if the service says that the session takes no more jobs."""
        return self.code in BATCH_OVER or _BATCH_OVER.search(self.message) is not None


def find_failures(
    error: BaseException, outer: BaseException | None = None
) -> Iterator[BaseException]:
    """Yield the exceptions of `requests`, or of IBM's cloud SDK, behind one of IBM's client.

    For `outer`, see `chain`.
    """
    from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
    from requests import RequestException

    for each in chain(error, outer):
        if isinstance(each, ApiException | RequestException):
            yield each


def find_reply(error: BaseException, outer: BaseException | None = None) -> Reply | None:
    """Return the reply behind an exception of IBM's client, or None if there was none."""
    return next(filter(None, map(read_reply, find_failures(error, outer))), None)


def is_status(error: BaseException, status: HTTPStatus) -> bool:
    """Return whether the service replied with this HTTP status."""
    reply = find_reply(error)
    return reply is not None and reply.status == status


def chain(error: BaseException, outer: BaseException | None = None) -> Iterator[BaseException]:
    """Yield an exception and those that led to it, also where the client raised `from None`.

    `outer` was being handled when the call began, and is unrelated.
    """
    seen = [outer]
    following: BaseException | None = error
    while following is not None and following not in seen:
        yield following
        seen.append(following)
        following = following.__cause__ or following.__context__


def read_reply(failure: Any) -> Reply | None:
    """Return the reply that an exception of `requests` or of the SDK is about, or None."""
    response = getattr(failure, "http_response", getattr(failure, "response", None))
    if response is None:
        return None
    errors = list(_errors_in(response))
    return Reply(
        method=str(getattr(response.request, "method", None) or ""),
        url=str(response.url),
        status=response.status_code,
        code=next((code for code, _ in errors if code is not None), None),
        message=one_line("; ".join(message for _, message in errors)),
        retry_after_s=_retry_after_s(response.headers.get("Retry-After")),
    )


def _errors_in(response: Any) -> Iterator[tuple[int | None, str]]:
    """Yield code and message of each error in the body of a refusal."""
    try:
        body = response.json()
    except ValueError:
        return
    errors = body.get("errors") if isinstance(body, Mapping) else None
    for each in errors if isinstance(errors, list) else ():
        if isinstance(each, Mapping):
            yield parse_code(each.get("code")), str(each.get("message") or "")


def _retry_after_s(header: str | None) -> float | None:
    """Read a header of seconds or of a date (RFC 9110, section 10.2.3); None for other text."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
