"""The batches of an experiment: opened, closed, and their details kept."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qexp.batch.collect import Collector
from qexp.batch.pacing import Patience
from qexp.core.protocols import Batch, RemoteBatch, RemoteEngine
from qexp.errors import ArchiveError, BusyError, EngineError, QexpError, UnclearError
from qexp.journal.events import BatchClosed, BatchOpened
from qexp.points import Experiment
from qexp.resumption import resume_command

_log = logging.getLogger(__name__)
_QUEUE = "reading the length of the queue"


@dataclass
class Batches:
    """The batches that this process opened, and earlier ones with jobs in flight."""

    experiment: Experiment
    collector: Collector
    active: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.errands = self.collector.errands

    def open(self, lane: int) -> Batch:
        """Open the next batch of a lane, and record it in the journal; or return one kept open."""
        experiment = self.experiment
        if (kept := experiment.open_batches.get(lane)) is not None:
            self._take(kept)
            return kept
        earlier = [one.batch for one in experiment.ledger.batches if one.point == lane]
        follows = earlier[-1] if earlier else None
        max_time_s = experiment.points[lane].spec.max_time_s

        def open_one() -> Batch:
            experiment.raise_if_stopped()
            return experiment.engine.open_batch(
                experiment.backend_of(lane), max_time_s=max_time_s, workers=experiment.workers
            )

        # If the reply was lost, the batch that it opened stays empty and costs nothing.
        batch = Patience(experiment).call(
            open_one, (BusyError, UnclearError), meanwhile=self.collector.check_deadline
        )
        self._take(batch)
        if experiment.keeps_batches:
            experiment.open_batches[lane] = batch
        experiment.journal.append(
            BatchOpened(batch.id, secrets.token_hex(8), follows, max_time_s, point=lane)
        )
        experiment.observer.batch_opened(batch.id)
        details = f"reading the details of batch {batch.id}"
        if not self._ask(details, lambda: self._store(batch.id, opened=batch.details())):
            self._store(batch.id)
        return batch

    def _take(self, batch: Batch) -> None:
        self.active.append(batch)
        self.collector.add_batch(batch)

    def close_kept(self) -> None:
        """Close the batches that were kept open for more points."""
        for batch in self.experiment.open_batches.values():
            self._take(batch)
            self.close(batch)
        self.experiment.open_batches.clear()

    def take_over(self, earlier: Sequence[Batch]) -> None:
        """Close every batch of an earlier process; keep those with jobs in flight.

        A process that was killed left its batch open. A local one ended with it.
        """
        if not isinstance(self.experiment.engine, RemoteEngine):
            kept = {batch.id for batch in self.experiment.open_batches.values()}
            for opened in self.experiment.ledger.batches:
                if opened.batch not in kept:
                    self._note_closed(opened.batch)
        for opened in self.experiment.ledger.batches:
            # It is not in the parts if a process was killed here, or it was found by its jobs.
            self._store(opened.batch)
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

        They are final if no job is in flight, `is_collected`.

        Raises:
            StopRequested: The experiment was asked to stop.
        """
        self.errands.drop(_QUEUE)
        self.errands.finish()
        opened = self.experiment.ledger.batches
        lanes = self.experiment.lanes
        foreign = [
            self.collector.batch_of(one.batch)
            for one in opened
            if one.is_foreign and one.point in lanes
        ]
        for batch in (*self.active, *foreign) if is_collected else ():
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
        self._store(batch.id, final=batch.details())

    def _note_closed(self, batch_id: str) -> None:
        if batch_id not in self.experiment.ledger.closed:
            self.experiment.journal.append(BatchClosed(batch_id))

    def _warn_open(self, batch: Batch, error: EngineError) -> None:
        if batch.id not in self.experiment.ledger.closed:
            self.experiment.observer.warned(still_open(self.experiment, [batch.id], error))

    def _store(
        self,
        batch_id: str,
        opened: Mapping[str, Any] | None = None,
        final: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a batch to the parts; details that are None stay as they were."""
        number, event = next(
            (number, event)
            for number, event in enumerate(self.experiment.ledger.batches)
            if event.batch == batch_id
        )
        store = self.experiment.store
        store.write_batch(number, opened, final, batch_id=batch_id, follows=event.follows)


def command_to_resume(experiment: Experiment, *words: str, verb: str = "resume") -> str:
    """Return the command that goes on with an experiment, with what it was given anew."""
    spec = experiment.points[0].spec
    words = (*words, *experiment.next_words, *spec.given_anew)
    return resume_command(experiment.folder, spec.config_yaml, *words, verb=verb)


def still_open(experiment: Experiment, batch_ids: Sequence[str], error: QexpError) -> str:
    """Say why batches could not be closed, what follows from that, and how to close them."""
    reason = str(error).removeprefix(f"closing batch {batch_ids[0]}: ")
    return (
        f"batch {', '.join(batch_ids)} could not be closed ({reason}); no result is lost: it takes "
        f"no more jobs from this run, costs nothing and ends by itself at its max_time; to close "
        f"it: {command_to_resume(experiment)}"
    )
