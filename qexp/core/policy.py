"""The policy for failed jobs, interrupts and outages, as declared in `execution`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qexp.core.model import FailureKind

OnInterrupt = Literal["leave", "cancel"]


@dataclass(frozen=True)
class ExecutionPolicy:
    """The way jobs are driven. Nothing in here decides data, so that it may change on resuming.

    Attributes:
        on_interrupt: `"leave"` the jobs that are out when the run is interrupted, to be collected
            later, or `"cancel"` them.
        retries: Further attempts of a job that failed for a transient reason.
        retry_too_long: Whether ending at the time limit (code 1305) is such a reason.
        follow_ups: Further batches for jobs that a batch's `max_time` left out.
        max_pending: Jobs that may wait or run at once; None: as many as the service takes.
        submit_interval_s: Fixed pace of submission in seconds; None: as fast as the service
            takes it.
        deadline_s: Seconds after which a run stops waiting for its jobs; None: never.
        outage_s: Seconds for which the service may be out of reach before the run leaves.
    """

    on_interrupt: OnInterrupt = "leave"
    retries: int = 2
    retry_too_long: bool = False
    follow_ups: int = 3
    max_pending: int | None = None
    submit_interval_s: float | None = None
    deadline_s: int | None = None
    outage_s: float = 900.0

    def allows_again(self, failures: tuple[FailureKind, ...]) -> bool:
        """Return whether a job may be submitted again.

        Args:
            failures: How its attempts ended since the run was started or resumed, the last one
                last; not empty.
        """
        last = failures[-1]
        if last == "expired":
            return failures.count("expired") <= self.follow_ups
        transient = {"transient", "undelivered", "lost"}
        if self.retry_too_long:
            transient.add("too_long")
        return last in transient and sum(kind != "expired" for kind in failures) <= self.retries
