"""Watch the jobs in flight, in any number of batches, and store each outcome as it comes."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace

from qexp.batch.pacing import Patience
from qexp.core.model import FINAL_STATES, FailureKind, FoundJob, JobOutcome, JobState
from qexp.core.protocols import Batch, RemoteBatch
from qexp.errors import ArchiveError, EngineError, LostJobError, UndeliveredError, UnfinishedError
from qexp.journal.ledger import Attempt, Collected, Duplicate
from qexp.points import Experiment

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0
_REFETCH_SLICE_S = 5.0


@dataclass
class _InFlight:
    """A job that is submitted, but not collected."""

    batch: Batch
    attempt: Attempt
    not_before_s: float = 0.0
    patience: Patience | None = None


@dataclass
class Collector:
    """Collects the jobs of an experiment that are in flight."""

    experiment: Experiment
    _in_flight: dict[str, _InFlight] = field(default_factory=dict)
    _errors: list[Exception] = field(default_factory=list)
    _strays: set[str] = field(default_factory=set)
    _deadline_s: float | None = None

    def __post_init__(self) -> None:
        if self.experiment.policy.deadline_s is not None:
            self._deadline_s = self.experiment.clock.now_s() + self.experiment.policy.deadline_s

    @property
    def pending(self) -> int:
        """Number of jobs in flight: submitted, but with no outcome on disk."""
        return len(self._in_flight)

    def watch(self, batch: Batch, attempt: Attempt) -> None:
        """Collect the job of an attempt once it has ended."""
        assert attempt.job is not None
        self._in_flight[attempt.job] = _InFlight(batch, attempt)

    def collect_all(self) -> None:
        """Return when the outcome of every job is on disk.

        Raises:
            StopRequested: The experiment was asked to stop.
            UnfinishedError: The deadline is reached.
            EngineError: The service was out of reach for too long, or one job's outcome was; the
                others have been collected.
            ArchiveError: An outcome cannot be stored.
        """
        while self._in_flight:
            self.step()
        if self._errors:
            raise self._errors[0]

    def step(self, timeout_s: float = _LONGEST_WAIT_S) -> None:
        """Ask for the states once; collect jobs that are final, else wait at most `timeout_s`.

        Raises:
            StopRequested, UnfinishedError, EngineError, ArchiveError: As `collect_all`.
        """
        experiment = self.experiment
        experiment.raise_if_stopped()
        states = self._states()
        experiment.observer.jobs_moved(Counter(states.values()))
        final = [job_id for job_id in self._in_flight if states.get(job_id) in FINAL_STATES]
        now_s = experiment.clock.now_s()
        delays_s = {job_id: self._in_flight[job_id].not_before_s - now_s for job_id in final}
        ready = [job_id for job_id in final if delays_s[job_id] <= 0]
        for job_id in ready:
            experiment.raise_if_stopped()
            self._collect(job_id)
        if self._in_flight and not ready:
            self.check_deadline()
            if final:
                experiment.pause(min(timeout_s, _REFETCH_SLICE_S, *delays_s.values()))
                return
            # All batches share one engine, so waiting on any of them suffices.
            batch = next(iter(self._in_flight.values())).batch
            batch.wait(timeout_s, experiment.interrupts.is_set)

    def collect_final(self) -> None:
        """Collect the jobs that are final now, even though the experiment was asked to stop.

        Raises:
            EngineError, ArchiveError: As `collect_all`.
        """
        states = {job: state for batch in self._batches() for job, state in batch.states().items()}
        for job_id in [job for job in self._in_flight if states.get(job) in FINAL_STATES]:
            self._collect(job_id)

    def check_deadline(self) -> None:
        """Raise `UnfinishedError` if `execution.deadline` has passed."""
        if self._deadline_s is not None and self.experiment.clock.now_s() >= self._deadline_s:
            first, more = list(self._in_flight)[:3], ", ..." if self.pending > 3 else ""
            left = f"{len(self.experiment.left_to_submit)} jobs are still to be submitted"
            if self.pending:
                left = f"{self.pending} jobs are still in flight ({', '.join(first)}{more})"
            raise UnfinishedError(f"execution.deadline is reached and {left}")

    def _batches(self) -> list[Batch]:
        return list({id(job.batch): job.batch for job in self._in_flight.values()}.values())

    def _states(self) -> dict[str, JobState]:
        states: dict[str, JobState] = {}
        for batch in self._batches():
            patience = Patience(self.experiment)
            states.update(patience.call(batch.states, meanwhile=self.check_deadline))
            if isinstance(batch, RemoteBatch):
                for stray in batch.strays():
                    self._drop_stray(batch, stray)
        return states

    def _drop_stray(self, batch: RemoteBatch, stray: FoundJob) -> None:
        """Drop an unknown job that carries one of this run's tags: sent twice, or listed late."""
        if stray.job_id in self._strays:
            return
        self._strays.add(stray.job_id)
        for attempt in self.experiment.ledger.all_attempts():
            if attempt.tag in stray.tags:
                drop_duplicate(self.experiment, batch, attempt, stray)
                return

    def _collect(self, job_id: str) -> None:
        job = self._in_flight[job_id]
        try:
            outcome = job.batch.collect(job_id)
        except UndeliveredError as error:
            _log.warning("job %s is fetched again: %s", job_id, error)
            if self._postpone(job, error):
                return
            outcome = replace(
                _failed(job_id, job.attempt, error, "undelivered"), info={"service_state": "DONE"}
            )
        except LostJobError as error:
            outcome = _failed(job_id, job.attempt, error, "lost")
        except Exception as error:
            # The service failed, or the client could not parse its reply.
            _log.warning("job %s could not be collected yet", job_id, exc_info=True)
            if not self._postpone(job, error):
                del self._in_flight[job_id]
                self._errors.append(error)
            return
        self._keep(job_id, outcome)

    def _postpone(self, job: _InFlight, error: Exception) -> bool:
        """Schedule another fetch after the others; return False once `outage_s` has passed."""
        job.patience = job.patience or Patience(self.experiment)
        delay_s = job.patience.next_delay_s(error)
        if delay_s is None:
            return False
        job.not_before_s = self.experiment.clock.now_s() + delay_s
        return True

    def _keep(self, job_id: str, outcome: JobOutcome) -> None:
        """Store an outcome, then record it in the journal."""
        experiment, attempt = self.experiment, self._in_flight[job_id].attempt
        outcome = replace(outcome, attempt=attempt.number, batch_id=attempt.batch)
        try:
            experiment.point_of(attempt.partition).store.write_job(outcome)
        except ArchiveError:
            _log.error("job %s was not stored", job_id, exc_info=True)
            raise
        experiment.journal.append(
            Collected(attempt.partition, attempt.number, job_id, outcome.state, outcome.failure)
        )
        del self._in_flight[job_id]
        # The result is on disk; an observer must not keep it in memory.
        outcome = replace(outcome, result=None)
        if experiment.ledger.is_wanted(attempt.partition, experiment.policy):
            experiment.observer.attempt_failed(outcome)
        else:
            experiment.observer.job_collected(outcome)


