"""Run the jobs of an experiment that have no result yet.

The crash protocol, in the order in which it happens. A process that is killed between any two
steps leaves in the journal, on disk and on the service all that the next one needs for step 1.

1. The state that earlier processes left is recovered (`recover`): jobs on the service are found
   by id or tag and adopted, and attempts that have no job end.
2. A batch is opened; its id is in the journal before its first job is submitted.
3. Each partition that has neither a result nor a job that is out is submitted (`submit`): its
   unique tag is in the journal before the job exists, the job's id right after.
4. The batch is closed: it takes no more jobs, and those that were submitted still run.
5. Each job that ends is collected (`collect`): its outcome is on disk before the journal says so.
6. Partitions that failed and may be tried again go through 2 to 5 once more, in a batch that is
   linked to the one before.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from qexp.batch.collect import Collector
from qexp.batch.pacing import Patience
from qexp.batch.recover import reattach
from qexp.batch.submit import Submitter
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import BusyError, EngineError, UnclearError
from qexp.journal.ledger import BatchClosed, BatchOpened
from qexp.points import Experiment, Stopped

_log = logging.getLogger(__name__)


def execute(experiment: Experiment) -> None:
    """Go on until nothing is left that may be submitted or, unless it stops then, collected.

    Args:
        experiment: The experiment, planned and with its backend selected.

    Raises:
        Stopped: The experiment was asked to stop, and has.
        UnfinishedError: The deadline is reached; jobs are still out.
        EngineError: The service was out of reach for too long, or takes no more jobs.
        ArchiveError: Something cannot be written, or a part is damaged.
        KeyboardInterrupt: It was asked to stop twice, and did so at once.
    """
    collector, batches = Collector(experiment), _Batches(experiment)
    try:
        batches.take_over(reattach(experiment, collector))
        if collector.pending:
            # Jobs that were paid for come before jobs that are to be paid for.
            with _logging_errors("jobs that have ended could not be collected yet"):
                collector.collect_final()
        while True:
            denied = _submit_wanted(experiment, collector, batches)
            if experiment.stop_after != "submit":
                collector.collect_all()
            if denied is not None:
                raise denied
            if not _may_go_on(experiment):
                break
        if experiment.stop_after != "submit":
            batches.finish()
    except Stopped:
        _stop(experiment, collector, batches)
        raise
    except KeyboardInterrupt:
        if experiment.interrupts.is_set():
            # The second signal: leave at once.
            batches.abandon()
            raise
        # In a thread, where signals are not noted, it is raised from outside.
        _stop(experiment, collector, batches)
        raise Stopped from None
    except Exception:
        batches.abandon()
        raise


def _may_go_on(experiment: Experiment) -> bool:
    """Return True if partitions are still to be submitted, and another batch is allowed."""
    policy, ledger = experiment.policy, experiment.ledger
    allowed = 1 + policy.follow_ups + policy.retries
    return bool(ledger.wanted(policy)) and ledger.batches_of_session < allowed


def _submit_wanted(
    experiment: Experiment, collector: Collector, batches: _Batches
) -> EngineError | None:
    """Submit the wanted partitions in one batch, and close it.

    Returns:
        The error after which no job is taken any more (quota, authorisation), or None.
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
        denied = Submitter(experiment, batch, collector).submit_all(wanted)
    finally:
        batches.close(batch)
    if isinstance(batch, RemoteBatch):
        with _logging_errors("the length of the backend's queue is not known"):
            length = batch.queue_length()
            if length is not None:
                experiment.observer.queue_seen(length)
    return denied


def _stop(experiment: Experiment, collector: Collector, batches: _Batches) -> None:
    """Stop as `execution.on_interrupt` says; jobs that have ended here are kept in any case."""
    cancels = experiment.policy.on_interrupt == "cancel"
    if cancels:
        for batch in batches.held:
            with _logging_errors(f"the jobs of batch {batch.id} could not be cancelled"):
                batch.cancel()
    if cancels or not isinstance(experiment.engine, RemoteEngine):
        with _logging_errors("jobs that have ended could not be collected"):
            collector.collect_final()
    batches.abandon()


@dataclass
class _Batches:
    """The batches that this process opened, and those of earlier ones with jobs that are out."""

    experiment: Experiment
    held: list[Batch] = field(default_factory=list)

    def open(self, collector: Collector) -> Batch:
        """Open the next batch; it is in the journal when this returns."""
        experiment = self.experiment
        earlier = experiment.ledger.batches
        follows = earlier[-1].batch if earlier else None

        def open_one() -> Batch:
            experiment.raise_if_stopped()
            return experiment.engine.open_batch(
                experiment.backend, max_time_s=experiment.max_time_s, workers=experiment.workers
            )

        # A batch that was opened without our knowing it stays empty and costs nothing.
        batch = Patience(experiment).ask(
            open_one, (BusyError, UnclearError), meanwhile=collector.check_deadline
        )
        self.held.append(batch)
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
        """Hold the batches of earlier processes with jobs that are out; close them all.

        Those of a process that was killed would wait there for more jobs.
        """
        for batch in earlier:
            self.close(batch)
        with_jobs = {attempt.batch for attempt in self.experiment.ledger.open()}
        self.held += [batch for batch in earlier if batch.id in with_jobs]

    def close(self, batch: Batch) -> None:
        """Close a batch, and say so in the journal. No job is lost if that fails."""
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

    def finish(self) -> None:
        """Close the batches that could not be closed before, and store each one's details."""
        for batch in self.held:
            self.close(batch)
            with _logging_errors(f"the final details of batch {batch.id} are not known"):
                self._store(batch, final=batch.details())

    def abandon(self) -> None:
        """Close the batches, and stop what would end with this process."""
        for batch in self.held:
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
    """Log an error of the service and go on."""
    try:
        yield
    except EngineError as error:
        _log.warning("%s: %s", consequence, error)
