"""Watch the jobs in flight, in any number of batches, and store each outcome as it comes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from qexp.archive.header import Calibrations
from qexp.batch.budget import Budget
from qexp.batch.errands import Errands
from qexp.batch.found import drop_if_spare, note_found
from qexp.batch.outcome import outcomes_of
from qexp.batch.pacing import Patience
from qexp.batch.request import make_request
from qexp.core.model import (
    FINAL_STATES,
    Charge,
    FoundJob,
    JobOutcome,
    JobState,
    Progress,
    is_charge_pending,
)
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine, SimulatedBatch
from qexp.errors import ArchiveError, LostJobError, UndeliveredError, UnfinishedError
from qexp.journal.events import Collected
from qexp.points import Experiment
from qexp.redact import redactor

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0
_REFETCH_SLICE_S = 5.0


@dataclass
class _InFlight:
    """A job that is submitted, but not collected."""

    batch: Batch
    not_before_s: float = 0.0
    patience: Patience | None = None  # None until its outcome could not be had


@dataclass
class Collector:
    """Collects the jobs of an experiment that are in flight; tells its budget, if it has one."""

    experiment: Experiment
    budget: Budget | None = None
    _in_flight: dict[str, _InFlight] = field(default_factory=dict)
    _errors: list[Exception] = field(default_factory=list)
    _batches: dict[str, Batch] = field(default_factory=dict)
    _deadline_s: float | None = None

    def __post_init__(self) -> None:
        self.errands = Errands(self.experiment)
        self._calibrations = Calibrations(redactor())
        if self.experiment.policy.deadline_s is not None:
            self._deadline_s = self.experiment.clock.now_s() + self.experiment.policy.deadline_s

    @property
    def pending(self) -> int:
        """Number of jobs in flight: submitted, but with no outcome on disk."""
        return len(self._in_flight)

    def add_batch(self, batch: Batch) -> None:
        """Add a batch that this process opened."""
        self._batches[batch.id] = batch

    def batch_of(self, batch_id: str) -> RemoteBatch:
        """Return a batch of the service; one of an earlier process is attached."""
        engine = self.experiment.engine
        if batch_id not in self._batches:
            assert isinstance(engine, RemoteEngine)
            lane = self.experiment.lane_of(batch_id)
            backend = self.experiment.backend_of(lane)
            self._batches[batch_id] = engine.attach_batch(backend, batch_id)
        batch = self._batches[batch_id]
        assert isinstance(batch, RemoteBatch)
        return batch

    def watch(self, batch: Batch, job_id: str) -> None:
        """Collect a job once it has ended; the ledger knows its attempts."""
        self._in_flight[job_id] = _InFlight(batch)
        if self.budget is not None:
            self.budget.note(self.experiment.ledger.attempts_with(job_id), {})

    def adopt(self, job_id: str) -> None:
        """Watch a job that this process has not submitted."""
        attempts = self.experiment.ledger.attempts_with(job_id)
        batch = self.batch_of(attempts[0].batch)
        held = {attempt.piece: attempt.number for attempt in attempts}
        batch.adopt(job_id, make_request(self.experiment, held))
        self.watch(batch, job_id)
        for attempt in attempts:
            self.experiment.observer.job_adopted(attempt.partition, job_id)

    def adopt_found(self, jobs: Iterable[FoundJob]) -> None:
        """Record and watch the jobs on the service that nobody has recorded yet.

        Each is collected, needed or not, so that what it was charged is known; those that are not
        needed are cancelled.
        """
        listed = sorted(jobs, key=lambda job: job.created)
        for job_id in note_found(self.experiment, listed):
            self.adopt(job_id)
        for job in listed:
            if job.job_id in self._in_flight:
                drop_if_spare(self.experiment, job, self.batch_of, self.errands)

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
        simulated = [batch for batch in self._active() if isinstance(batch, SimulatedBatch)]
        progress = sum((batch.progress() for batch in simulated), Progress())
        experiment.observer.jobs_moved(Counter(states.values()), progress)
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

    def collect_final(self) -> list[str]:
        """Collect the jobs that are final now, even though the experiment was asked to stop.

        Return those of which the outcome could not be had yet.

        Raises:
            EngineError, ArchiveError: As `collect_all`.
        """
        states = {job: state for batch in self._active() for job, state in batch.states().items()}
        final = [job_id for job_id in self._in_flight if states.get(job_id) in FINAL_STATES]
        for job_id in final:
            self._collect(job_id)
        return [job_id for job_id in final if job_id in self._in_flight]

    def collect_ended(self) -> None:
        """Collect the jobs that have ended, each with patience, and wait for no other.

        Raises:
            StopRequested: The experiment was asked to stop.
            EngineError, ArchiveError: As `collect_all`.
        """
        experiment = self.experiment
        while postponed := Patience(experiment).call(self.collect_final):
            until_s = min(self._in_flight[job_id].not_before_s for job_id in postponed)
            experiment.pause(max(0.0, until_s - experiment.clock.now_s()))

    def check_deadline(self) -> None:
        """Raise `UnfinishedError` if `execution.deadline` has passed."""
        if self._deadline_s is not None and self.experiment.clock.now_s() >= self._deadline_s:
            first, more = list(self._in_flight)[:3], ", ..." if self.pending > 3 else ""
            left = f"{len(self.experiment.left())} jobs are still to be submitted"
            if self.pending:
                left = f"{self.pending} jobs are still in flight ({', '.join(first)}{more})"
            raise UnfinishedError(f"execution.deadline is reached and {left}")

    def _active(self) -> list[Batch]:
        return list({id(job.batch): job.batch for job in self._in_flight.values()}.values())

    def _states(self) -> dict[str, JobState]:
        states: dict[str, JobState] = {}
        for batch in self._active():
            patience = Patience(self.experiment)
            states.update(patience.call(batch.states, meanwhile=self.check_deadline))
            if isinstance(batch, RemoteBatch):
                self.adopt_found(batch.strays())
        return states

    def _collect(self, job_id: str) -> None:
        job = self._in_flight[job_id]
        try:
            outcome = job.batch.collect(job_id)
        except (UndeliveredError, LostJobError) as error:
            _log.warning("job %s is asked for again: %s", job_id, error)
            if self._is_needed(job_id) and self._postpone(job, error):
                return
            outcome = _failed(job_id, error)
        except Exception as error:
            # The service failed, or the client could not parse its reply.
            _log.warning("job %s could not be collected yet", job_id, exc_info=True)
            if not self._postpone(job, error):
                del self._in_flight[job_id]
                self._errors.append(error)
            return
        self._keep(job_id, outcome)

    def _is_needed(self, job_id: str) -> bool:
        """Return True unless other jobs have given every result that this one may give."""
        ledger = self.experiment.ledger
        return not all(ledger.has_result(one.piece) for one in ledger.attempts_with(job_id))

    def _postpone(self, job: _InFlight, error: Exception) -> bool:
        """Schedule another fetch after the others; return False once `outage_s` has passed."""
        job.patience = job.patience or Patience(self.experiment)
        delay_s = job.patience.next_delay_s(error)
        if delay_s is None:
            return False
        job.not_before_s = self.experiment.clock.now_s() + delay_s
        return True

    def _keep(self, job_id: str, outcome: JobOutcome) -> None:
        """Store the outcome of each attempt of a job, then record it in the journal."""
        experiment = self.experiment
        attempts = experiment.ledger.attempts_with(job_id)
        charged: dict[tuple[int, int], Charge] = {}
        for attempt, part in outcomes_of(experiment, attempts, outcome):
            point = experiment.point_of(attempt.partition)
            try:
                if not point.is_sealed:
                    point.write_job(part, self._calibrations)
            except ArchiveError:
                _log.error("job %s was not stored", job_id, exc_info=True)
                raise
            experiment.journal.append(
                Collected(attempt.partition, attempt.number, job_id, part.state, part.failure)
            )
            charge = part.usage_s or 0.0, is_charge_pending(part.metrics)
            charged[attempt.partition, attempt.number] = charge
            # The result is on disk; an observer must not keep it in memory.
            shown = replace(part, result=None, raw=None)
            if experiment.ledger.is_wanted(attempt.piece, experiment.policy):
                experiment.observer.attempt_failed(shown)
            elif part.failure != "duplicate":
                experiment.observer.job_collected(shown)
            if part.state == "DONE" and experiment.is_measured(point):
                experiment.observer.point_measured(point.index)
        del self._in_flight[job_id]
        if self.budget is not None:
            self.budget.note(attempts, charged)


def _failed(job_id: str, error: UndeliveredError | LostJobError) -> JobOutcome:
    """Return the outcome of a job of which nothing could be had."""
    has_run = isinstance(error, UndeliveredError)
    return JobOutcome(
        job_id,
        0,
        "ERROR",
        result=None,
        error=str(error),
        metrics=error.metrics if isinstance(error, UndeliveredError) else {},
        info={"service_state": "DONE"} if has_run else {},
        failure="undelivered" if has_run else "lost",
    )
