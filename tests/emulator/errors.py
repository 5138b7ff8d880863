"""Refusals and failures, in the service's shape."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """A request is refused.

    Args:
        status: HTTP status code.
        code: The service's own error code.
        message: What is wrong.
        headers: More headers of the reply.
    """

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body: dict[str, Any] = {
            "errors": [{"code": code, "message": message, "more_info": "", "solution": ""}],
            "trace": "emulated",
        }


class InvalidJobError(Exception):
    """A job cannot be run as it was sent: it ends as `Failed` with this reason and code."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


NOT_VALID = 3211
"""Reason code "Job not valid"."""
