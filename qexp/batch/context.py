"""What driving a run needs: who does what, and where it is written down."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from qexp.batch.journal import Journal
from qexp.batch.ledger import Ledger
from qexp.batch.pacing import Backoff
from qexp.core.model import FailureKind, JobOutcome, JobRequest, JobState
from qexp.core.observer import Observer
from qexp.core.policy import ExecutionPolicy
from qexp.core.protocols import Engine
from qexp.workers import Workers

if TYPE_CHECKING:
    from qiskit.providers import BackendV2


class Stopped(Exception):  # noqa: N818 - no error
    """The run was asked to stop (Ctrl-C, SIGTERM)."""


class Store(Protocol):
    """Where outcomes go: on disk when a method returns."""

    def write_batch(
        self,
        number: int,
        opened: Mapping[str, Any] | None,
        final: Mapping[str, Any] | None,
        *,
        batch_id: str,
        follows: str | None,
    ) -> None:
        """Write both `details()` of a batch, None where not known."""
        ...

    def write_job(self, outcome: JobOutcome) -> None:
        """Write an attempt's outcome with its result."""
        ...

    def job_states(self) -> Mapping[tuple[int, int], tuple[str, JobState, FailureKind | None]]:
        """(partition, attempt) -> (job id, state, failure) of what was written."""
        ...


@dataclass(frozen=True)
class Clock:
    """Time, so that tests need none.

    Attributes:
        now_s: Seconds that never decrease.
        sleep: Sleeps for some seconds.
        jitter: A number in [0, 1).
        settle_s: How long a job that was submitted may take to show up in a listing, seconds.
    """

    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    settle_s: float = 2.0


_SLICE_S = 0.1


@dataclass(frozen=True)
class RunContext:
    """One process's work on one run.

    Attributes:
        engine: Runs jobs.
        backend: Where they run.
        run_tag: The tag that every job of the run carries.
        request: Makes the request of a partition's attempt (index, number of the attempt).
        journal: Where every step is written before it is taken.
        store: Where outcomes go.
        policy: How jobs are driven.
        max_time_s: The `max_time` of a batch in seconds, or None.
        observer: Watches.
        is_stopped: Whether the run was asked to stop.
        clock: Time.
    """

    engine: Engine
    backend: BackendV2
    run_tag: str
    request: Callable[[int, int], JobRequest]
    journal: Journal
    store: Store
    policy: ExecutionPolicy
    max_time_s: int | None
    observer: Observer
    is_stopped: Callable[[], bool]
    clock: Clock = field(default_factory=Clock)
    workers: Workers | None = None

    @property
    def ledger(self) -> Ledger:
        """What the journal says."""
        return self.journal.ledger

    def raise_if_stopped(self) -> None:
        """Raise `Stopped` if the run was asked to stop."""
        if self.is_stopped():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Sleep, unless and until the run is asked to stop: then raise `Stopped`."""
        until_s = self.clock.now_s() + seconds
        while (left_s := until_s - self.clock.now_s()) > 0:
            self.raise_if_stopped()
            self.clock.sleep(min(left_s, _SLICE_S))
        self.raise_if_stopped()

    def backoff(self) -> Backoff:
        """Fresh delays."""
        return Backoff(self.clock.jitter)


class Patience:
    """How long to go on asking a service that does not answer.

    Args:
        context: The run; its policy says how long an outage may last.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._backoff = context.backoff()
        self._since_s: float | None = None

    def reset(self) -> None:
        """The service has answered."""
        self._backoff.reset()
        self._since_s = None

    def check(self, error: Exception) -> None:
        """The service has not answered, or not as hoped.

        Raises:
            Exception: `error` itself, when this has lasted too long.
        """
        now_s = self._context.clock.now_s()
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s >= self._context.policy.outage_s:
            raise error

    def failed(self, error: Exception) -> float:
        """As `check`, and tell whoever watches.

        Returns:
            Seconds after which to ask again.
        """
        self.check(error)
        delay_s = self._backoff.next_s()
        self._context.observer.service_lost(str(error), delay_s)
        return delay_s
