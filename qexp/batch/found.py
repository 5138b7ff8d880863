"""Jobs of an experiment that are found on the service: noted as attempts, once, by what they hold.

A job may be there that this folder knows nothing of: its reply or its line of the journal was lost,
a proxy sent it twice, or another copy of the folder submitted it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from qexp.batch.errands import Errands
from qexp.batch.pacing import Patience
from qexp.batch.request import Held, attempt_tags, cut, pubs_in
from qexp.core.model import FINAL_STATES, FoundJob
from qexp.core.protocols import RemoteBatch
from qexp.journal.events import Adopted, BatchOpened, Duplicate, Submitted
from qexp.journal.ledger import Piece
from qexp.points import Experiment

_log = logging.getLogger(__name__)


def look_up(
    experiment: Experiment, find: Callable[[], Sequence[FoundJob]], patience: Patience
) -> Sequence[FoundJob]:
    """Return the jobs with a tag; ask twice, because a new job may take a moment to be listed.

    Raises:
        StopRequested, EngineError: As `Patience.call`.
    """
    found = patience.call(find)
    if not found:
        experiment.pause(experiment.clock.settle_s)
        found = patience.call(find)
    return found


def note_found(experiment: Experiment, jobs: Sequence[FoundJob]) -> list[str]:
    """Record what this folder does not know yet of jobs with its tag; return the ids of those."""
    return [
        job.job_id
        for job in jobs
        if _note_expected(experiment, job) or _note_adopted(experiment, job)
    ]


def drop_if_spare(
    experiment: Experiment,
    job: FoundJob,
    batch_of: Callable[[str], RemoteBatch],
    errands: Errands,
) -> None:
    """Cancel a job that is not needed, unless it has ended or another folder waits for it.

    Where cancelling fails, it is an errand: tried again while other jobs are collected.
    """
    ledger = experiment.ledger
    if job.job_id in ledger.duplicates or not ledger.is_spare(job.job_id):
        return
    attempt = ledger.attempts_with(job.job_id)[0]
    kept = ledger.job_of(ledger.pieces_of(attempt.piece)[0])

    def note(action: str) -> None:
        experiment.journal.append(
            Duplicate(attempt.partition, attempt.number, job.job_id, str(kept), action)
        )
        experiment.observer.warned(
            f"partition {attempt.partition} exists twice on the service: job {kept} is kept, job "
            f"{job.job_id} is not needed ({action}); what it is charged counts as usage of this run"
        )

    def cancel() -> None:
        batch_of(attempt.batch).cancel_job(job.job_id)
        note("asked to be cancelled")

    if attempt.batch not in ledger.own_batches:
        note("left alone: another copy of this folder submitted it")
    elif job.state in FINAL_STATES:
        note("had ended")
    else:
        doing = f"cancelling job {job.job_id}"
        errands.run(doing, cancel, lambda error: note(f"not cancelled: {error}"))


def _note_expected(experiment: Experiment, job: FoundJob) -> bool:
    """Record the job of an attempt whose reply was lost; return False if it is of none."""
    tags, was_expected = attempt_tags(job), False
    for attempt in experiment.ledger.open_attempts():
        # The attempts of a copy of this folder have the same tags, but in its own batches.
        is_its_batch = job.batch_id in ("", attempt.batch)
        if attempt.job is None and attempt.tag in tags and is_its_batch:
            number, batch = attempt.number, attempt.batch
            experiment.journal.append(
                Submitted(attempt.partition, number, batch, job.job_id, adopted=True)
            )
            was_expected = True
    return was_expected


def _note_adopted(experiment: Experiment, job: FoundJob) -> bool:
    """Record a job as attempts of their own, one for each piece of a partition in it.

    A process that was killed may have recorded some of them; return False if it has all.
    """
    ledger, known = experiment.ledger, experiment.ledger.attempts_with(job.job_id)
    # A repaired journal may lack some of the attempts that share a job of a sweep.
    is_known = any(not attempt.is_adopted for attempt in known) and not experiment.is_sweep
    if job.job_id in ledger.duplicates or is_known:
        return False
    pubs = pubs_in(experiment, job)
    if not pubs and not known:
        _log.warning("job %s has tags of this run, but other circuits; left alone", job.job_id)
    missing = [
        (piece, offset)
        for piece, offset in _pieces_in(experiment, pubs)
        if not any(
            piece.is_part_of(attempt.piece)
            for attempt in known
            if attempt.partition == piece.partition
        )
    ]
    known_batches = {"", *(opened.batch for opened in ledger.batches)}
    if missing and job.batch_id not in known_batches:
        lane = experiment.point_of(missing[0][0].partition).lane
        experiment.journal.append(BatchOpened(job.batch_id, "", is_foreign=True, point=lane))
    tag = next(iter(attempt_tags(job)), "")
    for piece, offset in missing:
        number = ledger.next_number(piece.partition)
        where = (piece.partition, number, job.batch_id, tag, job.job_id)
        experiment.journal.append(
            Adopted(*where, first=piece.first, stop=piece.stop, offset=offset)
        )
    return bool(missing)


def _pieces_in(experiment: Experiment, pubs: Sequence[Held]) -> Iterator[tuple[Piece, int]]:
    """Yield the pieces that a job holds and their positions in it.

    A partition of which it has only some PUBs is cut.
    """
    for held in pubs:
        first, stop = held.piece.first, held.piece.stop
        assert first is not None
        assert stop is not None
        cut(experiment, held.piece.partition, first, stop)
        for piece in experiment.ledger.pieces_of(held.piece):
            yield piece, held.offset + (first if piece.first is None else piece.first) - first
