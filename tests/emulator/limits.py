"""What the service allows: rates, numbers, sizes, time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.emulator.errors import RefusedError

TOO_MANY_REQUESTS = 1202
TOO_MANY_PENDING = 3458
PAYLOAD_TOO_LARGE = 1233
QUOTA_REACHED = 4317
TOO_MANY_TAGS = 1204
MAX_TAGS = 8


@dataclass
class RateLimit:
    """A token bucket: `jobs` at once, one more every `period_s / jobs` seconds.

    Attributes:
        jobs: How many `POST /jobs` it lets pass in a period.
        period_s: The period in seconds.
        tells: Whether a refusal has `Retry-After`.
        clock: Seconds.
    """

    jobs: int
    period_s: float
    tells: bool = True
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(init=False)
    _filled: float = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._tokens, self._filled = float(self.jobs), self.clock()

    def take(self) -> None:
        """Let one request pass.

        Raises:
            RefusedError: With status 429, if there were too many.
        """
        with self._lock:
            passed_s, self._filled = self.clock() - self._filled, self._filled
            self._filled += passed_s
            self._tokens = min(self.jobs, self._tokens + passed_s * self.jobs / self.period_s)
            if self._tokens >= 1:
                self._tokens -= 1
                return
            wait_s = math.ceil((1 - self._tokens) * self.period_s / self.jobs)
        raise RefusedError(
            429,
            TOO_MANY_REQUESTS,
            f"Too many requests received: limit is {self.jobs} per {self.period_s} s.",
            (("Retry-After", str(wait_s)),) if self.tells else (),
        )


@dataclass
class Limits:
    """Bounds of one emulator; None is unlimited. May be changed at any time.

    Attributes:
        rate: Of `POST /jobs`.
        max_pending: Jobs of an instance that may be queued or running at once.
        max_payload_bytes: Size of the body of `POST /jobs`.
        quota_s: QPU seconds of an instance; once they are used, it takes no more jobs.
        at_max_ttl: What becomes of the queued jobs of a session that runs out of time; the
            documentation has it both ways.
    """

    rate: RateLimit | None = None
    max_pending: int | None = None
    max_payload_bytes: int | None = None
    quota_s: float | None = None
    at_max_ttl: Literal["fail", "cancel"] = "fail"

    def admit(self, num_bytes: int, pending: int, used_s: float) -> None:
        """Let a job in.

        Args:
            num_bytes: Size of the request's body.
            pending: The instance's jobs that are queued or running.
            used_s: QPU seconds that the instance has used.

        Raises:
            RefusedError: If a bound is exceeded.
        """
        if self.max_payload_bytes is not None and num_bytes > self.max_payload_bytes:
            raise RefusedError(
                413,
                PAYLOAD_TOO_LARGE,
                f"Payload too large: {num_bytes} bytes, at most {self.max_payload_bytes}.",
            )
        if self.rate is not None:
            self.rate.take()
        if self.quota_s is not None and used_s >= self.quota_s:
            raise RefusedError(403, QUOTA_REACHED, "The instance has met its usage limit.")
        if self.max_pending is not None and pending >= self.max_pending:
            raise RefusedError(
                400,
                TOO_MANY_PENDING,
                f"You have reached the limit of {self.max_pending} pending jobs. Please wait for "
                "a job to complete or cancel one before submitting anything new.",
            )


def check_tags(tags: list[str]) -> list[str]:
    """The tags, if the service would take them."""
    if len(tags) > MAX_TAGS:
        raise RefusedError(
            400, TOO_MANY_TAGS, f"{len(tags)} tags exceed the maximum of {MAX_TAGS}."
        )
    return list(tags)
