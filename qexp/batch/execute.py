"""One batch: open, submit every partition, close, collect each job as it finishes.

Each outcome is handed on the moment it is known, so that what was measured is kept whatever
comes after. The batch is closed on every way out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qexp.core.model import FINAL_STATES, JobOutcome, JobRequest, JobState
from qexp.core.observer import Observer
from qexp.core.protocols import Batch, Engine
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0


@dataclass
class BatchReport:
    """What became of a batch.

    Attributes:
        batch_id: The batch's id.
        opened: `details()` after opening.
        final: `details()` after the last job, or None where it could not be read.
        states: Final state of each collected job, by partition index.
        failure: Why submission or collection ended early, or None.
    """

    batch_id: str
    opened: Mapping[str, Any]
    final: Mapping[str, Any] | None = None
    states: dict[int, JobState] = field(default_factory=dict)
    failure: BaseException | None = None


def execute(
    engine: Engine,
    backend: BackendV2,
    requests: Iterable[JobRequest],
    *,
    max_time_s: int | None,
    on_details: Callable[[Mapping[str, Any], Mapping[str, Any] | None], None],
    on_outcome: Callable[[JobOutcome], None],
    observer: Observer,
) -> BatchReport:
    """Run all requests in one batch.

    Args:
        engine: Opens the batch.
        backend: Where it runs.
        requests: One per partition, in order of submission.
        max_time_s: The batch's `max_time` in seconds, or None.
        on_details: Stores `details()`: after opening (with None) and at the end.
        on_outcome: Stores a job's outcome; it is on disk when this returns.
        observer: Watches.

    Returns:
        The report. An error or interruption after the batch was opened is in `failure`; what
        was collected until then has been handed to `on_outcome`.
    """
    batch = engine.open_batch(backend, max_time_s=max_time_s)
    report = BatchReport(batch.id, opened={})
    submitted: dict[str, int] = {}
    unsaved: dict[int, JobOutcome] = {}
    try:
        report.opened = batch.details()
        on_details(report.opened, None)
        observer.batch_opened(batch.id)
        _submit(batch, requests, submitted, report, observer)
        _close(batch.close, batch.id)
        _see_queue(batch, observer)
        _collect(batch, submitted, report, unsaved, on_outcome, observer)
        report.final = batch.details()
        on_details(report.opened, report.final)
    except (Exception, KeyboardInterrupt) as error:
        _log.error("batch %s ended early", batch.id, exc_info=True)
        report.failure = report.failure or error
        _close(batch.abandon, batch.id)
        _save_the_rest(submitted, report, unsaved, on_outcome)
    finally:
        # Again, because it may have failed above, where jobs still had to be collected.
        failure = _close(batch.close, batch.id)
        report.failure = report.failure or failure
    return report


def _submit(
    batch: Batch,
    requests: Iterable[JobRequest],
    submitted: dict[str, int],
    report: BatchReport,
    observer: Observer,
) -> None:
    """Submit until done or refused, noting each job's partition by its id in `submitted`.

    Jobs that are already submitted when one is refused are still collected.
    """
    for request in requests:
        try:
            job_id = batch.submit(request)
        except Exception as error:
            _log.error("partition %d was not submitted", request.partition.index, exc_info=True)
            report.failure = error
            break
        submitted[job_id] = request.partition.index
        _log.info("partition %d is job %s", request.partition.index, job_id)
        observer.job_submitted(request.partition, job_id)


def _see_queue(batch: Batch, observer: Observer) -> None:
    try:
        length = batch.queue_length()
    except EngineError:
        _log.warning("the length of the backend's queue is not known", exc_info=True)
        return
    if length is not None:
        observer.queue_seen(length)


def _collect(
    batch: Batch,
    submitted: Mapping[str, int],
    report: BatchReport,
    unsaved: dict[int, JobOutcome],
    on_outcome: Callable[[JobOutcome], None],
    observer: Observer,
) -> None:
    """Collect each job as it finishes; one that cannot be fetched does not cost the others.

    `unsaved` holds an outcome, by partition, while it is written: an interruption may come then.
    """
    pending = dict(submitted)
    failure: Exception | None = None
    while pending:
        states = batch.states()
        observer.jobs_moved(Counter(states.values()))
        finished = [job_id for job_id in pending if states.get(job_id) in FINAL_STATES]
        for job_id in finished:
            partition = pending.pop(job_id)
            try:
                outcome = batch.collect(job_id)
            except Exception as error:
                _log.error("job %s could not be collected", job_id, exc_info=True)
                failure = failure or error
                continue
            unsaved[partition] = outcome
            on_outcome(outcome)
            report.states[partition] = outcome.state
            del unsaved[partition]
            observer.job_collected(outcome)
        if pending and not finished:
            batch.wait(_LONGEST_WAIT_S)
    if failure is not None:
        raise failure


def _save_the_rest(
    submitted: Mapping[str, int],
    report: BatchReport,
    unsaved: Mapping[int, JobOutcome],
    on_outcome: Callable[[JobOutcome], None],
) -> None:
    """Save what was collected but not written, and the ids of the jobs that were not collected.

    What those measured is fetched by their ids.
    """
    for job_id, partition in submitted.items():
        if partition in report.states:
            continue
        reason = "not collected, because the run ended early; the job may still have run"
        outcome = unsaved.get(partition) or JobOutcome(
            job_id, partition, "QUEUED", result=None, error=reason
        )
        report.states[partition] = outcome.state
        try:
            on_outcome(outcome)
        except Exception:
            # The failure that ended the run is told; the log has the ids.
            _log.error("job %s of partition %d is not saved", job_id, partition, exc_info=True)
            report.states[partition] = "QUEUED"


def _close(how: Callable[[], None], batch_id: str) -> Exception | None:
    try:
        how()
    except Exception as error:
        _log.error("batch %s could not be closed", batch_id, exc_info=True)
        return error
    return None
