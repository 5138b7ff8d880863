"""Submit partitions to an open batch, each exactly once, even if the service's reply is lost."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from qexp.batch.collect import Collector
from qexp.batch.found import look_up
from qexp.batch.pacing import Backoff, Pace, Patience
from qexp.batch.request import cut, make_request, planned_piece
from qexp.core.model import FailureKind, JobOutcome, JobRequest
from qexp.core.protocols import Batch, RemoteBatch
from qexp.errors import (
    BatchOverError,
    BusyError,
    EngineError,
    QexpError,
    RefusedError,
    UnclearError,
)
from qexp.journal.events import NotSubmitted, Submitted, Submitting
from qexp.journal.ledger import Piece
from qexp.points import Experiment

if TYPE_CHECKING:
    from qexp.core.model import Pub

_log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 5.0
_MOST_SHOWN = 10


class Submitter:
    """Submits to one open batch, and collects jobs that end while it waits."""

    def __init__(self, experiment: Experiment, batch: Batch, collector: Collector) -> None:
        self._experiment = experiment
        self._batch = batch
        self._collector = collector
        self._pace = Pace(experiment.clock.jitter, experiment.policy.submit_interval_s)
        self._slot_backoff = Backoff(experiment.clock.jitter)
        self._is_unclear = False

    def submit_all(self, jobs: Sequence[tuple[Piece, ...]]) -> QexpError | None:
        """Submit jobs, the pieces of each, in this order, until the batch accepts no more.

        A job of several pieces that the service refuses is divided. Return the error that rules out
        further submissions (quota, authorisation, budget), or None.

        Raises:
            StopRequested: The experiment was asked to stop.
            EngineError: The service was out of reach for too long.
            ArchiveError: A partition's part is damaged, or nothing can be written.
        """
        experiment, left = self._experiment, deque(jobs)
        while left:
            job = left.popleft()
            self._wait_for_turn()
            if self._is_too_large(*job):
                planned = planned_piece(experiment, job[0])
                cut(experiment, job[0].partition, (planned.first + planned.stop) // 2)
            # Pieces may also have been cut, or their jobs be found, while this waited.
            pieces = [one for piece in job for one in experiment.ledger.pieces_of(piece)]
            if pieces != [*job]:
                left.extendleft((piece,) for piece in reversed(pieces))
                continue
            job = tuple(one for one in job if experiment.ledger.job_of(one) is None)
            if not job:
                continue
            budget = self._collector.budget
            if budget is not None and not budget.has_room_for(job):
                if not self._collector.pending:
                    return budget.refuse(job)
                # They may be charged less than was predicted.
                reason = "the jobs in flight may use up budget.qpu"
                experiment.observer.submission_paused(reason, 0.0)
                self._collector.step()
                left.appendleft(job)
                continue
            next_number = experiment.ledger.next_number
            request = make_request(experiment, {one: next_number(one.partition) for one in job})
            try:
                self._submit(request, job)
            except RefusedError as error:
                if len(job) > 1:
                    self._give_up(request, error, "shared", error.code)
                    left.extendleft((piece,) for piece in reversed(job))
                    continue
                self._give_up(request, error, error.failure, error.code)
                if experiment.policy.retry_refused and self._is_too_large(*job):
                    left.appendleft(job)
            except BatchOverError as error:
                kept = experiment.open_batches
                experiment.open_batches = {k: v for k, v in kept.items() if v is not self._batch}
                self._give_up(request, error, "expired")
                return None
            except EngineError as error:
                if self._is_unclear:
                    # The job may exist: its attempt stays open in the journal.
                    raise
                self._give_up(request, error, "denied")
                return error
        return None

    def _is_too_large(self, piece: Piece, *others: Piece) -> bool:
        """Return True if a piece was too large, and has more than one PUB; it shares no job."""
        if others:
            return False
        last = [kind for _, kind in self._experiment.ledger.failures_of(piece)][-1:]
        return last == ["too_large"] and planned_piece(self._experiment, piece).num_pubs > 1

    def _submit(self, request: JobRequest, job: tuple[Piece, ...]) -> None:
        """Submit one job; record it in the journal before and after."""
        experiment, batch, index = self._experiment, self._batch, request.partition.index
        experiment.raise_if_stopped()
        offset = 0
        for piece, member in zip(job, request.by_partition, strict=True):
            experiment.journal.append(
                Submitting(
                    piece.partition,
                    member.attempt,
                    batch.id,
                    request.tag,
                    first=piece.first,
                    stop=piece.stop,
                    offset=offset,
                )
            )
            offset += member.partition.num_pubs
        self._is_unclear = False
        patience = Patience(experiment)
        attempt = experiment.ledger.attempts[index][request.attempt - 1]
        # A listing may have shown it while this waited.
        while attempt.job is None:
            try:
                job_id = batch.submit(self._stoppable(request))
            except BusyError as error:
                self._wait_after_refusal(error, patience)
                if isinstance(batch, RemoteBatch):
                    # A gateway may say so of a job that the service has taken all the same.
                    find = partial(batch.find, request.tag)
                    self._collector.adopt_found(Patience(experiment).call(find))
            except UnclearError as error:
                self._is_unclear = True
                _log.warning("partition %d: %s", index, error)
                delay_s = patience.next_delay_s(error)
                if delay_s is None or not isinstance(batch, RemoteBatch):
                    raise
                experiment.pause(delay_s)
                # Right before it would be sent again.
                self._collector.adopt_found(
                    look_up(experiment, partial(batch.find, request.tag), patience)
                )
                self._is_unclear = False
            else:
                for member in request.by_partition:
                    where = member.partition.index, member.attempt, batch.id, job_id
                    experiment.journal.append(Submitted(*where))
                self._collector.watch(batch, job_id)
        assert attempt.job is not None
        self._slot_backoff.reset()
        self._pace.accepted(experiment.clock.now_s())
        for member in request.by_partition:
            experiment.observer.job_submitted(member.partition, attempt.job)

    def _stoppable(self, request: JobRequest) -> JobRequest:
        """Return a request that a stop which comes while its PUBs are loaded keeps from being sent.

        A local batch loads them in worker processes, and ends with this one.
        """
        if not isinstance(self._batch, RemoteBatch):
            return request

        def load_pubs() -> Sequence[Pub]:
            pubs = request.load_pubs()
            self._experiment.raise_if_stopped()
            return pubs

        return replace(request, load_pubs=load_pubs)

    def _wait_for_turn(self) -> None:
        experiment, limit = self._experiment, self._experiment.policy.max_pending
        experiment.raise_if_stopped()
        while limit is not None and self._collector.pending >= limit:
            reason = f"execution.max_pending={limit} jobs are in flight"
            experiment.observer.submission_paused(reason, 0.0)
            self._collector.step()
        self._wait_s(self._pace.delay_s(experiment.clock.now_s()))

    def _wait_after_refusal(self, error: BusyError, patience: Patience) -> None:
        if error.needs_slot:
            patience.reset()
            # Other jobs of the account may hold the slots for as long as they like.
            delay_s = self._slot_backoff.next_s()
        else:
            if patience.is_exhausted():
                raise error
            delay_s = self._pace.refused(self._experiment.clock.now_s(), error.retry_after_s)
        self._experiment.observer.submission_paused(str(error), delay_s)
        self._wait_s(delay_s, for_slot=error.needs_slot)

    def _wait_s(self, seconds: float, *, for_slot: bool = False) -> None:
        """Wait, and collect jobs that end meanwhile; `for_slot`: only until one has ended."""
        now_s = self._experiment.clock.now_s
        until_s = now_s() + seconds
        before = self._collector.pending
        while (left_s := until_s - now_s()) > 0:
            self._collector.check_deadline()
            if not self._collector.pending:
                self._experiment.pause(min(left_s, _LONGEST_PAUSE_S))
                continue
            self._collector.step(left_s)
            if for_slot and self._collector.pending < before:
                return

    def _give_up(
        self, request: JobRequest, error: Exception, failure: FailureKind, code: int | None = None
    ) -> None:
        """Record in the parts and the journal that these attempts have no job."""
        experiment, reason = self._experiment, f"not submitted: {error}"
        members = request.by_partition
        for member in members:
            partition = member.partition
            experiment.point_of(partition.index).write_job(
                JobOutcome(
                    "",
                    partition.index,
                    "ERROR",
                    result=None,
                    error=reason,
                    error_code=code,
                    failure=failure,
                    attempt=member.attempt,
                    batch_id=self._batch.id,
                    first=partition.first,
                    stop=partition.stop,
                )
            )
            experiment.journal.append(
                NotSubmitted(partition.index, member.attempt, reason, failure)
            )
        which = ", ".join(str(member.partition.index) for member in members[:_MOST_SHOWN])
        more = ", ..." if len(members) > _MOST_SHOWN else ""
        divided = "; each of its partitions is submitted alone" if failure == "shared" else ""
        word = "partition" if len(members) == 1 else "partitions"
        be = "is" if len(members) == 1 else "are"
        experiment.observer.warned(f"{word} {which}{more} {be} {reason}{divided}")