def drop_duplicate(
    experiment: Experiment, batch: RemoteBatch, attempt: Attempt, duplicate: FoundJob
) -> None:
    """Cancel a second job of an attempt, or leave its result alone if it has run; record it."""
    ledger = experiment.ledger
    kept = attempt.job or ledger.job_of(attempt.partition)
    if duplicate.job_id in ledger.duplicates or kept in (None, duplicate.job_id):
        return
    assert kept is not None
    own = {opened.batch for opened in ledger.batches}
    action = "dropped: it had ended"
    if duplicate.batch_id and duplicate.batch_id not in own:
        action = "left alone: it belongs to a batch that another copy of the run opened"
    elif duplicate.state not in FINAL_STATES:
        try:
            batch.cancel_job(duplicate.job_id)
            action = "cancelled"
        except EngineError as error:
            action = f"dropped: it could not be cancelled ({error})"
    experiment.journal.append(
        Duplicate(attempt.partition, attempt.number, duplicate.job_id, kept, action)
    )
    experiment.observer.warned(
        f"partition {attempt.partition} exists twice on the service: job {kept} is kept, "
        f"job {duplicate.job_id} is {action}"
    )


def _failed(job_id: str, attempt: Attempt, error: EngineError, failure: FailureKind) -> JobOutcome:
    return JobOutcome(
        job_id, attempt.partition, "ERROR", result=None, error=str(error), failure=failure
    )
