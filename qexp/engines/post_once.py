"""Retries of HTTP requests by IBM's client that never send a POST twice."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from urllib3.util.retry import Retry

if TYPE_CHECKING:
    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import BaseHTTPResponse


class PostOnce(Retry):
    """Retries of reads; a POST is only repeated if its connection was never established.

    urllib3 itself repeats no POST after a status or a dropped connection, but any request after
    what it calls other errors: those of TLS, and of a connection through a proxy, even one that
    dropped when the request had been sent.
    """

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """Return what is left of the retries; raise the error of a POST that was sent."""
        if method == "POST" and error is not None and not self._is_connection_error(error):
            raise error.with_traceback(_stacktrace)
        return super().increment(method, url, response, error, _pool, _stacktrace)


def post_once(retries: Any) -> PostOnce:
    """Return retries with the same numbers as others, which are for reads only."""
    if isinstance(retries, PostOnce):
        return retries
    return PostOnce(
        total=retries.total,
        connect=retries.connect,
        backoff_factor=retries.backoff_factor,
        status_forcelist=retries.status_forcelist,
    )
