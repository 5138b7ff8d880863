"""The end of a process's work on an experiment: its archives, what is left, what to type next."""

from __future__ import annotations

import logging
from functools import partial

from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME
from qexp.batch.batches import Batches, still_open
from qexp.batch.collect import Collector
from qexp.batch.pacing import Patience
from qexp.core.model import FINAL_FAILURES
from qexp.core.observer import PointSummary
from qexp.core.protocols import RemoteEngine
from qexp.errors import (
    ArchiveError,
    ConfigError,
    EngineError,
    JobsFailedError,
    OutageError,
    QexpError,
    RetiredError,
    UnfinishedError,
)
from qexp.journal.events import Ended, Interrupted, Sealed
from qexp.points import Experiment, StopRequested, resume_command
from qexp.redact import redact
from qexp.text import one_line

_log = logging.getLogger(__name__)


def end(experiment: Experiment, failure: Exception | None) -> None:
    """Seal the results so far, then raise the `failure` or report jobs without a result."""
    if failure is None and experiment.stop_after == "collect":
        failure = _what_is_left(experiment)
    status = experiment.status()
    try:
        if failure is None or isinstance(failure, RetiredError) or status == "complete":
            experiment.journal.append(Ended(status))
        else:
            experiment.journal.append(Interrupted(_reason(failure)))
        seal(experiment)
        close_left_open(experiment)
    except ArchiveError:
        if failure is None:
            raise
        _log.error("the archive could not be sealed; its parts are kept", exc_info=True)
    raise_unless_complete(experiment, failure)


def close_left_open(experiment: Experiment) -> None:
    """Close the batches that earlier processes could not close; no result depends on it."""
    engine, point = experiment.engine, experiment.points[0]
    open_ones = experiment.ledger.unclosed_batches
    if point.backend is not None or not open_ones or not isinstance(engine, RemoteEngine):
        return
    with open_archive(point.folder / ARCHIVE_NAME) as archive:
        name = archive.backend["name"]
    try:
        selected = Patience(experiment).call(
            partial(point.spec.select_backend, name), (OutageError,)
        )
        engine.check_backend(selected)
        engine.limit_waiting(selected, experiment.policy.outage_s)
        point.backend = selected
        batches = Batches(experiment, Collector(experiment))
        for batch_id in open_ones:
            batches.close(engine.attach_batch(selected, batch_id))
        batches.errands.finish()
    except StopRequested:
        raise KeyboardInterrupt("interrupted; what was measured is kept") from None
    except (ConfigError, EngineError) as error:
        experiment.observer.warned(still_open(experiment, open_ones, error))


def _what_is_left(experiment: Experiment) -> UnfinishedError | None:
    """Return an error that says what a process that only collected has left to do, or None."""
    out, missing = experiment.jobs_out, len(experiment.left_to_submit)
    left = [
        f"{out} {'job is' if out == 1 else 'jobs are'} still out" if out else "",
        f"{missing} {'is' if missing == 1 else 'are'} to be submitted" if missing else "",
    ]
    return UnfinishedError(" and ".join(filter(None, left))) if any(left) else None


def seal(experiment: Experiment) -> None:
    """Seal the archive of each point with the results so far."""
    for point in experiment.points:
        point.seal(experiment.status(point))
    experiment.journal.append(Sealed(experiment.status()))
    for point in experiment.points:
        assert point.archive is not None
        assert point.status is not None
        with open_archive(point.archive) as sealed:
            usage_s, usage_pending = sealed.usage_s, sealed.usage_pending
        summary = PointSummary(
            status=point.status,
            done=len(experiment.done(point)),
            planned=len(point.partitions),
            num_pubs=sum(partition.num_pubs for partition in point.partitions),
            usage_s=usage_s,
            usage_pending=usage_pending,
            predicted_s=sum(partition.qpu_s for partition in point.partitions),
            batch_ids=tuple(opened.batch for opened in experiment.ledger.batches),
            only_collects=experiment.ledger.is_cancelled and experiment.jobs_out > 0,
        )
        experiment.observer.sealed(point.archive, summary)


