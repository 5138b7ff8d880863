"""Run everything that has no result yet.

The crash protocol, in the order in which it happens:

1. What earlier processes left: outcomes on disk are noted, jobs on the service are found again by
   id or tag, attempts that have no job end (`recover`).
2. A batch is opened; its id is in the journal before its first job.
3. Each partition without result and without a job that is out: its unique tag is in the journal
   before the job is submitted, the job's id right after (`submit`).
4. The batch is closed; what is submitted still runs.
5. Each job that ends: its outcome is on disk before the journal says so (`collect`).
6. What failed and may be tried again goes through 2 to 5 once more, in a batch that is linked to
   the one before.

A process that is killed between any two of these steps leaves what the next one needs in 1.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from qexp.batch.collect import Collector
from qexp.batch.context import Patience, RunContext, Stopped
from qexp.batch.ledger import BatchClosed, BatchOpened
from qexp.batch.recover import reattach
from qexp.batch.submit import Submitter
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import BusyError, EngineError, UnclearError

_log = logging.getLogger(__name__)


@dataclass
class _Batches:
    """The batches that this process has to do with, and what they said when they were opened."""

    context: RunContext
    held: list[Batch] = field(default_factory=list)
    opened: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def open(self, collector: Collector) -> Batch:
        """Open the next batch; it is in the journal when this returns."""
        context = self.context
        follows = context.ledger.batches[-1].batch if context.ledger.batches else None
        batch = self._insist_on_opening(collector)
        self.held.append(batch)
        context.journal.append(
            BatchOpened(batch.id, secrets.token_hex(8), follows, context.max_time_s)
        )
        context.observer.batch_opened(batch.id)
        with _told("the details of the batch are not known"):
            self.opened[batch.id] = batch.details()
        self._store(batch, None)
        return batch

    def _insist_on_opening(self, collector: Collector) -> Batch:
        context, patience = self.context, Patience(self.context)
        while True:
            context.raise_if_stopped()
            try:
                return context.engine.open_batch(
                    context.backend, max_time_s=context.max_time_s, workers=context.workers
                )
            except (BusyError, UnclearError) as error:
                # A batch that was opened without our knowing it stays empty and costs nothing.
                collector.check_deadline()
                context.pause(patience.failed(error))

    def close(self, batch: Batch) -> None:
        """Close a batch, and say so in the journal. That it fails is no reason to lose a job."""
        if batch.id in self.context.ledger.closed:
            return
        try:
            batch.close()
        except EngineError as error:
            self.context.observer.warned(
                f"batch {batch.id} could not be closed, it ends by itself at its max_time: {error}"
            )
            return
        self.context.journal.append(BatchClosed(batch.id))

    def finish(self) -> None:
        """Close what could not be closed before, and store what each batch says of itself now."""
        for batch in self.held:
            self.close(batch)
            with _told(f"the final details of batch {batch.id} are not known"):
                self._store(batch, batch.details())

    def abandon(self) -> None:
        """Close what is open, and stop what would end with this process."""
        for batch in self.held:
            with _told(f"batch {batch.id} could not be closed"):
                batch.abandon()

    def _store(self, batch: Batch, final: Mapping[str, Any] | None) -> None:
        ids = [opened.batch for opened in self.context.ledger.batches]
        number = ids.index(batch.id)
        self.context.store.write_batch(
            number,
            self.opened.get(batch.id),
            final,
            batch_id=batch.id,
            follows=self.context.ledger.batches[number].follows,
        )


def execute(context: RunContext, *, stop_after_submit: bool = False) -> None:
    """Go on with a run until nothing is left that may be submitted or collected.

    Args:
        context: The run.
        stop_after_submit: Return once everything is submitted.

    Raises:
        Stopped: The run was asked to stop, and has.
        UnfinishedError: The deadline is reached; jobs are still out.
        EngineError: The service was out of reach for too long, or takes no more jobs.
        ArchiveError: Something cannot be written, or a part is damaged.
    """
    collector, batches = Collector(context), _Batches(context)
    try:
        batches.held.extend(reattach(context, collector))
        if collector.pending:
            # What was paid for comes before what is to be paid for.
            with _told("what has ended could not be collected yet"):
                collector.sweep()
        while True:
            denied = _submit_wanted(context, collector, batches)
            if not stop_after_submit:
                collector.collect_all()
            if denied is not None:
                raise denied
            if not _may_go_on(context):
                break
        if stop_after_submit:
            return
        batches.finish()
    except Stopped:
        _stop(context, collector, batches)
        raise
    except Exception:
        batches.abandon()
        raise


def _may_go_on(context: RunContext) -> bool:
    """Whether something is still wanted, and another batch is allowed for it."""
    policy = context.policy
    most = 1 + policy.follow_ups + policy.retries
    return bool(context.ledger.wanted(policy)) and context.ledger.batches_of_session < most


def _submit_wanted(
    context: RunContext, collector: Collector, batches: _Batches
) -> EngineError | None:
    """Submit what is wanted in one batch, and close it. Returns why no more jobs are taken."""
    wanted = context.ledger.wanted(context.policy)
    if not wanted:
        return None
    try:
        batch = batches.open(collector)
    except EngineError as error:
        if not collector.pending:
            raise
        return error
    try:
        denied = Submitter(context, batch, collector).submit_all(wanted)
    finally:
        batches.close(batch)
    if isinstance(batch, RemoteBatch):
        with _told("the length of the backend's queue is not known"):
            length = batch.queue_length()
            if length is not None:
                context.observer.queue_seen(length)
    return denied


def _stop(context: RunContext, collector: Collector, batches: _Batches) -> None:
    """As `execution.on_interrupt` says; what has ended here is kept in any case."""
    if context.policy.on_interrupt == "cancel":
        for batch in batches.held:
            with _told(f"the jobs of batch {batch.id} could not be cancelled"):
                batch.cancel()
    if context.policy.on_interrupt == "cancel" or not isinstance(context.engine, RemoteEngine):
        with _told("what has ended could not be collected"):
            collector.sweep()
    batches.abandon()


class _told(suppress):  # noqa: N801 - reads as a statement
    """Go on in spite of an error of the service, which the log tells."""

    def __init__(self, what: str) -> None:
        super().__init__(EngineError)
        self._what = what

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if isinstance(error, EngineError):
            _log.warning("%s: %s", self._what, error)
        return super().__exit__(kind, error, trace)
