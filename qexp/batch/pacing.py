"""The pace of submission, growing delays, and the patience with a service that is out of reach."""

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
        """Return the seconds to wait now: between half of the present bound and all of it."""
        # Doubled no further than it matters, or days of trying would overflow.
        bound = min(_LONGEST_S, 2.0 ** min(self._count, 30))
        self._count += 1
        return bound * (0.5 + 0.5 * self.jitter())

    def reset(self) -> None:
        """Start again with the first delay, of at most a second."""
        self._count = 0


class Pace:
    """The pace of submission.

    Without a fixed pace, jobs go as fast as they are taken. After the service has refused one for
    coming too fast, the time that it then took to accept the next is the pace, which is halved
    with every job until one is refused again.

    Args:
        jitter: Gives a number in [0, 1).
        fixed_s: Fixed time between two submissions in seconds, or None.
    """

    def __init__(self, jitter: Callable[[], float], fixed_s: float | None = None) -> None:
        self._fixed_s = fixed_s
        self._backoff = Backoff(jitter)
        self._interval_s = 0.0
        self._not_before_s = 0.0
        self._accepted_s: float | None = None
        self._refused = False

    def delay_s(self, now_s: float) -> float:
        """Return the seconds until the next submission, 0 if it may be made now."""
        return max(0.0, self._not_before_s - now_s)

    def accepted(self, now_s: float) -> None:
        """Note that a job was taken."""
        if self._fixed_s is not None:
            self._interval_s = self._fixed_s
        elif self._refused and self._accepted_s is not None:
            self._interval_s = now_s - self._accepted_s
        else:
            self._interval_s /= 2
            if self._interval_s < _NEGLIGIBLE_S:
                self._interval_s = 0.0
        self._refused = False
        self._backoff.reset()
        self._accepted_s = now_s
        self._not_before_s = now_s + self._interval_s

    def refused(self, now_s: float, retry_after_s: float | None = None) -> float:
        """Note that a job was not taken; return the seconds until the next attempt.

        Args:
            now_s: The time.
            retry_after_s: Seconds that the service said to wait, or None.
        """
        self._refused = True
        delay_s = self._backoff.next_s() if retry_after_s is None else max(0.0, retry_after_s)
        self._not_before_s = now_s + delay_s
        return delay_s


class Patience:
    """The patience with a service that does not answer, for as long as the policy's `outage_s`."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._backoff = Backoff(experiment.clock.jitter)
        self._since_s: float | None = None

    def ask(
        self,
        question: Callable[[], T],
        retry_on: tuple[type[EngineError], ...] = (EngineError,),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> T:
        """Return the answer to a question, asked again after each outage.

        Args:
            question: Asks the service; that it knows no such job is an answer, too.
            retry_on: Errors after which it is asked again.
            meanwhile: Called before it is asked again.

        Raises:
            Stopped: The experiment was asked to stop.
            EngineError: The last error, if the outage lasts too long.
        """
        while True:
            try:
                return question()
            except LostJobError:
                raise
            except retry_on as error:
                _log.warning("%s", error)
                self._experiment.pause(self.failed(error))
                meanwhile()

    def reset(self) -> None:
        """Note that the service has answered."""
        self._backoff.reset()
        self._since_s = None

    def check(self, error: Exception) -> None:
        """Note that the service has not answered, or not as hoped.

        Raises:
            Exception: `error` itself, when this has lasted too long.
        """
        now_s = self._experiment.clock.now_s()
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s >= self._experiment.policy.outage_s:
            raise error

    def failed(self, error: Exception) -> float:
        """Do as `check`, tell the observer, and return the seconds after which to ask again."""
        self.check(error)
        delay_s = self._backoff.next_s()
        self._experiment.observer.service_lost(str(error), delay_s)
        return delay_s
