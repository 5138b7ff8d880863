"""Submit partitions to an open batch, each exactly once, even if the service's reply is lost."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from qexp.archive.parts import StoredParts
from qexp.batch.collect import Collector, drop_duplicate
from qexp.batch.pacing import Backoff, Pace, Patience
from qexp.core.model import JOB_TAG, FailureKind, FoundJob, JobOutcome, JobRequest, Partition
from qexp.core.protocols import Batch, RemoteBatch
from qexp.core.seeds import as_int, child, stream
from qexp.errors import BatchOverError, BusyError, EngineError, RefusedError, UnclearError
from qexp.journal.ledger import NotSubmitted, Submitted, Submitting
from qexp.points import Experiment

if TYPE_CHECKING:
    from qexp.core.model import Pub

_log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 5.0

_MAX_TAG_LENGTH = 86
"""Characters of a tag (the service's published schema)."""

_DIGEST_LENGTH = 16


class Submitter:
    """Submits to one open batch, and collects jobs that end while it waits."""

    def __init__(self, experiment: Experiment, batch: Batch, collector: Collector) -> None:
        self._experiment = experiment
        self._batch = batch
        self._collector = collector
        self._pace = Pace(experiment.clock.jitter, experiment.policy.submit_interval_s)
        self._slot_backoff = Backoff(experiment.clock.jitter)
        self._is_unclear = False

    def submit_all(self, partitions: Sequence[int]) -> EngineError | None:
        """Submit partitions in this order, until the batch accepts no more.

        Returns:
            The error that rules out further submissions (quota, authorisation), or None.

        Raises:
            StopRequested: The experiment was asked to stop.
            EngineError: The service was out of reach for too long.
            ArchiveError: A partition's part is damaged, or nothing can be written.
        """
        for partition in partitions:
            self._wait_for_turn()
            number = self._experiment.ledger.next_number(partition)
            request = make_request(self._experiment, partition, number)
            try:
                self._submit(request)
            except RefusedError as error:
                self._give_up(request, error, error.failure, error.code)
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
        """Submit one job; record it in the journal before and after."""
        experiment, batch, index = self._experiment, self._batch, request.partition.index
        experiment.journal.append(Submitting(index, request.attempt, batch.id, request.tag))
        self._is_unclear = False
        patience = Patience(experiment)
        while True:
            try:
                job_id = batch.submit(request)
                break
            except BusyError as error:
                self._wait_after_refusal(error, patience)
            except UnclearError as error:
                self._is_unclear = True
                _log.warning("partition %d: %s", index, error)
                delay_s = patience.next_delay_s(error)
                if delay_s is None or not isinstance(batch, RemoteBatch):
                    raise
                if found := look_up(experiment, batch, request.tag, patience):
                    self._adopt(batch, request, found)
                    return
                self._is_unclear = False
                experiment.pause(delay_s)
        self._slot_backoff.reset()
        self._pace.accepted(experiment.clock.now_s())
        self._note_submitted(request, job_id)
        experiment.observer.job_submitted(request.partition, job_id)

    def _note_submitted(self, request: JobRequest, job_id: str, *, adopted: bool = False) -> None:
        index, number = request.partition.index, request.attempt
        self._experiment.journal.append(Submitted(index, number, self._batch.id, job_id, adopted))
        self._collector.watch(self._batch, self._experiment.ledger.attempts[index][number - 1])

    def _adopt(self, batch: RemoteBatch, request: JobRequest, found: Sequence[FoundJob]) -> None:
        experiment, (kept, *others) = self._experiment, found
        batch.adopt(kept.job_id, request)
        self._note_submitted(request, kept.job_id, adopted=True)
        attempt = experiment.ledger.attempts[request.partition.index][request.attempt - 1]
        for other in others:
            drop_duplicate(experiment, batch, attempt, other)
        experiment.observer.job_submitted(request.partition, kept.job_id)

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
        """Record in the parts and the journal that this attempt has no job."""
        index, reason = request.partition.index, f"not submitted: {error}"
        self._experiment.point_of(index).store.write_job(
            JobOutcome(
                "",
                index,
                "ERROR",
                result=None,
                error=reason,
                error_code=code,
                failure=failure,
                attempt=request.attempt,
                batch_id=self._batch.id,
            )
        )
        self._experiment.journal.append(NotSubmitted(index, request.attempt, reason, failure))
        self._experiment.observer.warned(f"partition {index} is {reason}")


def look_up(
    experiment: Experiment, batch: RemoteBatch, tag: str, patience: Patience
) -> Sequence[FoundJob]:
    """Return the jobs with a tag; ask twice, because a new job may take a moment to be listed.

    Raises:
        StopRequested: The experiment was asked to stop.
        EngineError: The service was out of reach for too long.
    """
    found = patience.call(lambda: batch.find(tag))
    if not found:
        experiment.pause(experiment.clock.settle_s)
        found = patience.call(lambda: batch.find(tag))
    return found


def make_request(experiment: Experiment, index: int, attempt: int) -> JobRequest:
    """Return the `JobRequest` of one attempt.

    Args:
        experiment: The experiment; its plan is committed, and a batch is open.
        index: Index of the partition.
        attempt: Number of the attempt, from 1.
    """
    sha256 = experiment.ledger.part_digests[index]
    partition, point = experiment.plan.partitions[index], experiment.point_of(index)
    sequence = stream(point.spec.seed, partition.workload, "simulate")
    # A digest of the experiment's token and the partition's content, so that neither another
    # experiment of the same name nor a partition with other circuits has the same tag.
    digest = hashlib.sha256(f"{experiment.ledger.token}:{sha256}".encode("ascii")).hexdigest()
    tag = f"{JOB_TAG}{index}.{attempt}:{digest[:_DIGEST_LENGTH]}"
    return JobRequest(
        partition=partition,
        primitive=point.spec.primitive_of(partition.workload),
        load_pubs=partial(_load_pubs, StoredParts(point.folder), partition, sha256),
        tags=("qexp", run_tag(experiment.id), tag),
        # By the index within the workload, so that adding a workload changes no seed; the same
        # for all attempts, so that a second one gives the same data.
        seed=as_int(child(sequence, partition.first)),
        attempt=attempt,
        tag=tag,
    )


def run_tag(experiment_id: str) -> str:
    """Return the tag of every job of an experiment."""
    return f"qexp-run:{experiment_id}"[:_MAX_TAG_LENGTH]


def _load_pubs(parts: StoredParts, partition: Partition, sha256: str) -> list[Pub]:
    """Load the ISA PUBs of a partition, after a check that its part is the planned one.

    A circuit that was not planned must never be paid for.

    Raises:
        ArchiveError: The part has another digest, or is missing or damaged.
    """
    parts.check_part(partition.index, sha256)
    return parts.load_isa_pubs(partition)
