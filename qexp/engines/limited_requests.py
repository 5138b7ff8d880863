"""The requests of IBM's client: each has a time limit, and a POST is sent once.

See docs/decisions/2026-11-29-post-once.md.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

_CONNECT_S: Final = 5.0


def limit_requests(session: Any, longest_s: float) -> None:
    """Limit the requests of a client's `requests.Session`; it keeps a limit that is lower.

    A reply takes no longer than `longest_s`, and a question that failed is repeated for no longer.
    """
    adapter = session.get_adapter("https://")
    if not isinstance(adapter, LimitedAdapter):
        tokens = getattr(getattr(session, "auth", None), "tm", None)
        adapter = LimitedAdapter(longest_s, adapter.max_retries, tokens)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
    adapter.lower(longest_s)


class LimitedAdapter(HTTPAdapter):
    """Sends each request with a time limit; the numbers of `retries` are kept, for reads.

    `tokens` is the SDK's manager of the session's access tokens, or None.
    """

    __attrs__ = [*HTTPAdapter.__attrs__, "longest_s"]  # noqa: RUF012 - what a copy has, too
    max_retries: LimitedRetry
    _tokens: Any = None

    def __init__(self, longest_s: float, retries: Retry, tokens: Any) -> None:
        limited = LimitedRetry(
            total=retries.total,
            connect=retries.connect,
            backoff_factor=retries.backoff_factor,
            status_forcelist=retries.status_forcelist,
        )
        super().__init__(max_retries=limited)
        self.longest_s = longest_s
        self._tokens = tokens

    def lower(self, longest_s: float) -> None:
        """Lower the limit, also that of requests for access tokens."""
        self.longest_s = min(longest_s, self.longest_s)
        if self._tokens is not None:
            config = self._tokens.http_config
            self._tokens.http_config = {**config, "timeout": self._timeout_s()}

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request; if its access token is refused (401), the next one gets another."""
        if not isinstance(kwargs["timeout"], int | float):
            # A number is the client's own limit for sending a job, which may be large.
            kwargs["timeout"] = self._timeout_s()
        if self._tokens is not None:
            # The SDK takes a request for a token that failed for one that is still under way, and
            # would wait a minute for it.
            self._tokens.request_time = 0
        self.max_retries.until_s = time.monotonic() + self.longest_s
        response = super().send(request, *args, **kwargs)
        if response.status_code == HTTPStatus.UNAUTHORIZED and self._tokens is not None:
            self._tokens.expire_time = 0
        return response

    def _timeout_s(self) -> tuple[float, float]:
        return min(_CONNECT_S, self.longest_s), self.longest_s


class LimitedRetry(Retry):
    """Retries that end in time; a POST is only repeated if its connection was never established.

    urllib3 itself repeats no POST after a status or a dropped connection, but any request after
    what it calls other errors: those of TLS, and of a connection through a proxy, even one that
    dropped when the request had been sent.
    """

    until_s = float("inf")  # no repetition begins later, by `time.monotonic`

    def new(self, **changed: Any) -> Self:
        """Return the same retries with other numbers."""
        made = super().new(**changed)
        made.until_s = self.until_s
        return made

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Self:
        """Return what is left of the retries, or raise as the last one does."""
        if method == "POST" and error is not None and not self._is_connection_error(error):
            raise error
        left = super().increment(method, url, response, error, *args, **kwargs)
        told_s = left.get_retry_after(response) if response else None
        if time.monotonic() + (told_s or left.get_backoff_time()) >= self.until_s:
            return self.new(total=0).increment(method, url, response, error, *args, **kwargs)
        return left
