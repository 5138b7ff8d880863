"""Submit partitions to an open batch: each exactly once, whatever the service answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from qexp.batch.collect import Collector, drop_duplicate
from qexp.batch.context import Patience, RunContext
from qexp.batch.ledger import NotSubmitted, Submitted, Submitting
from qexp.batch.pacing import Pace
from qexp.core.model import FailureKind, FoundJob, JobOutcome, JobRequest
from qexp.core.protocols import Batch, RemoteBatch
from qexp.errors import BatchOverError, BusyError, EngineError, RefusedError, UnclearError

_log = logging.getLogger(__name__)


class Submitter:
    """Submits to one batch.

    Args:
        context: The run.
        batch: An open batch.
        collector: Looks after the jobs; where a slot has to become free, it is what frees it.
    """

    def __init__(self, context: RunContext, batch: Batch, collector: Collector) -> None:
        self._context = context
        self._batch = batch
        self._collector = collector
        self._pace = Pace(context.clock.jitter, context.policy.submit_interval_s)
        self._slot_backoff = context.backoff()
        self._is_unclear = False

    def submit_all(self, partitions: Sequence[int]) -> EngineError | None:
        """Submit partitions in this order. What the batch takes no more is left for the next.

        Returns:
            Why no job is taken any more (quota, authorisation), or None.

        Raises:
            Stopped: The run was asked to stop.
            EngineError: The service was out of reach for too long.
            ArchiveError: A partition's part is damaged, or nothing can be written.
        """
        for partition in partitions:
            self._wait_for_turn()
            request = self._context.request(partition, self._context.ledger.next_number(partition))
            try:
                self._submit(request)
            except RefusedError as error:
                self._give_up(request, error, "refused", error.code)
            except BatchOverError as error:
                self._give_up(request, error, "expired")
                return None
            except EngineError as error:
                if self._is_unclear:
                    # The job may exist: its attempt stays open in the journal.
                    raise
                self._give_up(request, error, "denied")
                return error
        return None

    def _submit(self, request: JobRequest) -> None:
        """Submit one job; the journal says so before and after."""
        context, index = self._context, request.partition.index
        context.journal.append(Submitting(index, request.attempt, self._batch.id, request.tag))
        self._is_unclear = False
        patience = Patience(context)
        while True:
            try:
                job_id = self._batch.submit(request)
            except BusyError as error:
                self._wait_until_taken(error, patience)
                continue
            except UnclearError as error:
                self._is_unclear = True
                _log.warning("partition %d: %s", index, error)
                delay_s = patience.failed(error)
                batch = self._batch
                if not isinstance(batch, RemoteBatch):
                    raise
                found = look_up(context, batch, request.tag, patience)
                if found:
                    self._adopt(batch, request, found)
                    return
                self._is_unclear = False
                context.pause(delay_s)
                continue
            break
        self._slot_backoff.reset()
        self._pace.accepted(context.clock.now_s())
        self._submitted(request, job_id)
        context.observer.job_submitted(request.partition, job_id)

    def _submitted(self, request: JobRequest, job_id: str, *, adopted: bool = False) -> None:
        index, ledger = request.partition.index, self._context.ledger
        self._context.journal.append(
            Submitted(index, request.attempt, self._batch.id, job_id, adopted)
        )
        self._collector.watch(self._batch, ledger.attempts[index][request.attempt - 1])

    def _adopt(self, batch: RemoteBatch, request: JobRequest, found: Sequence[FoundJob]) -> None:
        kept, *others = found
        batch.adopt(kept.job_id, request)
        self._submitted(request, kept.job_id, adopted=True)
        attempt = self._context.ledger.attempts[request.partition.index][request.attempt - 1]
        for other in others:
            drop_duplicate(self._context, batch, attempt, other)
        self._context.observer.job_submitted(request.partition, kept.job_id)

    def _wait_for_turn(self) -> None:
        context, most = self._context, self._context.policy.max_pending
        context.raise_if_stopped()
        while most is not None and self._collector.pending >= most:
            context.observer.submission_paused(f"execution.max_pending={most} jobs are out", 0.0)
            self._collector.step()
        self._wait_s(self._pace.delay_s(context.clock.now_s()))

    def _wait_until_taken(self, error: BusyError, patience: Patience) -> None:
        if error.needs_slot:
            patience.reset()
            # Other jobs of the account may hold the slots for as long as they like.
            delay_s = self._slot_backoff.next_s()
        else:
            patience.check(error)
            delay_s = self._pace.refused(self._context.clock.now_s(), error.retry_after_s)
        self._context.observer.submission_paused(str(error), delay_s)
        self._wait_s(delay_s, for_slot=error.needs_slot)

    def _wait_s(self, seconds: float, *, for_slot: bool = False) -> None:
        """Wait, and meanwhile collect what ends; `for_slot`: at most until a job has ended."""
        until_s = self._context.clock.now_s() + seconds
        before = self._collector.pending
        while (left_s := until_s - self._context.clock.now_s()) > 0:
            self._collector.check_deadline()
            if not self._collector.pending:
                self._context.pause(min(left_s, _LONGEST_PAUSE_S))
                continue
            self._collector.step(left_s)
            if for_slot and self._collector.pending < before:
                return

    def _give_up(
        self, request: JobRequest, error: Exception, failure: FailureKind, code: int | None = None
    ) -> None:
        """This attempt has no job: say so in the archive and in the journal."""
        reason = f"not submitted: {error}"
        self._context.store.write_job(
            JobOutcome(
                "",
                request.partition.index,
                "ERROR",
                result=None,
                error=reason,
                error_code=code,
                failure=failure,
                attempt=request.attempt,
                batch_id=self._batch.id,
            )
        )
        self._context.journal.append(
            NotSubmitted(request.partition.index, request.attempt, reason, failure)
        )
        self._context.observer.warned(f"partition {request.partition.index} is {reason}")


_LONGEST_PAUSE_S = 5.0
_LOOK_UPS = 2


def look_up(
    context: RunContext, batch: RemoteBatch, tag: str, patience: Patience
) -> Sequence[FoundJob]:
    """The jobs with a tag. Asked twice, because a new job may take a moment to be listed.

    Raises:
        Stopped: The run was asked to stop.
        EngineError: The service was out of reach for too long.
    """
    asked = 0
    while True:
        try:
            found = batch.find(tag)
        except EngineError as error:
            context.pause(patience.failed(error))
            continue
        asked += 1
        if found or asked >= _LOOK_UPS:
            return found
        context.pause(context.clock.settle_s)
