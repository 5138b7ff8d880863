"""Jobs of an experiment that are found on the service: noted as attempts, once, by what they hold.

A job may be there that this folder knows nothing of: its reply or its line of the journal was lost,
a proxy sent it twice, or another copy of the folder submitted it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from qexp.batch.pacing import Patience
from qexp.batch.request import attempt_tags, cut, pubs_in
from qexp.core.model import FINAL_STATES, FoundJob
from qexp.core.protocols import RemoteBatch
from qexp.errors import EngineError
from qexp.journal.events import Adopted, BatchOpened, Duplicate, Submitted
from qexp.journal.ledger import Attempt, Piece
from qexp.points import Experiment

_log = logging.getLogger(__name__)


def look_up(
    experiment: Experiment, find: Callable[[], Sequence[FoundJob]], patience: Patience
) -> Sequence[FoundJob]:
    """Return the jobs with a tag; ask twice, because a new job may take a moment to be listed.

    Raises:
        StopRequested: The experiment was asked to stop.
        EngineError: The service was out of reach for too long.
    """
    found = patience.call(find)
    if not found:
        experiment.pause(experiment.clock.settle_s)
        found = patience.call(find)
    return found


def note_found(
    experiment: Experiment,
    jobs: Sequence[FoundJob],
    batch_of: Callable[[str], RemoteBatch],
) -> list[list[Attempt]]:
    """Record the jobs that this folder does not know yet, and cancel those that are not needed.

    Args:
        experiment: The experiment.
        jobs: Jobs on the service, oldest first.
        batch_of: Returns the batch of an id.

    Returns:
        Their attempts, all of one job together: each is to be collected, needed or not, so that
        what it was charged is known.
    """
    noted = []
    for job in jobs:
        if experiment.ledger.knows(job.job_id):
            continue
        attempts = _expected(experiment, job) or _adopted(experiment, job, batch_of)
        if attempts:
            noted.append(attempts)
        else:
            _log.warning("job %s has tags of this run, but other circuits; left alone", job.job_id)
    return noted


def _expected(experiment: Experiment, job: FoundJob) -> list[Attempt]:
    """Record the job of an attempt whose reply was lost."""
    tags = attempt_tags(job)
    for attempt in experiment.ledger.open_attempts():
        if attempt.job is None and attempt.tag in tags:
            experiment.journal.append(
                Submitted(
                    attempt.partition, attempt.number, attempt.batch, job.job_id, adopted=True
                )
            )
            return [attempt]
    return []


def _adopted(
    experiment: Experiment, job: FoundJob, batch_of: Callable[[str], RemoteBatch]
) -> list[Attempt]:
    """Record a job as attempts of their own, one for each piece of a partition in it."""
    ledger, attempts = experiment.ledger, list[Attempt]()
    pieces = [
        (piece, held.offset + (piece.first or 0) - (held.piece.first or 0))
        for held in pubs_in(experiment, job)
        for piece in _pieces_in(experiment, held.piece)
    ]
    if not pieces:
        return []
    kept = [ledger.job_of(piece) for piece, _ in pieces]
    is_foreign = {opened.batch: opened.is_foreign for opened in ledger.batches}
    if job.batch_id not in is_foreign:
        experiment.journal.append(BatchOpened(job.batch_id, "", is_foreign=True))
        number = len(ledger.batches) - 1
        for point in experiment.points:
            point.store.write_batch(number, None, None, batch_id=job.batch_id, follows=None)
    tag = next(iter(attempt_tags(job)), "")
    for piece, offset in pieces:
        number = ledger.next_number(piece.partition)
        where = (piece.partition, number, job.batch_id, tag, job.job_id)
        experiment.journal.append(
            Adopted(*where, first=piece.first, stop=piece.stop, offset=offset)
        )
        attempts.append(ledger.attempts[piece.partition][-1])
    if kept[0] is not None and None not in kept:
        _drop(
            experiment,
            job,
            attempts[0],
            kept[0],
            None if is_foreign.get(job.batch_id, True) else batch_of(job.batch_id),
        )
    return attempts


def _pieces_in(experiment: Experiment, held: Piece) -> list[Piece]:
    """Return the pieces that a job holds, after a cut where it has only some PUBs of one."""
    assert held.first is not None
    assert held.stop is not None
    for piece in experiment.ledger.pieces(held.partition):
        cut(experiment, piece, held.first, held.stop)
    pieces = experiment.ledger.pieces(held.partition)
    if pieces == [Piece(held.partition)]:
        return pieces
    return [one for one in pieces if one.first is not None and held.first <= one.first < held.stop]


def _drop(
    experiment: Experiment, job: FoundJob, attempt: Attempt, kept: str, batch: RemoteBatch | None
) -> None:
    """Cancel a job that is not needed, unless it has ended or another folder waits for it."""
    action = "had ended"
    if batch is None:
        action = "left alone: another copy of this folder submitted it"
    elif job.state not in FINAL_STATES:
        try:
            Patience(experiment).call(lambda: batch.cancel_job(job.job_id))
            action = "asked to be cancelled"
        except EngineError as error:
            action = f"not cancelled: {error}"
    experiment.journal.append(
        Duplicate(attempt.partition, attempt.number, job.job_id, kept, action)
    )
    experiment.observer.warned(
        f"partition {attempt.partition} exists twice on the service: job {kept} is kept, job "
        f"{job.job_id} is not needed ({action}); what it is charged counts as usage of this run"
    )
