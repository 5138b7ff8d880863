"""Run the jobs of an experiment that have no result yet.

The crash protocol, in the order in which it happens. A process that is killed between any two
steps leaves in the journal, on disk and on the service all that the next process needs for step 1.

1. The state that earlier processes left is recovered (`recover`): jobs on the service are found
   by id or tag and adopted; attempts without a job are closed.
2. A batch is opened; its id is in the journal before its first job is submitted.
3. Each partition that has neither a result nor a job in flight is submitted (`submit`): its unique
   tag is in the journal before the job exists, the job's id right after.
4. The batch is closed: it accepts no more jobs, but submitted ones still run.
5. Each job that ends is collected (`collect`): its outcome is on disk before the journal says so.
6. Partitions that failed and may be tried again go through 2 to 5 once more, in a batch that is
   linked to the previous one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qexp.batch.collect import Collector
from qexp.batch.pacing import Patience
from qexp.batch.recover import reattach
from qexp.batch.request import planned_piece, run_tag
from qexp.batch.submit import Submitter
from qexp.core.model import FINAL_STATES
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import BusyError, EngineError, UnclearError
from qexp.journal.ledger import BatchClosed, BatchOpened, Cancelled
from qexp.points import Experiment, StopRequested

_log = logging.getLogger(__name__)


def execute(experiment: Experiment) -> None:
    """Submit and collect until nothing is left.

    With `stop_after=submit`, return once everything is submitted.

    Args:
        experiment: The experiment, planned and with its backend selected.

    Raises:
        StopRequested: The experiment was asked to stop, and has.
        UnfinishedError: The deadline is reached; jobs are still in flight.
        EngineError: The service was out of reach for too long, or accepts no more jobs.
        ArchiveError: Something cannot be written, or a part is damaged.
        KeyboardInterrupt: It was asked twice to stop, and stopped at once.
    """
    collector, batches = Collector(experiment), _Batches(experiment)
    try:
        batches.take_over(reattach(experiment, collector))
        if collector.pending:
            # Collect what is already paid for before submitting more.
            with _logging_errors("jobs that have ended could not be collected yet"):
                collector.collect_final()
        _announce_repetitions(experiment)
        while True:
            fatal = _submit_wanted(experiment, collector, batches)
            if experiment.stop_after != "submit":
                collector.collect_all()
                _collect_late(experiment, collector)
            if fatal is not None:
                raise fatal
            if not _is_another_batch_allowed(experiment):
                break
        if experiment.stop_after != "submit":
            batches.finish(collector)
    except StopRequested:
        _stop(experiment, collector, batches)
        raise
    except KeyboardInterrupt:
        if experiment.interrupts.is_set():
            # The second signal: leave at once.
            batches.abandon()
            raise
        # Outside the main thread no handler is installed, so this came from elsewhere.
        _stop(experiment, collector, batches)
        raise StopRequested from None
    except Exception:
        batches.abandon()
        raise


def collect_finished(experiment: Experiment) -> None:
    """Collect the jobs that are finished; wait for none, and submit nothing.

    Raises:
        As `execute`.
    """
    collector, batches = Collector(experiment), _Batches(experiment)
    batches.take_over(reattach(experiment, collector))
    Patience(experiment).call(collector.collect_final)
    batches.finish(collector)


def cancel(experiment: Experiment) -> None:
    """Cancel what is queued, close every batch, and collect what is final.

    Jobs that are running keep running, to be collected later. From the first moment on, nobody but
    a user who names the run submits anything of it again.

    Raises:
        As `execute`.
    """
    experiment.journal.append(Cancelled())
    collector, batches = Collector(experiment), _Batches(experiment)
    batches.take_over(reattach(experiment, collector))
    is_settled = True
    for batch in batches.active:
        Patience(experiment).call(batch.cancel)
        for job_id, state in Patience(experiment).call(batch.states).items():
            # Cancelling a batch is silent about one that the service no longer knows.
            if isinstance(batch, RemoteBatch) and state not in (*FINAL_STATES, "RUNNING"):
                Patience(experiment).call(partial(batch.cancel_job, job_id))
                is_settled = False
    if not is_settled:
        experiment.pause(experiment.clock.settle_s)
    Patience(experiment).call(collector.collect_final)
    batches.finish(collector)


def _announce_repetitions(experiment: Experiment) -> None:
    """Tell the observer which partitions are about to be submitted again, and what that costs.

    `execution.retries` bounds what a process repeats by itself; to resume a run by its name is the
    user's own decision to try again what failed in an earlier one.
    """
    ledger = experiment.ledger
    again = [piece for piece in ledger.wanted(experiment.policy) if ledger.attempts_of(piece)]
    if again and experiment.engine.uses_qpu:
        stored = [point.store.charges() for point in experiment.points]
        charges = {key: seconds for point in stored for key, (seconds, _) in point.items()}
        charged_s = {
            index: sum(charges.get((index, one.number), 0.0) for one in ledger.attempts[index])
            for index in {piece.partition for piece in again}
        }
        predicted_s = sum(planned_piece(experiment, piece).qpu_s for piece in again)
        experiment.observer.trying_again(charged_s, predicted_s)


def _is_another_batch_allowed(experiment: Experiment) -> bool:
    """Return True if partitions are still to be submitted, and another batch is allowed.

    `Ledger.is_wanted` and `ExecutionPolicy.allows_again` decide which partitions are submitted.
    """
    policy, ledger = experiment.policy, experiment.ledger
    return bool(ledger.wanted(policy)) and ledger.batches_of_process < policy.max_batches


def _collect_late(experiment: Experiment, collector: Collector) -> None:
    """Collect the jobs of the run that the service lists only now: sent twice on their way."""
    own = [opened.batch for opened in experiment.ledger.batches if not opened.is_foreign]
    if not own or not isinstance(experiment.engine, RemoteEngine):
        return
    batch = collector.batch_of(own[-1])
    find = partial(batch.find, run_tag(experiment.id))
    collector.adopt_found(Patience(experiment).call(find))
    collector.collect_all()


def _submit_wanted(
    experiment: Experiment, collector: Collector, batches: _Batches
) -> EngineError | None:
    """Submit the wanted partitions in one batch, and close it.

    Returns:
        The error that rules out further submissions (quota, authorisation), or None.
    """
    wanted = experiment.ledger.wanted(experiment.policy)
    if not wanted:
        return None
    try:
        batch = batches.open(collector)
    except EngineError as error:
        if not collector.pending:
            raise
        return error
    try:
        fatal = Submitter(experiment, batch, collector).submit_all(wanted)
    finally:
        batches.close(batch)
    if isinstance(batch, RemoteBatch):
        with _logging_errors("the length of the backend's queue is not known"):
            length = batch.queue_length()
            if length is not None:
                experiment.observer.queue_seen(length)
    return fatal


def _stop(experiment: Experiment, collector: Collector, batches: _Batches) -> None:
    """Stop as `execution.on_interrupt` says.

    Finished jobs of a local engine are always collected, since they end with this process.
    """
    cancels = experiment.policy.on_interrupt == "cancel"
    if cancels:
        for batch in batches.active:
            with _logging_errors(f"the jobs of batch {batch.id} could not be cancelled"):
                batch.cancel()
    if cancels or not isinstance(experiment.engine, RemoteEngine):
        with _logging_errors("jobs that have ended could not be collected"):
            collector.collect_final()
    batches.abandon()


@dataclass
class _Batches:
    """The batches that this process opened, and earlier ones with jobs in flight."""

    experiment: Experiment
    active: list[Batch] = field(default_factory=list)

    def open(self, collector: Collector) -> Batch:
        """Open the next batch, and record it in the journal."""
        experiment = self.experiment
        earlier = experiment.ledger.batches
        follows = earlier[-1].batch if earlier else None

        def open_one() -> Batch:
            experiment.raise_if_stopped()
            return experiment.engine.open_batch(
                experiment.backend, max_time_s=experiment.max_time_s, workers=experiment.workers
            )

        # If the reply was lost, the batch that it opened stays empty and costs nothing.
        batch = Patience(experiment).call(
            open_one, (BusyError, UnclearError), meanwhile=collector.check_deadline
        )
        self.active.append(batch)
        collector.enter(batch)
        experiment.journal.append(
            BatchOpened(batch.id, secrets.token_hex(8), follows, experiment.max_time_s)
        )
        experiment.observer.batch_opened(batch.id)
        details = None
        with _logging_errors("the details of the batch are not known"):
            details = batch.details()
        self._store(batch, opened=details)
        return batch

    def take_over(self, earlier: Sequence[Batch]) -> None:
        """Close every batch of an earlier process; keep those with jobs in flight.

        A process that was killed left its batch open.
        """
        for batch in earlier:
            self.close(batch)
        with_jobs = {attempt.batch for attempt in self.experiment.ledger.open_attempts()}
        self.active += [batch for batch in earlier if batch.id in with_jobs]

    def close(self, batch: Batch) -> None:
        """Close a batch, and record that in the journal. No job is lost if that fails."""
        if batch.id in self.experiment.ledger.closed:
            return
        try:
            batch.close()
        except EngineError as error:
            self.experiment.observer.warned(
                f"batch {batch.id} could not be closed, it ends by itself at its max_time: {error}"
            )
            return
        self.experiment.journal.append(BatchClosed(batch.id))

    def finish(self, collector: Collector) -> None:
        """Close the batches that could not be closed before, and store the details of each."""
        for batch in self.active:
            self.close(batch)
        opened = self.experiment.ledger.batches
        foreign = [collector.batch_of(one.batch) for one in opened if one.is_foreign]
        for batch in (*self.active, *foreign):
            with _logging_errors(f"the final details of batch {batch.id} are not known"):
                self._store(batch, final=batch.details())

    def abandon(self) -> None:
        """Close the batches and terminate local jobs; remote jobs keep running."""
        for batch in self.active:
            with _logging_errors(f"batch {batch.id} could not be closed"):
                batch.abandon()

    def _store(
        self,
        batch: Batch,
        opened: Mapping[str, Any] | None = None,
        final: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a batch to the parts of every point; details that are None stay as they were."""
        number, event = next(
            (number, event)
            for number, event in enumerate(self.experiment.ledger.batches)
            if event.batch == batch.id
        )
        for point in self.experiment.points:
            point.store.write_batch(number, opened, final, batch_id=batch.id, follows=event.follows)


@contextmanager
def _logging_errors(consequence: str) -> Iterator[None]:
    """Log an error of the service, and continue."""
    try:
        yield
    except EngineError as error:
        _log.warning("%s: %s", consequence, error)
