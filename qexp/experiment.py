"""An experiment from its declaration to its sealed archives.

`run` and `resume` open an experiment; `carry_out` takes it through its stages (plan, batch,
archive), whether it is new or resumed. The functions below `carry_out` are those stages, in their
order. Analyses of the sealed data come last.

The header and the plan are on disk before the first submission, each job's outcome as soon as it
is collected, and the sealed `run.h5` at the end. A process that stops anywhere leaves all that
`resume` needs; `qexp.batch.execute` describes that protocol.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qexp import __version__
from qexp.analysis.declared import make_declared_analyses
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME
from qexp.batch.execute import execute
from qexp.batch.recover import note_stored_outcomes
from qexp.core.model import Plan, RunStatus
from qexp.core.observer import Observer, PointSummary
from qexp.errors import (
    ArchiveError,
    ConfigError,
    EngineError,
    JobsFailedError,
    QexpError,
    UnfinishedError,
)
from qexp.interrupts import Interrupts
from qexp.journal.ledger import Ended, Interrupted, Planned, Resumed, Sealed, Started
from qexp.planning.build import plan_point
from qexp.planning.table import check_max_time
from qexp.points import (
    Clock,
    Experiment,
    Point,
    StopRequested,
    finished_archive,
    open_experiment,
    resume_command,
)
from qexp.provenance import run_header
from qexp.redact import redact
from qexp.text import one_line

if TYPE_CHECKING:
    from qexp.core.spec import RunSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """The state in which a run was left."""

    archive: Path | None  # path of `run.h5`; None while its jobs are in flight
    status: RunStatus | None  # the status in the archive
    plan: Plan | None  # None if the run was already complete


def run(
    spec: RunSpec,
    folder: Path,
    observer: Observer | None = None,
    *,
    clock: Clock | None = None,
    interrupts: Interrupts | None = None,
) -> RunReport:
    """Run a declared experiment and leave its archive in a folder.

    May be called again and again in one process, in any thread, and in a running event loop.

    Args:
        spec: The validated experiment; its `stop_after` says where to stop.
        folder: The run's own folder; its name is the run id.
        observer: Receives progress events.
        clock: The clock; tests substitute their own.
        interrupts: Handles signals; None: the second one ends the process.

    Raises:
        ConfigError: The backend does not exist or does not suit the engine, or `folder` already
            holds a run.
        PlanError: The circuits cannot run as declared; nothing was submitted.
        EngineError: The batch could not be opened.
        UnfinishedError: Jobs are in flight or still to be submitted; `resume` continues.
        JobsFailedError: Everything was tried, but jobs have no result; the archive says why.
        ArchiveError: Something could not be written.
        RunLockedError: Another process works on the run.
        KeyboardInterrupt: Interrupted; once a batch is open, what was collected is sealed.
    """
    if any((folder / name).exists() for name in (ARCHIVE_NAME, PARTS_NAME, JOURNAL_NAME)):
        raise ConfigError(
            f"hydra.run.dir: {folder} already holds a run, which is never overwritten; name "
            f"another folder or leave hydra.run.dir and hydra.sweep.subdir as they are "
            f"(to go on with that run: run_dir={folder})"
        )
    point = Point(spec, folder)
    with open_experiment(folder, [point], observer, clock, interrupts) as experiment:
        experiment.journal.append(Started(socket.gethostname(), os.getpid(), __version__))
        carry_out(experiment)
    make_declared_analyses(point, experiment.observer)
    return RunReport(point.archive, point.status, experiment.plan)


def resume(
    spec: RunSpec,
    folder: Path,
    observer: Observer | None = None,
    *,
    clock: Clock | None = None,
    interrupts: Interrupts | None = None,
) -> RunReport:
    """Resume a run from wherever it stopped. Harmless if it is complete.

    Once the plan is committed, nothing is generated or transpiled again. No partition is submitted
    that has a result, or a job that may still give one.

    Args:
        spec: The same experiment; its `policy` and `stop_after` may differ.
        folder: The run's folder, which may have been copied from elsewhere.
        observer: Receives progress events.
        clock: The clock; tests substitute their own.
        interrupts: Handles signals; None: the second one ends the process.

    Raises:
        As `run`.
    """
    if not any((folder / name).exists() for name in (JOURNAL_NAME, ARCHIVE_NAME)):
        raise ConfigError(f"{folder} holds no run: name the folder of one, as in outputs/NAME/ID")
    if (archive := finished_archive(folder)) is not None:
        return RunReport(archive, "complete", None)
    point = Point(spec, folder)
    with open_experiment(folder, [point], observer, clock, interrupts) as experiment:
        if (folder / ARCHIVE_NAME).exists() and not point.store.has_header:
            # An earlier process was killed while removing the merged parts.
            point.seal("complete")
            return RunReport(finished_archive(folder), "complete", None)
        experiment.journal.append(Resumed(socket.gethostname(), os.getpid(), __version__))
        carry_out(experiment)
    make_declared_analyses(point, experiment.observer)
    return RunReport(point.archive, point.status, experiment.plan)


def carry_out(experiment: Experiment) -> None:
    """Take an experiment from where it stands to its end: plan, batch, archive.

    Raises:
        As `run`.
    """
    if experiment.ledger.committed is None:
        if experiment.plans_with_workers:
            experiment.workers.prepare()
        _select_backends(experiment)
        _make_plan(experiment)
        if experiment.stop_after == "plan":
            experiment.journal.append(Ended("planned"))
            _seal(experiment)
            return
    else:
        _load_plan(experiment)
        if experiment.has_work:
            _select_backends(experiment)
    with experiment.interrupts:
        failure = _run_jobs(experiment)
        if (
            experiment.stop_after == "submit"
            and failure is None
            and experiment.ledger.open_attempts()
        ):
            _detach(experiment)
            _raise_if_stopped(experiment, failure)
        else:
            _end(experiment, failure)


def _select_backends(experiment: Experiment) -> None:
    """Select each point's backend: as declared, or the one that a recorded plan is for."""
    for point in experiment.points:
        recorded = point.recorded_backend
        backend = point.backend = point.spec.select_backend(recorded)
        experiment.engine.check_backend(backend)
        if recorded is not None and backend.name != recorded:
            raise ConfigError(
                f"backend: the run's circuits are for {recorded!r}, and the config selects "
                f"{backend.name!r}; select {recorded!r}"
            )
    backend, engine = experiment.backend, experiment.engine
    experiment.observer.backend_selected(backend.name, backend.num_qubits, engine.name)
    for workload in (item for point in experiment.points for item in point.spec.workloads):
        for option, value in engine.ignored_options(workload.primitive).items():
            experiment.observer.warned(
                f"workload '{workload.name}': the engine '{engine.name}' does not honour "
                f"{option}={value}"
            )


