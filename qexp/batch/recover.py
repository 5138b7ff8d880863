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
    """Bring the journal into line with the outcomes that are on disk, before `reattach`.

    A process may have been killed after it stored an outcome and before it noted that. An outcome
    that the journal has may have been damaged since; its job is then to be collected again.
    """
    journal = experiment.journal
    stored = {
        key: job for point in experiment.points for key, job in point.store.job_states().items()
    }
    for attempt in journal.ledger.all_attempts():
        partition, number = attempt.partition, attempt.number
        on_disk = stored.get((partition, number))
        if on_disk is None and attempt.state == "DONE" and attempt.job is not None:
            _log.warning("the result of job %s is not on disk any more", attempt.job)
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
    """Let every attempt that was left open be collected, or end it.

    Args:
        experiment: The experiment; its journal is as earlier processes left it.
        collector: Receives the jobs that are found.

    Returns:
        The batches that earlier processes opened.

    Raises:
        Stopped: The experiment was asked to stop.
        EngineError: The service was out of reach for too long.
    """
    ledger, engine = experiment.ledger, experiment.engine
    if not ledger.batches:
        return []
    if not isinstance(engine, RemoteEngine):
        for attempt in ledger.open():
            _end(experiment, attempt, "it ended with the process that ran it")
        return []
    batches = {
        opened.batch: engine.attach_batch(experiment.backend, opened.batch)
        for opened in ledger.batches
    }
    last = batches[ledger.batches[-1].batch]
    by_tag = _jobs_by_tag(look_up(experiment, last, run_tag(experiment.id), Patience(experiment)))
    _refuse_other_account(experiment, batches, by_tag)
    _begin_forgotten(experiment, by_tag)
    _reopen_listed_late(experiment, by_tag)
    for attempt in ledger.open():
        _adopt(experiment, batches[attempt.batch], attempt, by_tag.get(attempt.tag, []), collector)
    for attempt in ledger.all_attempts():
        for job in by_tag.get(attempt.tag, ()):
            drop_duplicate(experiment, batches[attempt.batch], attempt, job)
    return list(batches.values())


def _jobs_by_tag(jobs: Sequence[FoundJob]) -> dict[str, list[FoundJob]]:
    """Return the jobs that have the tag of an attempt, by that tag."""
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
    """Refuse to go on with another account, which would look as if all jobs were lost.

    Raises:
        EngineError: The account has neither a job of the run nor the batch of one that is out.
    """
    out = [attempt for attempt in experiment.ledger.open() if attempt.job is not None]
    if not out or by_tag:
        return
    try:
        batches[out[-1].batch].details()
    except EngineError as error:
        raise EngineError(
            f"the account or instance in use knows none of this run's jobs ({error}); use the one "
            f"that they were submitted with (backend.instance, QISKIT_IBM_INSTANCE)"
        ) from None


def _begin_forgotten(experiment: Experiment, by_tag: Mapping[str, Sequence[FoundJob]]) -> None:
    """Begin the attempts of jobs that the journal lacks because its last lines were lost."""
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


def _reopen_listed_late(experiment: Experiment, by_tag: Mapping[str, Sequence[FoundJob]]) -> None:
    """Reopen the attempts that were given up before their job was listed."""
    ledger = experiment.ledger
    for attempt in ledger.all_attempts():
        jobs = by_tag.get(attempt.tag, ())
        was_given_up = attempt.is_over and attempt.job is None and attempt.state is None
        if jobs and was_given_up and ledger.job_of(attempt.partition) is None:
            _note_adopted(experiment, attempt, jobs[0])


def _adopt(
    experiment: Experiment,
    batch: RemoteBatch,
    attempt: Attempt,
    jobs: Sequence[FoundJob],
    collector: Collector,
) -> None:
    """Adopt the job of an open attempt, or end the attempt if there is none."""
    if attempt.job is None:
        jobs = jobs or look_up(experiment, batch, attempt.tag, Patience(experiment))
        if not jobs:
            _end(experiment, attempt, "the service has no job with its tag")
            return
        _note_adopted(experiment, attempt, jobs[0])
    assert attempt.job is not None
    request = make_request(experiment, attempt.partition, attempt.number)
    try:
        Patience(experiment).ask(partial(batch.adopt, attempt.job, request))
    except LostJobError as error:
        _end(experiment, attempt, str(error))
        return
    collector.watch(batch, attempt)
    experiment.observer.job_adopted(attempt.partition, attempt.job)


def _note_adopted(experiment: Experiment, attempt: Attempt, job: FoundJob) -> None:
    experiment.journal.append(
        Submitted(attempt.partition, attempt.number, attempt.batch, job.job_id, adopted=True)
    )


def _end(experiment: Experiment, attempt: Attempt, reason: str) -> None:
    _log.info("attempt %d of partition %d: %s", attempt.number, attempt.partition, reason)
    experiment.journal.append(NotSubmitted(attempt.partition, attempt.number, reason, "lost"))