def raise_unless_complete(experiment: Experiment, failure: Exception | None) -> None:
    """Raise an error that names what is missing, the reason, and the command to resume."""
    raise_if_stopped(experiment, failure)
    ledger = experiment.ledger
    done, planned = ledger.done, ledger.num_partitions
    command = _command_after(experiment, failure)
    kept = f"{len(done)} of {planned} jobs are kept; go on with: {command}"
    if isinstance(failure, RetiredError):
        raise JobsFailedError(
            f"{_reason(failure)}; {len(done)} of {planned} jobs are kept; to measure the whole on "
            f"another backend, start a new run with backend=least_busy; only if this one comes "
            f"back: {command}"
        )
    if failure is not None:
        keeps_type = isinstance(failure, QexpError) and not isinstance(failure, EngineError)
        kind = type(failure) if keeps_type else UnfinishedError
        cause = None if isinstance(failure, QexpError) else failure
        raise kind(f"{_reason(failure)}; {kept}") from cause
    failed = sorted(set(range(planned)) - done)
    if failed:
        last = [attempts[-1] for i in failed if (attempts := ledger.attempts.get(i))]
        refused = [attempt for attempt in last if attempt.failure in FINAL_FAILURES]
        command = command_to_resume(experiment, *["--retry-refused"] * bool(refused))
        again = f"to try them again: {command}"
        if refused:
            which = "them" if len(refused) == len(failed) else f"{len(refused)} of them"
            again = f"the service refused {which}; to try them again all the same: {command}"
        archives = dict.fromkeys(str(experiment.point_of(index).archive) for index in failed)
        raise JobsFailedError(
            f"{len(failed)} of {planned} jobs have no result (partitions "
            f"{', '.join(map(str, failed[:10]))}{'...' if len(failed) > 10 else ''}); the "
            f"others and the reasons are in {', '.join(archives)}; {again}"
        )


def raise_if_stopped(experiment: Experiment, failure: Exception | None) -> None:
    """Raise `KeyboardInterrupt` if a stop was asked for, however late, with what is kept."""
    if not (isinstance(failure, StopRequested) or experiment.interrupts.is_set()):
        return
    done, planned = len(experiment.ledger.done), experiment.ledger.num_partitions
    kept = f"{done} of {planned} jobs are kept; go on with: {_command_after(experiment, failure)}"
    if done == planned:
        where = (str(point.archive or point.folder) for point in experiment.points)
        kept = f"all {planned} jobs are kept: {', '.join(where)}"
    also = "" if failure is None or isinstance(failure, StopRequested) else _reason(failure)
    raise KeyboardInterrupt("; ".join(filter(None, ["interrupted", also, kept])))


def _command_after(experiment: Experiment, failure: Exception | None) -> str:
    """Return the command that goes on where a process stopped."""
    if experiment.stop_after != "collect" or not experiment.ledger.is_cancelled:
        return command_to_resume(experiment)
    if isinstance(failure, UnfinishedError):
        return command_to_resume(experiment, "--collect-only")
    # Not everything is cancelled yet.
    spec = experiment.points[0].spec
    return resume_command(experiment.folder, spec.config_yaml, *spec.given_anew, verb="cancel")


def command_to_resume(experiment: Experiment, *words: str) -> str:
    """Return the command that resumes an experiment, with what it was given anew."""
    spec = experiment.points[0].spec
    return resume_command(experiment.folder, spec.config_yaml, *words, *spec.given_anew)


def _reason(failure: BaseException) -> str:
    text = one_line(redact(str(failure))).rstrip(".")
    if isinstance(failure, StopRequested):
        return "interrupted"
    return text if isinstance(failure, QexpError) else f"{type(failure).__name__}: {text}"