def _make_plan(experiment: Experiment) -> None:
    """Plan every point; return once each part is on disk and its digest in the journal."""
    workers = experiment.workers if experiment.plans_with_workers else None
    digests: list[str] = []
    for point in experiment.points:
        # An incomplete plan is rebuilt; jobs are submitted only once it is committed.
        point.store.discard_plan()
        point.store.write_header(run_header(point.spec, experiment.backend, point.folder.name))
        digests += plan_point(point, len(digests), experiment.observer, workers)
    experiment.gather_plan()
    warnings = check_max_time(experiment.plan, experiment.max_time_s, experiment.limits)
    experiment.journal.append(Planned(tuple(digests)))
    experiment.observer.planned(experiment.plan, experiment.max_time_s, experiment.limits)
    for message in warnings if experiment.engine.uses_qpu else ():
        experiment.observer.warned(message)


def _load_plan(experiment: Experiment) -> None:
    """Read the committed plan and the outcomes on disk."""
    for point in experiment.points:
        point.partitions = tuple(
            replace(partition, point=point.index) for partition in point.store.read_partitions()
        )
    experiment.gather_plan()
    ledger, on_disk = experiment.ledger, len(experiment.plan.partitions)
    if on_disk != ledger.num_partitions:
        raise ArchiveError(
            f"{experiment.folder} has parts of {on_disk} partitions, but "
            f"{ledger.num_partitions} were planned; restore them from a copy"
        )
    note_stored_outcomes(experiment)
    done, in_flight = len(ledger.done), len(ledger.open_attempts())
    missing = on_disk - done - in_flight
    experiment.observer.resumed(experiment.plan, done, in_flight, missing)


def _run_jobs(experiment: Experiment) -> Exception | None:
    """Submit and collect until nothing is left, or an error ends it.

    Returns:
        The error that ended it after a batch was opened, or None.
    """
    if not experiment.has_work:
        return None
    try:
        execute(experiment)
    except Exception as error:
        if not experiment.ledger.batches:
            if isinstance(error, StopRequested):
                raise KeyboardInterrupt("interrupted before anything was submitted") from None
            raise
        _log.error("the run stopped", exc_info=not isinstance(error, StopRequested))
        return error
    return None


