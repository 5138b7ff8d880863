"""What earlier processes left of a run: find its jobs again, so that none is paid for twice."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from qexp.batch.collect import Collector, drop_duplicate
from qexp.batch.context import Patience, RunContext, Store
from qexp.batch.journal import Journal
from qexp.batch.ledger import Attempt, BatchClosed, Collected, NotSubmitted, Submitted, Submitting
from qexp.batch.submit import look_up
from qexp.core.model import JOB_TAG, FoundJob
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import EngineError, LostJobError

_log = logging.getLogger(__name__)

_TAG = re.compile(rf"{JOB_TAG}(\d+)\.(\d+):[0-9a-f]+")


def note_what_is_on_disk(journal: Journal, store: Store) -> None:
    """Bring the journal into line with the outcomes that are on disk, before `reattach`.

    A process may have been killed between storing an outcome and saying so; and an outcome that
    the journal knows may have been damaged since: its job is open again then.
    """
    stored = store.job_states()
    for attempt in journal.ledger.all_attempts():
        partition, number = attempt.partition, attempt.number
        known = stored.get((partition, number))
        if known is None and attempt.state == "DONE" and attempt.job is not None:
            _log.warning("the result of job %s is not on disk any more", attempt.job)
            journal.append(Submitted(partition, number, attempt.batch, attempt.job, adopted=True))
        elif known is not None and not attempt.is_over:
            job_id, state, failure = known
            if job_id:
                journal.append(Collected(partition, number, job_id, state, failure))
            else:
                journal.append(
                    NotSubmitted(partition, number, "not submitted", failure or "internal")
                )


def reattach(context: RunContext, collector: Collector) -> list[Batch]:
    """Let every attempt that was left open be collected, or end.

    Args:
        context: The run, its journal as earlier processes left it.
        collector: Gets the jobs that are found.

    Returns:
        The earlier batches that hold such jobs.

    Raises:
        Stopped: The run was asked to stop.
        EngineError: The service was out of reach for too long.
    """
    ledger = context.ledger
    if not ledger.batches:
        return []
    engine = context.engine
    if not isinstance(engine, RemoteEngine):
        for attempt in ledger.open():
            _end(context, attempt, "it ended with the process that ran it")
        return []
    batches = {
        opened.batch: engine.attach_batch(context.backend, opened.batch)
        for opened in ledger.batches
    }
    found = _jobs_by_tag(look_up(context, _last(batches), context.run_tag, Patience(context)))
    _refuse_other_account(context, batches, found)
    _begin_forgotten(context, found)
    _reopen_listed_late(context, found)
    for attempt in ledger.open():
        _recover(context, batches[attempt.batch], attempt, found.get(attempt.tag, []), collector)
    _drop_duplicates(context, batches, found)
    _close_left_open(context, batches)
    held = {attempt.batch for attempt in ledger.open()}
    return [batch for batch_id, batch in batches.items() if batch_id in held]


def _last(batches: Mapping[str, RemoteBatch]) -> RemoteBatch:
    return list(batches.values())[-1]


def _jobs_by_tag(found: Sequence[FoundJob]) -> dict[str, list[FoundJob]]:
    jobs: dict[str, list[FoundJob]] = {}
    for job in found:
        for tag in job.tags:
            if _TAG.fullmatch(tag):
                jobs.setdefault(tag, []).append(job)
    return jobs


def _begin_forgotten(context: RunContext, found: Mapping[str, Sequence[FoundJob]]) -> None:
    """Jobs of ours that the journal does not know, because its last lines were lost."""
    ledger = context.ledger
    for tag in found:
        match = _TAG.fullmatch(tag)
        assert match is not None
        partition, number = int(match.group(1)), int(match.group(2))
        if partition >= ledger.num_partitions or number != ledger.next_number(partition):
            continue
        if context.request(partition, number).tag == tag:
            batch_id = ledger.batches[-1].batch
            context.journal.append(Submitting(partition, number, batch_id, tag))


def _refuse_other_account(
    context: RunContext, batches: Mapping[str, RemoteBatch], found: Mapping[str, Sequence[FoundJob]]
) -> None:
    """An account that knows nothing of the run must not be taken for one that lost its jobs.

    Raises:
        EngineError: It knows neither a job nor the batch of one that is out.
    """
    out = [attempt for attempt in context.ledger.open() if attempt.job is not None]
    if not out or found:
        return
    try:
        batches[out[-1].batch].details()
    except EngineError as error:
        raise EngineError(
            f"the account or instance in use knows none of this run's jobs ({error}); use the one "
            f"that they were submitted with (backend.instance, QISKIT_IBM_INSTANCE)"
        ) from None


def _reopen_listed_late(context: RunContext, found: Mapping[str, Sequence[FoundJob]]) -> None:
    """Jobs that were not listed yet when their attempt was given up."""
    ledger = context.ledger
    for attempt in ledger.all_attempts():
        jobs = found.get(attempt.tag, ())
        given_up = attempt.is_over and attempt.job is None and attempt.state is None
        if jobs and given_up and ledger.job_of(attempt.partition) is None:
            context.journal.append(
                Submitted(
                    attempt.partition, attempt.number, attempt.batch, jobs[0].job_id, adopted=True
                )
            )


def _recover(
    context: RunContext,
    batch: RemoteBatch,
    attempt: Attempt,
    found: Sequence[FoundJob],
    collector: Collector,
) -> None:
    """Adopt the job of one open attempt, or end the attempt if there is none."""
    if attempt.job is None:
        jobs = found or look_up(context, batch, attempt.tag, Patience(context))
        if not jobs:
            _end(context, attempt, "the service has no job with its tag")
            return
        context.journal.append(
            Submitted(attempt.partition, attempt.number, attempt.batch, jobs[0].job_id, True)
        )
    assert attempt.job is not None
    patience = Patience(context)
    while True:
        try:
            batch.adopt(attempt.job, context.request(attempt.partition, attempt.number))
            break
        except LostJobError as error:
            _end(context, attempt, str(error))
            return
        except EngineError as error:
            context.pause(patience.failed(error))
    collector.watch(batch, attempt)
    context.observer.job_adopted(attempt.partition, attempt.job)


def _drop_duplicates(
    context: RunContext, batches: Mapping[str, RemoteBatch], found: Mapping[str, Sequence[FoundJob]]
) -> None:
    for attempt in context.ledger.all_attempts():
        for job in found.get(attempt.tag, ()):
            drop_duplicate(context, batches[attempt.batch], attempt, job)


def _close_left_open(context: RunContext, batches: Mapping[str, RemoteBatch]) -> None:
    """A process that was killed left its batch open; it would wait there for more jobs."""
    for batch_id, batch in batches.items():
        if batch_id in context.ledger.closed:
            continue
        try:
            batch.close()
        except EngineError as error:
            _log.warning("%s", error)
            continue
        context.journal.append(BatchClosed(batch_id))


def _end(
    context: RunContext,
    attempt: Attempt,
    reason: str,
) -> None:
    _log.info("attempt %d of partition %d: %s", attempt.number, attempt.partition, reason)
    context.journal.append(NotSubmitted(attempt.partition, attempt.number, reason, "lost"))
