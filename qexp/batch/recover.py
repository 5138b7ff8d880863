"""Find the jobs that earlier processes left, so that none is paid for twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from qexp.batch.collect import Collector
from qexp.batch.found import look_up
from qexp.batch.pacing import Patience
from qexp.batch.request import run_tag
from qexp.core.model import FoundJob
from qexp.core.protocols import Batch, RemoteEngine
from qexp.errors import EngineError, LostJobError
from qexp.journal.events import UNKNOWN, Collected, NotSubmitted, Submitted
from qexp.journal.ledger import Attempt
from qexp.points import Experiment

_log = logging.getLogger(__name__)


def note_stored_outcomes(experiment: Experiment) -> None:
    """Update the journal to match the outcomes on disk, before `reattach`.

    A process may have been killed after it stored an outcome and before it recorded that. An
    outcome in the journal may have been damaged since; its job is then collected again.
    """
    journal = experiment.journal
    stored = {
        (point.own_indices.start + partition, number): job
        for point in experiment.points
        for (partition, number), job in point.store.job_states().items()
    }
    for attempt in journal.ledger.all_attempts():
        partition, number = attempt.partition, attempt.number
        if experiment.point_of(partition).is_sealed:
            continue
        on_disk = stored.get((partition, number))
        if on_disk is None and attempt.state == "DONE" and attempt.offset == UNKNOWN:
            _close(experiment, attempt, "its result is no longer on disk, nor its place in its job")
        elif on_disk is None and attempt.state == "DONE" and attempt.job is not None:
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
    """Find the jobs of a resumed experiment on the service, and let a collector watch them.

    All that carry the tag of the run are listed, also those that another copy of the folder
    submitted. Attempts without a job are closed. Return the batches that earlier processes opened
    in this folder.

    Raises:
        EngineError: The account has none of the jobs, or the service was out of reach for too long.
    """
    ledger, engine = experiment.ledger, experiment.engine
    if not isinstance(engine, RemoteEngine):
        for attempt in ledger.open_attempts():
            _close(experiment, attempt, "it ended with the process that ran it")
        return []
    if not ledger.process_number:
        return []
    _note_jobs_of_tags(experiment)
    lanes, lane_of, own = experiment.lanes, experiment.lane_of, ledger.own_batches
    earlier: list[Batch] = [collector.batch_of(one) for one in own if lane_of(one) in lanes]
    listed = look_up(experiment, partial(_find_all, experiment), Patience(experiment))
    _refuse_other_account(experiment, collector, listed)
    # Known jobs first: of two with the same PUBs, the one with the earlier attempt is kept.
    for job_id in dict.fromkeys(attempt.job for attempt in ledger.open_attempts()):
        if job_id is not None:
            collector.adopt(job_id)
    collector.adopt_found(listed)
    for attempt in ledger.open_attempts():
        if attempt.job is None:
            backend = experiment.backend_of(experiment.point_of(attempt.partition).lane)
            find = partial(engine.find_jobs, backend, attempt.tag)
            collector.adopt_found(look_up(experiment, find, Patience(experiment)))
        if attempt.job is None:
            _close(experiment, attempt, "the service has no job with its tag")
    return earlier


def _note_jobs_of_tags(experiment: Experiment) -> None:
    """Record the jobs of which a process was killed between the lines of their partitions.

    Another job with their tag may be listed before them, where a proxy doubled the request.
    """
    known = [one for one in experiment.ledger.all_attempts() if one.job and not one.is_adopted]
    jobs = {(one.batch, one.tag): one.job for one in known if one.tag}
    for attempt in experiment.ledger.open_attempts():
        job = jobs.get((attempt.batch, attempt.tag))
        if job is not None and attempt.job is None:
            partition, number = attempt.partition, attempt.number
            experiment.journal.append(
                Submitted(partition, number, attempt.batch, job, adopted=True)
            )


def _find_all(experiment: Experiment) -> list[FoundJob]:
    """Find the jobs with the tag of the run, in the accounts of all its lanes."""
    engine, found = experiment.engine, dict[str, FoundJob]()
    assert isinstance(engine, RemoteEngine)
    for lane in experiment.lanes:
        jobs = engine.find_jobs(experiment.backend_of(lane), run_tag(experiment.id))
        found |= {job.job_id: job for job in jobs}
    return [*found.values()]


def _refuse_other_account(
    experiment: Experiment, collector: Collector, listed: Sequence[FoundJob]
) -> None:
    """Refuse a different account, where every job would look lost."""
    in_flight = [
        attempt for attempt in experiment.ledger.open_attempts() if attempt.job is not None
    ]
    if not in_flight or listed:
        return
    try:
        Patience(experiment).call(collector.batch_of(in_flight[-1].batch).details)
    except LostJobError as error:
        raise EngineError(
            f"the account or instance in use knows none of this run's jobs ({error}); name the one "
            f"that has them, also if it was renamed or moved: python -m qexp resume "
            f"{experiment.folder} backend.instance=NAME (or backend.account=NAME)"
        ) from None


def _close(experiment: Experiment, attempt: Attempt, reason: str) -> None:
    _log.info("attempt %d of partition %d: %s", attempt.number, attempt.partition, reason)
    experiment.journal.append(NotSubmitted(attempt.partition, attempt.number, reason, "lost"))