def _detach(experiment: Experiment) -> None:
    """Tell the observer that all jobs are submitted, and this process detaches."""
    ledger = experiment.ledger
    batch_ids = tuple(opened.batch for opened in ledger.batches)
    experiment.observer.detached(experiment.plan, len(ledger.open_attempts()), batch_ids)


def _end(experiment: Experiment, failure: Exception | None) -> None:
    """Seal the results so far, then raise the `failure` or report jobs without a result."""
    status = experiment.status()
    try:
        if failure is None or status == "complete":
            experiment.journal.append(Ended(status))
        else:
            experiment.journal.append(Interrupted(_reason(failure)))
        _seal(experiment)
    except ArchiveError:
        if failure is None:
            raise
        _log.error("the archive could not be sealed; its parts are kept", exc_info=True)
    _raise_unless_complete(experiment, failure)


def _seal(experiment: Experiment) -> None:
    """Seal the archive of each point with the results so far."""
    for point in experiment.points:
        point.seal(experiment.status(point))
    experiment.journal.append(Sealed(experiment.status()))
    for point in experiment.points:
        assert point.archive is not None
        assert point.status is not None
        with open_archive(point.archive) as sealed:
            usage_s = sealed.usage_s
        summary = PointSummary(
            status=point.status,
            done=len(experiment.done(point)),
            planned=len(point.partitions),
            num_pubs=sum(partition.num_pubs for partition in point.partitions),
            usage_s=usage_s,
            predicted_s=sum(partition.qpu_s for partition in point.partitions),
            batch_ids=tuple(opened.batch for opened in experiment.ledger.batches),
        )
        experiment.observer.sealed(point.archive, summary)


def _raise_unless_complete(experiment: Experiment, failure: Exception | None) -> None:
    """Raise an error that names what is missing, the reason, and the command to resume."""
    _raise_if_stopped(experiment, failure)
    ledger = experiment.ledger
    done, planned = ledger.done, ledger.num_partitions
    if failure is not None:
        keeps_type = isinstance(failure, QexpError) and not isinstance(failure, EngineError)
        kind = type(failure) if keeps_type else UnfinishedError
        cause = None if isinstance(failure, QexpError) else failure
        raise kind(f"{_reason(failure)}; {_kept(experiment)}") from cause
    failed = sorted(set(range(planned)) - done)
    if failed:
        refused = all(ledger.attempts[index][-1].failure == "refused" for index in failed)
        command = resume_command(experiment.folder, experiment.points[0].spec.config_yaml)
        again = "they would be refused again" if refused else f"to try them again: {command}"
        archives = dict.fromkeys(str(experiment.point_of(index).archive) for index in failed)
        raise JobsFailedError(
            f"{len(failed)} of {planned} jobs have no result (partitions "
            f"{', '.join(map(str, failed[:10]))}{'...' if len(failed) > 10 else ''}); the "
            f"others and the reasons are in {', '.join(archives)}; {again}"
        )


def _raise_if_stopped(experiment: Experiment, failure: Exception | None) -> None:
    """Raise `KeyboardInterrupt` if a stop was asked for, however late, with what is kept."""
    if not (isinstance(failure, StopRequested) or experiment.interrupts.is_set()):
        return
    also = "" if failure is None or isinstance(failure, StopRequested) else _reason(failure)
    raise KeyboardInterrupt("; ".join(filter(None, ["interrupted", also, _kept(experiment)])))


def _kept(experiment: Experiment) -> str:
    """Say how much is kept, and where a complete run is, or the command that goes on."""
    done, planned = len(experiment.ledger.done), experiment.ledger.num_partitions
    if done == planned:
        where = [str(point.archive or point.folder) for point in experiment.points]
        return f"all {planned} jobs are kept: {', '.join(where)}"
    command = resume_command(experiment.folder, experiment.points[0].spec.config_yaml)
    return f"{done} of {planned} jobs are kept; go on with: {command}"


def _reason(failure: BaseException) -> str:
    text = one_line(redact(str(failure))).rstrip(".")
    if isinstance(failure, StopRequested):
        return "interrupted"
    return text if isinstance(failure, QexpError) else f"{type(failure).__name__}: {text}"
