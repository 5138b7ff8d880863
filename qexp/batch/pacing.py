"""The pace of submission, growing delays, and patience with a service that is out of reach."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from qexp.errors import EngineError, LostJobError
from qexp.points import Experiment

T = TypeVar("T")

_log = logging.getLogger(__name__)
_LONGEST_S = 60.0
_NEGLIGIBLE_S = 0.05


@dataclass
class Backoff:
    """Growing delays with jitter, so that many clients do not ask again at the same moment."""

    jitter: Callable[[], float]  # a number in [0, 1)
    _count: int = 0

    def next_s(self) -> float:
        """Return the next delay in seconds: between half of the present bound and all of it."""
        # Capped, because 2.0**1024 overflows.
        bound = min(_LONGEST_S, 2.0 ** min(self._count, 30))
        self._count += 1
        return bound * (0.5 + 0.5 * self.jitter())

    def reset(self) -> None:
        """Start again with the first delay, which is at most a second."""
        self._count = 0


class Pace:
    """The pace of submission.

    Without a fixed interval, `fixed_s`, jobs are submitted as fast as the service accepts them.
    After a refusal, the interval becomes the time between the last two accepted jobs; each further
    job halves it until the next refusal. `jitter` gives a number in [0, 1).
    """

    def __init__(self, jitter: Callable[[], float], fixed_s: float | None = None) -> None:
        self._fixed_s = fixed_s
        self._backoff = Backoff(jitter)
        self._interval_s = 0.0
        self._not_before_s = 0.0
        self._accepted_s: float | None = None
        self._is_refused = False

    def delay_s(self, now_s: float) -> float:
        """Return the seconds until the next submission, 0 if it may be made now."""
        return max(0.0, self._not_before_s - now_s)

    def accepted(self, now_s: float) -> None:
        """Update the interval after the service accepted a job."""
        if self._fixed_s is not None:
            self._interval_s = self._fixed_s
        elif self._is_refused and self._accepted_s is not None:
            self._interval_s = now_s - self._accepted_s
        else:
            self._interval_s /= 2
            if self._interval_s < _NEGLIGIBLE_S:
                self._interval_s = 0.0
        self._is_refused = False
        self._backoff.reset()
        self._accepted_s = now_s
        self._not_before_s = now_s + self._interval_s

    def refused(self, now_s: float, retry_after_s: float | None = None) -> float:
        """Update the delay after a refusal; return the seconds until the next attempt.

        They are those that the service said to wait, `retry_after_s`, or grow with each refusal.
        """
        self._is_refused = True
        delay_s = self._backoff.next_s() if retry_after_s is None else max(0.0, retry_after_s)
        self._not_before_s = now_s + delay_s
        return delay_s


class Patience:
    """Patience with a service that is out of reach, for `ExecutionPolicy.outage_s`.

    That time begins with the first request that failed, not with its failure, and the last try
    begins when it ends: no later, and no sooner. Made right before the first request.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._has_failed = False
        self.reset()

    def call(
        self,
        request: Callable[[], T],
        retry_on: tuple[type[EngineError], ...] = (EngineError,),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> T:
        """Call the service, again after each outage, and return its answer.

        The request is made again after errors of `retry_on`, but for `LostJobError`, and
        `meanwhile` is called before that.

        Raises:
            StopRequested: The experiment was asked to stop.
            EngineError: The last error, if the outage lasts too long; `LostJobError` at once.
        """
        if not self._has_failed:
            self._since_s = self._experiment.clock.now_s()
        while True:
            try:
                return request()
            except LostJobError:
                raise
            except retry_on as error:
                _log.warning("%s", error)
                delay_s = self.next_delay_s(error)
                if delay_s is None:
                    raise
                self._experiment.pause(delay_s)
                meanwhile()

    def reset(self) -> None:
        """Start again after an answer of the service."""
        self._backoff = Backoff(self._experiment.clock.jitter)
        self._since_s = self._experiment.clock.now_s()
        self._has_failed = False

    def is_exhausted(self) -> bool:
        """Record a failure; return True once failures have lasted for `outage_s`."""
        self._has_failed = True
        return self._left_s() <= 0

    def next_delay_s(self, error: Exception) -> float | None:
        """Return the seconds until the next request, None once `is_exhausted`.

        The observer is told of both.
        """
        if self.is_exhausted():
            return None
        delay_s = min(self._backoff.next_s(), self._left_s())
        self._experiment.observer.service_lost(str(error), delay_s)
        return delay_s

    def _left_s(self) -> float:
        until_s = self._since_s + self._experiment.policy.outage_s
        return until_s - self._experiment.clock.now_s()
