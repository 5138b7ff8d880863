"""Find the jobs that earlier processes left, so that none is paid for twice."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial

from qexp.batch.collect import Collector, drop_duplicate
from qexp.batch.pacing import Patience
from qexp.batch.submit import look_up, make_request, run_tag
from qexp.core.model import JOB_TAG, FoundJob
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import EngineError, LostJobError
from qexp.journal.ledger import Attempt, Collected, NotSubmitted, Submitted, Submitting
from qexp.points import Experiment

_log = logging.getLogger(__name__)

_TAG = re.compile(rf"{JOB_TAG}(\d+)\.(\d+):[0-9a-f]+")


def note_stored_outcomes(experiment: Experiment) -> None:
    """Update the journal to match the outcomes on disk, before `reattach`.

    A process may have been killed after it stored an outcome and before it recorded that. An
    outcome in the journal may have been damaged since; its job is then collected again.
    """
    journal = experiment.journal
    stored = {
        key: job for point in experiment.points for key, job in point.store.job_states().items()
    }
    for attempt in journal.ledger.all_attempts():
        partition, number = attempt.partition, attempt.number
        on_disk = stored.get((partition, number))
        if on_disk is None and attempt.state == "DONE" and attempt.job is not None:
            _log.warning("the result of job %s is no longer on disk", attempt.job)
            journal.append(Submitted(partition, number, attempt.batch, attempt.job, adopted=True))
        elif on_disk is not None and not attempt.is_over:
            job_id, state, failure = on_disk
            if job_id:
                journal.append(Collected(partition, number, job_id, state, failure))
            else:
                journal.append(
                    NotSubmitted(partition, number, "not submitted", failure or "internal")
                )


def reattach(experiment: Experiment, collector: Collector) -> list[Batch]:
    """Find the job of each open attempt and watch it, or close the attempt.

    Args:
        experiment: The experiment, with the journal of earlier processes.
        collector: Watches the jobs that are found.

    Returns:
        The batches that earlier processes opened.

    Raises:
        StopRequested: The experiment was asked to stop.
        EngineError: The service was out of reach for too long.
    """
    ledger, engine = experiment.ledger, experiment.engine
    if not ledger.batches:
        return []
    if not isinstance(engine, RemoteEngine):
        for attempt in ledger.open_attempts():
            _close(experiment, attempt, "it ended with the process that ran it")
        return []
    batches = {
        opened.batch: engine.attach_batch(experiment.backend, opened.batch)
        for opened in ledger.batches
    }
    last = batches[ledger.batches[-1].batch]
    by_tag = _jobs_by_tag(look_up(experiment, last, run_tag(experiment.id), Patience(experiment)))
    _refuse_other_account(experiment, batches, by_tag)
    _restore_missing_attempts(experiment, by_tag)
    _reopen_attempts_found_late(experiment, by_tag)
    for attempt in ledger.open_attempts():
        jobs = by_tag.get(attempt.tag, [])
        _watch_or_close(experiment, batches[attempt.batch], attempt, jobs, collector)
    for attempt in ledger.all_attempts():
        for job in by_tag.get(attempt.tag, ()):
            drop_duplicate(experiment, batches[attempt.batch], attempt, job)
    return list(batches.values())


def _jobs_by_tag(jobs: Sequence[FoundJob]) -> dict[str, list[FoundJob]]:
    """Return the jobs that carry the tag of an attempt, by tag."""
    by_tag: dict[str, list[FoundJob]] = {}
    for job in jobs:
        for tag in filter(_TAG.fullmatch, job.tags):
            by_tag.setdefault(tag, []).append(job)
    return by_tag


def _refuse_other_account(
    experiment: Experiment,
    batches: Mapping[str, RemoteBatch],
    by_tag: Mapping[str, Sequence[FoundJob]],
) -> None:
    """Refuse a different account, where every job would look lost.

    Raises:
        EngineError: The account has no job of the run, nor the batch of the last one in flight.
    """
    in_flight = [
        attempt for attempt in experiment.ledger.open_attempts() if attempt.job is not None
    ]
    if not in_flight or by_tag:
        return
    try:
        batches[in_flight[-1].batch].details()
    except EngineError as error:
        raise EngineError(
            f"the account or instance in use knows none of this run's jobs ({error}); name the one "
            f"that has them, also if it was renamed or moved: python -m qexp resume "
            f"{experiment.folder} backend.instance=NAME (or backend.account=NAME)"
        ) from None


def _restore_missing_attempts(
    experiment: Experiment, by_tag: Mapping[str, Sequence[FoundJob]]
) -> None:
    """Add the attempts whose journal lines were lost; their jobs are on the service."""
    ledger = experiment.ledger
    for tag in by_tag:
        match = _TAG.fullmatch(tag)
        assert match is not None
        partition, number = int(match[1]), int(match[2])
        if partition >= ledger.num_partitions or number != ledger.next_number(partition):
            continue
        if make_request(experiment, partition, number).tag == tag:
            batch_id = ledger.batches[-1].batch
            experiment.journal.append(Submitting(partition, number, batch_id, tag))


def _reopen_attempts_found_late(
    experiment: Experiment, by_tag: Mapping[str, Sequence[FoundJob]]
) -> None:
    """Reopen the attempts that were closed before the service listed their job."""
    ledger = experiment.ledger
    for attempt in ledger.all_attempts():
        jobs = by_tag.get(attempt.tag, ())
        is_closed = attempt.is_over and attempt.job is None and attempt.state is None
        if jobs and is_closed and ledger.job_of(attempt.partition) is None:
            _record_adopted(experiment, attempt, jobs[0])


def _watch_or_close(
    experiment: Experiment,
    batch: RemoteBatch,
    attempt: Attempt,
    jobs: Sequence[FoundJob],
    collector: Collector,
) -> None:
    """Adopt and watch the job of an open attempt, or close the attempt if it has none."""
    if attempt.job is None:
        jobs = jobs or look_up(experiment, batch, attempt.tag, Patience(experiment))
        if not jobs:
            _close(experiment, attempt, "the service has no job with its tag")
            return
        _record_adopted(experiment, attempt, jobs[0])
    assert attempt.job is not None
    request = make_request(experiment, attempt.partition, attempt.number)
    try:
        Patience(experiment).call(partial(batch.adopt, attempt.job, request))
    except LostJobError as error:
        _close(experiment, attempt, str(error))
        return
    collector.watch(batch, attempt)
    experiment.observer.job_adopted(attempt.partition, attempt.job)


def _record_adopted(experiment: Experiment, attempt: Attempt, job: FoundJob) -> None:
    experiment.journal.append(
        Submitted(attempt.partition, attempt.number, attempt.batch, job.job_id, adopted=True)
    )


def _close(experiment: Experiment, attempt: Attempt, reason: str) -> None:
    _log.info("attempt %d of partition %d: %s", attempt.number, attempt.partition, reason)
    experiment.journal.append(NotSubmitted(attempt.partition, attempt.number, reason, "lost"))
