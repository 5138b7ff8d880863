"""Run the jobs of an experiment that have no result yet.

The crash protocol, in the order in which it happens. A process that is killed between any two
steps leaves in the journal, on disk and on the service all that the next process needs for step 1.

1. The state that earlier processes left is recovered (`recover`): jobs on the service are found
   by id or tag and adopted; attempts without a job are closed.
2. A batch is opened; its id is in the journal before its first job is submitted.
3. Each partition that has neither a result nor a job in flight is submitted (`submit`): its unique
   tag is in the journal before the job exists, the job's id right after.
4. The batch is closed: it accepts no more jobs, but submitted ones still run. Where that fails, it
   is tried again beside step 5, and by the next process.
5. Each job that ends is collected (`collect`): its outcome is on disk before the journal says so.
6. Partitions that failed and may be tried again go through 2 to 5 once more, in a batch that is
   linked to the previous one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qexp.batch.collect import Collector
from qexp.batch.errands import Errands
from qexp.batch.pacing import Patience
from qexp.batch.recover import reattach
from qexp.batch.submit import Submitter
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import ArchiveError, BusyError, EngineError, QexpError, UnclearError
from qexp.journal.ledger import BatchClosed, BatchOpened
from qexp.points import Experiment, StopRequested, resume_command

_log = logging.getLogger(__name__)

_QUEUE = "reading the length of the queue"


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
        while True:
            fatal = _submit_wanted(experiment, collector, batches)
            if experiment.stop_after != "submit":
                _collect(collector, batches)
            if fatal is not None:
                raise fatal
            if not _is_another_batch_allowed(experiment):
                break
        batches.finish(is_collected=experiment.stop_after != "submit")
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


def close_left_open(experiment: Experiment) -> None:
    """Close the batches that earlier processes opened on a service and could not close.

    Args:
        experiment: The experiment, with its backend selected.

    Raises:
        StopRequested: The experiment was asked to stop.
    """
    engine, batches = experiment.engine, _Batches(experiment)
    if isinstance(engine, RemoteEngine):
        for opened in experiment.ledger.batches:
            batches.close(engine.attach_batch(experiment.backend, opened.batch))
        batches.errands.finish()


def still_open(experiment: Experiment, batch_ids: Sequence[str], error: QexpError) -> str:
    """Say that batches could not be closed, what follows from that, and how to close them.

    Args:
        experiment: The experiment that opened them.
        batch_ids: At least one.
        error: The reason.
    """
    command = resume_command(experiment.folder, experiment.points[0].spec.config_yaml)
    reason = str(error).removeprefix(f"closing batch {batch_ids[0]}: ")
    return (
        f"batch {', '.join(batch_ids)} could not be closed ({reason}); no result is lost: it takes "
        f"no more jobs from this run, costs nothing and ends by itself at its max_time; to close "
        f"it: {command}"
    )


def _is_another_batch_allowed(experiment: Experiment) -> bool:
    """Return True if partitions are still to be submitted, and another batch is allowed.

    `Ledger.is_wanted` and `ExecutionPolicy.allows_again` decide which partitions are submitted.
    """
    policy, ledger = experiment.policy, experiment.ledger
    return bool(ledger.wanted(policy)) and ledger.batches_of_process < policy.max_batches


def _collect(collector: Collector, batches: _Batches) -> None:
    """Collect every job; what could not be done with the batches before is done meanwhile.

    Raises:
        StopRequested, UnfinishedError, EngineError, ArchiveError: As `Collector.collect_all`.
    """
    while collector.pending:
        collector.step()
        batches.errands.run_due()
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
        batches.ask_queue_length(batch)
    return fatal


def _stop(experiment: Experiment, collector: Collector, batches: _Batches) -> None:
    """Stop as `execution.on_interrupt` says.

    Finished jobs of a local engine are always collected, since they end with this process.
    """
    cancels = experiment.policy.on_interrupt == "cancel"
    if cancels:
        for batch in batches.active:
            try:
                batch.cancel()
            except EngineError as error:
                experiment.observer.warned(
                    f"the jobs of batch {batch.id} could not be cancelled, and may run: {error}"
                )
    if cancels or not isinstance(experiment.engine, RemoteEngine):
        with _logging_errors("jobs that have ended could not be collected"):
            collector.collect_final()
    batches.abandon()


@dataclass
class _Batches:
    """The batches that this process opened, and earlier ones with jobs in flight."""

    experiment: Experiment
    active: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.errands = Errands(self.experiment)

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
        experiment.journal.append(
            BatchOpened(batch.id, secrets.token_hex(8), follows, experiment.max_time_s)
        )
        experiment.observer.batch_opened(batch.id)
        details = f"reading the details of batch {batch.id}"
        if not self._ask(details, lambda: self._store(batch, opened=batch.details())):
            self._store(batch)
        return batch

    def take_over(self, earlier: Sequence[Batch]) -> None:
        """Close every batch of an earlier process; keep those with jobs in flight.

        A process that was killed left its batch open. A local one ended with it.
        """
        if not isinstance(self.experiment.engine, RemoteEngine):
            for opened in self.experiment.ledger.batches:
                self._note_closed(opened.batch)
        for batch in earlier:
            self.close(batch)
        with_jobs = {attempt.batch for attempt in self.experiment.ledger.open_attempts()}
        self.active += [batch for batch in earlier if batch.id in with_jobs]

    def close(self, batch: Batch) -> None:
        """Close a batch, and record that in the journal; where it fails, later. No job is lost."""
        if batch.id in self.experiment.ledger.closed:
            return

        def close_it() -> None:
            batch.close()
            self._note_closed(batch.id)

        self.errands.run(f"closing batch {batch.id}", close_it, partial(self._warn_open, batch))

    def ask_queue_length(self, batch: RemoteBatch) -> None:
        """Tell the observer how long the backend's queue is, while jobs are waited for."""

        def ask() -> None:
            length = batch.queue_length()
            if length is not None:
                self.experiment.observer.queue_seen(length)

        self._ask(_QUEUE, ask)

    def finish(self, *, is_collected: bool) -> None:
        """Return once every batch is closed, and the details of each are stored, or given up.

        Args:
            is_collected: True if no job is in flight, so that the details are final.

        Raises:
            StopRequested: The experiment was asked to stop.
        """
        self.errands.drop(_QUEUE)
        self.errands.finish()
        for batch in self.active if is_collected else ():
            details = f"reading the final details of batch {batch.id}"
            self._ask(details, partial(self._store_final, batch))
        self.errands.finish()

    def abandon(self) -> None:
        """Close the batches and terminate local jobs; remote jobs keep running."""
        for batch in self.active:
            try:
                batch.abandon()
            except EngineError as error:
                self._warn_open(batch, error)
            else:
                # Without this line, the next process closes it again.
                with suppress(ArchiveError):
                    self._note_closed(batch.id)

    def _ask(self, name: str, request: Callable[[], None]) -> bool:
        """Ask for what the run can do without."""
        return self.errands.run(name, request, partial(_log.warning, "given up: %s"))

    def _store_final(self, batch: Batch) -> None:
        self._store(batch, final=batch.details())

    def _note_closed(self, batch_id: str) -> None:
        if batch_id not in self.experiment.ledger.closed:
            self.experiment.journal.append(BatchClosed(batch_id))

    def _warn_open(self, batch: Batch, error: EngineError) -> None:
        if batch.id not in self.experiment.ledger.closed:
            self.experiment.observer.warned(still_open(self.experiment, [batch.id], error))

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
