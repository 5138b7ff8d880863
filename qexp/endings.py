"""The end of a process's work on an experiment: its archives, what is left, what to type next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from qexp.archive.read import open_archive
from qexp.archive.writer import SharedRecord
from qexp.batch.batches import Batches, command_to_resume, still_open
from qexp.batch.collect import Collector
from qexp.batch.pacing import Patience
from qexp.core.model import FINAL_FAILURES
from qexp.core.observer import PointSummary, SweepSummary
from qexp.core.protocols import RemoteEngine
from qexp.errors import (
    ArchiveError,
    ConfigError,
    EngineError,
    JobsFailedError,
    OutageError,
    PointsFailedError,
    QexpError,
    RetiredError,
    UnfinishedError,
)
from qexp.interrupts import StopRequested
from qexp.journal.events import Ended, Interrupted, Sealed
from qexp.points import Experiment, Point
from qexp.preparation import select_backends
from qexp.redact import redact
from qexp.text import one_line

_log = logging.getLogger(__name__)
_MOST_SHOWN = 10


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
    open_ones = experiment.ledger.unclosed_batches
    is_selected = any(point.backend is not None for point in experiment.points)
    if is_selected or not open_ones or not isinstance(experiment.engine, RemoteEngine):
        return
    try:
        Patience(experiment).call(partial(select_backends, experiment), (OutageError,))
        batches = Batches(experiment, Collector(experiment))
        for batch_id in open_ones:
            batches.close(batches.collector.batch_of(batch_id))
        batches.errands.finish()
    except StopRequested:
        raise KeyboardInterrupt("interrupted; what was measured is kept") from None
    except (ConfigError, EngineError) as error:
        experiment.observer.warned(still_open(experiment, open_ones, error))


def _what_is_left(experiment: Experiment) -> UnfinishedError | None:
    """Return an error that says what a process that only collected has left to do, or None."""
    ledger = experiment.ledger
    unplanned = 0 if ledger.is_cancelled else len(experiment.unplanned) - len(ledger.unplanned)
    counts = {
        "{} job{} {} still out": experiment.out(),
        "{0} {2} to be submitted": len(experiment.left()),
        "{} point{} {} to be planned": unplanned,
    }
    left = [
        text.format(number, *(("", "is") if number == 1 else ("s", "are")))
        for text, number in counts.items()
        if number
    ]
    return UnfinishedError(" and ".join(left)) if left else None


def seal(experiment: Experiment) -> None:
    """Seal the archive of each point with the results so far.

    Those of a sweep that have results to come are left as they are: their parts have everything.
    """
    points = [one for one in experiment.points if one.partitions and not one.is_sealed]
    share = _shared_record(experiment) if experiment.is_sweep else lambda _point: None
    for point in points:
        status = experiment.status(point)
        if not experiment.is_sweep or status != "partial" or experiment.ledger.ended:
            point.seal(status, share(point))
    status = experiment.status()
    experiment.journal.append(Sealed(status))
    if experiment.is_sweep:
        clear_parts(experiment)
    summaries = [_summary(experiment, point) for point in points if point.archive is not None]
    for archive, summary in summaries:
        experiment.observer.sealed(archive, summary)
    if experiment.is_sweep:
        of_all = _sweep_summary(experiment, [summary for _, summary in summaries])
        experiment.observer.sweep_ended(experiment.folder, of_all)


def clear_parts(experiment: Experiment) -> None:
    """Remove what is left of the parts of sealed points, also where a process was killed at it."""
    sealed = [point for point in experiment.points if point.is_sealed]
    for point in sealed:
        point.store.delete_parts()
    if len(sealed) == len(experiment.points) and not experiment.keeps_batches:
        experiment.store.delete_parts()


def _shared_record(experiment: Experiment) -> Callable[[Point], SharedRecord]:
    """Return a function that gives the part of a point's record that the sweep's folder has."""
    partitions, ledger = experiment.plan.partitions, experiment.ledger
    excerpt = experiment.journal.excerpts(lambda index: partitions[index].point)
    batches = experiment.store.read_batches()

    def record(point: Point) -> SharedRecord:
        used = {attempt.batch for attempt in ledger.all_attempts(point.own_indices)}
        return SharedRecord([one for one in batches if one["id"] in used], excerpt(point.index))

    return record


def _summary(experiment: Experiment, point: Point) -> tuple[Path, PointSummary]:
    assert point.archive is not None
    assert point.status is not None
    with open_archive(point.archive) as sealed:
        usage_s, usage_pending = sealed.usage_s, sealed.usage_pending
    return point.archive, PointSummary(
        status=point.status,
        done=len(experiment.done(point)),
        planned=len(point.partitions),
        num_pubs=sum(partition.num_pubs for partition in point.partitions),
        usage_s=usage_s,
        usage_pending=usage_pending,
        predicted_s=sum(partition.qpu_s for partition in point.partitions),
        batch_ids=tuple(opened.batch for opened in experiment.ledger.batches),
        next_words=_next_words(experiment),
        point=point.index,
    )


def _sweep_summary(experiment: Experiment, sealed: Sequence[PointSummary]) -> SweepSummary:
    points, ledger = experiment.points, experiment.ledger
    known = {one.point: (one.usage_s, one.usage_pending) for one in sealed}
    usages = [known.get(point.index) or _usage(point) for point in points]
    return SweepSummary(
        status=experiment.status(),
        points=tuple(experiment.status(point) for point in points),
        failed=failed_points(experiment),
        jobs=experiment.plan.num_jobs,
        usage_s=sum(seconds for seconds, _ in usages),
        usage_pending=sum(pending for _, pending in usages),
        predicted_s=experiment.plan.qpu_s,
        batch_ids=tuple(opened.batch for opened in ledger.batches),
        next_words=_next_words(experiment),
    )


def _next_words(experiment: Experiment) -> tuple[str, ...]:
    """Return the words of the command that goes on, besides what was given anew."""
    if experiment.ledger.is_cancelled and experiment.out() > 0:
        return ("--collect-only",)
    return experiment.next_words


def _usage(point: Point) -> tuple[float, int]:
    """Return what a point was charged that this process has not sealed, and pending charges."""
    if point.is_sealed:
        with suppress(ArchiveError), open_archive(point.folder) as archive:
            return archive.usage_s, archive.usage_pending
        return 0.0, 0
    charges = point.store.charges().values()
    return sum(seconds for seconds, _ in charges), sum(is_pending for _, is_pending in charges)


def failed_points(experiment: Experiment) -> dict[int, str]:
    """Return the points that failed, with nothing left to try, and the reason of each."""
    ledger = experiment.ledger
    failed = {index: event.reason for index, event in ledger.unplanned.items()}
    for point in experiment.points:
        lacks_result = point.partitions and len(experiment.done(point)) < len(point.partitions)
        if ledger.ended not in (None, "planned") and lacks_result:
            failed[point.index] = (
                f"{len(point.partitions) - len(experiment.done(point))} of its jobs have no result"
            )
    return failed


def raise_for_points(experiment: Experiment) -> None:
    """Raise if points of a sweep cannot run.

    Raises:
        PointsFailedError: At least one cannot; the message has the command that tries them again.
    """
    first, ledger = experiment.first_of_round, experiment.ledger
    unplanned = {index: event for index, event in ledger.unplanned.items() if index >= first}
    if not unplanned:
        return
    shown = ", ".join(experiment.points[index].folder.name for index in [*unplanned][:_MOST_SHOWN])
    more = ", ..." if len(unplanned) > _MOST_SHOWN else ""
    raise PointsFailedError(
        f"{len(unplanned)} of {len(experiment.points)} points cannot run ({shown}{more}; the "
        f"reasons are above); the others are kept; to try them again: "
        f"{command_to_resume(experiment)}",
        max(event.exit_code for event in unplanned.values()),
    )


def raise_unless_complete(experiment: Experiment, failure: Exception | None) -> None:
    """Raise an error that names what is missing, the reason, and the command to resume."""
    raise_if_stopped(experiment, failure)
    if failure is not None:
        raise_failure(experiment, failure)
    ledger = experiment.ledger
    failed = sorted(set(range(ledger.num_partitions)) - ledger.done)
    if not failed:
        raise_for_points(experiment)
        return
    last = [attempts[-1] for i in failed if (attempts := ledger.attempts.get(i))]
    refused = [attempt for attempt in last if attempt.failure in FINAL_FAILURES]
    command = command_to_resume(experiment, *["--retry-refused"] * bool(refused))
    again = f"to try them again: {command}"
    if refused:
        which = "them" if len(refused) == len(failed) else f"{len(refused)} of them"
        again = f"the service refused {which}; to try them again all the same: {command}"
    archives = dict.fromkeys(str(experiment.point_of(index).archive) for index in failed)
    raise JobsFailedError(
        f"{len(failed)} of {ledger.num_partitions} jobs have no result (partitions "
        f"{', '.join(map(str, failed[:10]))}{'...' if len(failed) > 10 else ''}); the "
        f"others and the reasons are in {', '.join(archives)}; {again}"
    )


def raise_failure(experiment: Experiment, failure: Exception) -> NoReturn:
    """Raise an error that ended the work, as one that says what is kept and how to go on."""
    if isinstance(failure, RetiredError):
        raise JobsFailedError(
            f"{_reason(failure)}; {_kept(experiment)}; to measure the whole on another backend, "
            f"start a new run with backend=least_busy; only if this one comes back: "
            f"{_command_after(experiment, failure)}"
        )
    keeps_type = isinstance(failure, QexpError) and not isinstance(failure, EngineError)
    kind = type(failure) if keeps_type else UnfinishedError
    cause = None if isinstance(failure, QexpError) else failure
    command = _command_after(experiment, failure)
    raise kind(f"{_reason(failure)}; {_kept(experiment)}; go on with: {command}") from cause


def raise_if_stopped(experiment: Experiment, failure: Exception | None) -> None:
    """Raise `KeyboardInterrupt` if a stop was asked for, however late, with what is kept."""
    if not (isinstance(failure, StopRequested) or experiment.interrupts.is_set()):
        return
    kept = f"{_kept(experiment)}; go on with: {_command_after(experiment, failure)}"
    if len(experiment.ledger.done) == experiment.ledger.num_partitions:
        where = (str(point.archive or point.folder) for point in experiment.points)
        kept = f"all {experiment.ledger.num_partitions} jobs are kept: {', '.join(where)}"
    also = "" if failure is None or isinstance(failure, StopRequested) else _reason(failure)
    raise KeyboardInterrupt("; ".join(filter(None, ["interrupted", also, kept])))


def _kept(experiment: Experiment) -> str:
    return f"{len(experiment.ledger.done)} of {experiment.ledger.num_partitions} jobs are kept"


def _command_after(experiment: Experiment, failure: Exception | None) -> str:
    """Return the command that goes on where a process stopped."""
    if experiment.stop_after != "collect" or not experiment.ledger.is_cancelled:
        return command_to_resume(experiment)
    if isinstance(failure, UnfinishedError):
        return command_to_resume(experiment, "--collect-only")
    # Not everything is cancelled yet.
    return command_to_resume(experiment, verb="cancel")


def _reason(failure: BaseException) -> str:
    if isinstance(failure, StopRequested):
        return "interrupted"
    text = one_line(redact(str(failure))).rstrip(".")
    return text if isinstance(failure, QexpError) else f"{type(failure).__name__}: {text}"
