"""Run the jobs of an experiment that have no result yet.

The crash protocol, in the order in which it happens. A process that is killed between any two
steps leaves in the journal, on disk and on the service all that the next process needs for step 1.

1. The state that earlier processes left is recovered (`recover`): jobs on the service are found
   by id or tag and adopted; attempts without a job are closed.
2. A batch is opened, one for each backend of a sweep; its id is in the journal before its first
   job is submitted.
3. Partitions that have neither a result nor a job in flight are submitted (`submit`), alone or with
   others (`packing`): the unique tag of the job is in the journal for each of its partitions before
   the job exists, the job's id right after.
4. The batch is closed: it accepts no more jobs, but submitted ones still run. Where that fails, it
   is tried again beside step 5, and by the next process.
5. Each job that ends is collected (`collect`): for each of its partitions, the outcome is on disk
   before the journal says so.
6. Partitions that failed and may be tried again go through 2 to 5 once more, in a batch that is
   linked to the previous one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from qexp.batch.batches import Batches
from qexp.batch.budget import Budget, charges_of
from qexp.batch.collect import Collector
from qexp.batch.pacing import Patience
from qexp.batch.packing import by_lane, jobs_of
from qexp.batch.recover import reattach
from qexp.batch.request import planned_piece, run_tag
from qexp.batch.submit import Submitter
from qexp.core.model import FINAL_STATES
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import EngineError, QexpError
from qexp.interrupts import StopRequested
from qexp.journal.events import Cancelled
from qexp.points import Experiment

_log = logging.getLogger(__name__)


def execute(experiment: Experiment) -> None:
    """Submit and collect until nothing is left, or with `stop_after=submit`, nothing to submit.

    The experiment is planned, and its backends are selected.

    Raises:
        StopRequested: The experiment was asked to stop, and has.
        UnfinishedError: The deadline is reached, with jobs in flight; or the budget.
        EngineError: The service was out of reach for too long, or accepts no more jobs.
        ArchiveError: Something cannot be written, or a part is damaged.
        KeyboardInterrupt: It was asked twice to stop, and stopped at once.
    """
    collector = Collector(experiment)
    batches = Batches(experiment, collector)
    try:
        batches.take_over(reattach(experiment, collector))
        if collector.pending:
            # Collect what is already paid for before submitting more.
            with _logging_errors("jobs that have ended could not be collected yet"):
                collector.collect_final()
        if experiment.budget_s is not None:
            collector.budget = Budget(experiment, experiment.budget_s)
        _announce_repetitions(experiment)
        while True:
            fatal = _submit_wanted(experiment, collector, batches)
            if experiment.stop_after != "submit":
                _collect(experiment, collector, batches)
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


def collect_finished(experiment: Experiment) -> None:
    """Collect the jobs that are finished; wait for none, and submit nothing.

    Raises:
        As `execute`.
    """
    collector = Collector(experiment)
    batches = Batches(experiment, collector)
    batches.take_over(reattach(experiment, collector))
    collector.collect_ended()
    batches.finish(is_collected=not collector.pending)


def close_kept(experiment: Experiment) -> None:
    """Close the batches that were kept open for more points; store their details."""
    batches = Batches(experiment, Collector(experiment))
    batches.close_kept()
    batches.finish(is_collected=True)


def cancel(experiment: Experiment) -> None:
    """Cancel what is queued, close every batch, and collect what is final.

    Jobs that are running keep running, to be collected later. From the first moment on, nobody but
    a user who names the run submits anything of it again.

    Raises:
        As `execute`.
    """
    experiment.journal.append(Cancelled())
    collector = Collector(experiment)
    batches = Batches(experiment, collector)
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
    collector.collect_ended()
    batches.finish(is_collected=not collector.pending)


def _announce_repetitions(experiment: Experiment) -> None:
    """Tell the observer which partitions are about to be submitted again, and what that costs.

    `execution.retries` bounds what a process repeats by itself; to resume a run by its name is the
    user's own decision to try again what failed in an earlier one.
    """
    ledger = experiment.ledger
    again = [piece for piece in ledger.wanted(experiment.policy) if ledger.attempts_of(piece)]
    if again and experiment.engine.uses_qpu:
        stored = charges_of(experiment.points, ledger)
        charged_s = {
            index: sum(stored.get((index, one.number), (0.0,))[0] for one in ledger.attempts[index])
            for index in {piece.partition for piece in again}
        }
        predicted_s = sum(planned_piece(experiment, piece).qpu_s for piece in again)
        experiment.observer.trying_again(charged_s, predicted_s)


def _is_another_batch_allowed(experiment: Experiment) -> bool:
    """Return True if partitions are still to be submitted, and another batch is allowed.

    `Ledger.is_wanted` and `ExecutionPolicy.allows_again` decide which partitions are submitted.
    """
    policy, ledger = experiment.policy, experiment.ledger
    wanted = ledger.wanted(policy)
    if any(
        ledger.failures_of(piece)[-1:] == [(ledger.process_number, "shared")] for piece in wanted
    ):
        return True
    return bool(wanted) and ledger.batches_of_process < policy.max_batches * len(experiment.lanes)


def _collect(experiment: Experiment, collector: Collector, batches: Batches) -> None:
    """Collect every job; what could not be done with the batches before is done meanwhile."""
    while True:
        while collector.pending:
            collector.step()
            batches.errands.run_due()
        collector.collect_all()
        _adopt_late_jobs(experiment, collector)
        if not collector.pending:
            return


def _adopt_late_jobs(experiment: Experiment, collector: Collector) -> None:
    """Watch the jobs of the run that were sent twice on their way, and are listed only now."""
    ledger, engine = experiment.ledger, experiment.engine
    if isinstance(engine, RemoteEngine):
        newest = {experiment.lane_of(one): one for one in ledger.own_batches}
        for lane, batch in newest.items():
            if lane in experiment.lanes:
                find = partial(collector.batch_of(batch).find, run_tag(experiment.id))
                collector.adopt_found(Patience(experiment).call(find))


def _submit_wanted(
    experiment: Experiment, collector: Collector, batches: Batches
) -> QexpError | None:
    """Submit the wanted partitions in one batch for each backend, and close the batches.

    Return the error that rules out further submissions (quota, authorisation, budget), or None.
    """
    jobs = jobs_of(experiment, experiment.ledger.wanted(experiment.policy))
    experiment.observer.jobs_packed(len(jobs))
    opened: list[Batch] = []
    fatal: QexpError | None = None
    budget = collector.budget
    try:
        for lane, own in by_lane(experiment, jobs):
            if budget is not None and not collector.pending and not budget.has_room_for(own[0]):
                return budget.refuse(own[0])
            try:
                opened.append(batches.open(lane))
            except EngineError as error:
                if not collector.pending:
                    raise
                return error
            fatal = Submitter(experiment, opened[-1], collector).submit_all(own)
            if fatal is not None:
                break
    finally:
        for batch in opened if not experiment.keeps_batches else ():
            batches.close(batch)
    for batch in opened:
        if isinstance(batch, RemoteBatch):
            batches.ask_queue_length(batch)
    return fatal


def _stop(experiment: Experiment, collector: Collector, batches: Batches) -> None:
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


@contextmanager
def _logging_errors(consequence: str) -> Iterator[None]:
    """Log an error of the service, and continue."""
    try:
        yield
    except EngineError as error:
        _log.warning("%s: %s", consequence, error)
