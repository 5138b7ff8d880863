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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qexp import __version__
from qexp.analysis.declared import make_declared_analyses
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME
from qexp.batch.execute import cancel as cancel_jobs
from qexp.batch.execute import collect_finished, execute
from qexp.batch.pacing import Patience
from qexp.batch.recover import note_stored_outcomes
from qexp.core.model import Plan, RunStatus
from qexp.core.observer import Observer
from qexp.core.protocols import RemoteEngine
from qexp.endings import (
    close_left_open,
    command_to_resume,
    end,
    raise_if_stopped,
    raise_unless_complete,
    seal,
)
from qexp.errors import (
    ArchiveError,
    ConfigError,
    JobsFailedError,
    OutageError,
    UnfinishedError,
)
from qexp.interrupts import Interrupts
from qexp.journal.events import Ended, Planned, Resumed, Started
from qexp.planning.build import plan_point
from qexp.planning.table import check_max_time
from qexp.points import (
    Clock,
    Experiment,
    Point,
    StopRequested,
    finished_archive,
    open_experiment,
)
from qexp.provenance import run_header

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
        observer: As in `run`, like the rest.
        clock: As in `run`.
        interrupts: As in `run`.

    Raises:
        As `run`.
    """
    return _go_on(spec, folder, observer, clock, interrupts, execute)


def cancel(
    spec: RunSpec,
    folder: Path,
    observer: Observer | None = None,
    *,
    clock: Clock | None = None,
    interrupts: Interrupts | None = None,
) -> RunReport:
    """Cancel the jobs of a run that are queued, close its batches, and seal what has run.

    Args:
        spec: The same experiment.
        folder: The run's folder.
        observer: As in `run`, like the rest.
        clock: As in `run`.
        interrupts: As in `run`.

    Returns:
        The state in which the run was left; without an archive and a status if nothing was ever
        out: it was not submitted, or its engine's jobs end with their process.

    Raises:
        UnfinishedError: Jobs are running, and left to be collected.
        EngineError, ArchiveError, RunLockedError, KeyboardInterrupt: As `run`.
    """
    spec = replace(spec, stop_after="collect")
    return _go_on(spec, folder, observer, clock, interrupts, cancel_jobs)


def _go_on(
    spec: RunSpec,
    folder: Path,
    observer: Observer | None,
    clock: Clock | None,
    interrupts: Interrupts | None,
    work: Callable[[Experiment], None],
) -> RunReport:
    """Go on with a run that is not complete, by `work` on its jobs."""
    if not any((folder / name).exists() for name in (JOURNAL_NAME, ARCHIVE_NAME)):
        raise ConfigError(f"{folder} holds no run: name the folder of one, as in outputs/NAME/ID")
    if (archive := finished_archive(folder)) is not None:
        return RunReport(archive, "complete", None)
    point, cancels = Point(spec, folder), work is cancel_jobs
    with open_experiment(folder, [point], observer, clock, interrupts) as experiment:
        if (folder / ARCHIVE_NAME).exists() and not point.store.has_header:
            # An earlier process was killed while removing the merged parts, or left a batch open.
            point.seal("complete")
            close_left_open(experiment)
            return RunReport(folder / ARCHIVE_NAME, "complete", None)
        is_remote = isinstance(experiment.engine, RemoteEngine)
        if cancels and not (is_remote and experiment.ledger.batches):
            return RunReport(None, None, None)
        experiment.journal.append(Resumed(socket.gethostname(), os.getpid(), __version__))
        # What was cancelled has no result, which is as it should be.
        with suppress(*[JobsFailedError] * cancels):
            carry_out(experiment, work)
    make_declared_analyses(point, experiment.observer)
    return RunReport(point.archive, point.status, experiment.plan)


def carry_out(experiment: Experiment, work: Callable[[Experiment], None] = execute) -> None:
    """Take an experiment from where it stands to its end: plan, batch, archive.

    Args:
        experiment: The experiment.
        work: The work on its jobs, once it is planned.

    Raises:
        As `run`.
    """
    if experiment.stop_after == "collect":
        _refuse_to_collect_nothing(experiment)
        work = collect_finished if work is execute else work
    if experiment.ledger.committed is None:
        if experiment.plans_with_workers:
            experiment.workers.prepare()
        _select(experiment)
        _make_plan(experiment)
        if experiment.stop_after == "plan":
            experiment.journal.append(Ended("planned"))
            seal(experiment)
            return
    else:
        _load_plan(experiment)
        if experiment.has_work or work is cancel_jobs:
            _select(experiment)
    with experiment.interrupts:
        failure = _run_jobs(experiment, work)
        if (
            experiment.stop_after == "submit"
            and failure is None
            and experiment.ledger.open_attempts()
        ):
            _detach(experiment)
            raise_if_stopped(experiment, failure)
        else:
            end(experiment, failure)


def _refuse_to_collect_nothing(experiment: Experiment) -> None:
    if not experiment.ledger.batches:
        raise UnfinishedError(
            f"nothing was submitted, so that there is nothing to collect; go on with: "
            f"{command_to_resume(experiment)}"
        )


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
    if isinstance(engine, RemoteEngine):
        engine.limit_waiting(backend, experiment.policy.outage_s)
    experiment.observer.backend_selected(backend.name, backend.num_qubits, engine.name)
    for workload in (item for point in experiment.points for item in point.spec.workloads):
        for option, value in engine.ignored_options(workload.primitive).items():
            experiment.observer.warned(
                f"workload '{workload.name}': the engine '{engine.name}' does not honour "
                f"{option}={value}"
            )


def _select(experiment: Experiment) -> None:
    """Select the backends; on a resume with patience, because jobs may be waiting there.

    Raises:
        UnfinishedError: The service was out of reach for too long.
    """
    if not experiment.ledger.process_number:
        _select_backends(experiment)
        return
    try:
        Patience(experiment).call(lambda: _select_backends(experiment), (OutageError,))
    except OutageError as error:
        if not experiment.ledger.batches:
            raise
        raise_unless_complete(experiment, error)
    except StopRequested:
        raise KeyboardInterrupt("interrupted; what was measured is kept") from None


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
    # By partition: several jobs may hold PUBs of one.
    done, in_flight = ledger.done, {attempt.partition for attempt in ledger.open_attempts()}
    missing = on_disk - len(done | in_flight)
    experiment.observer.resumed(experiment.plan, len(done), len(in_flight - done), missing)


def _run_jobs(experiment: Experiment, work: Callable[[Experiment], None]) -> Exception | None:
    """Do the `work` on the jobs until nothing of it is left, or an error ends it.

    Returns:
        The error that ended it after a batch was opened, or None.
    """
    if not experiment.has_work and work is not cancel_jobs:
        return None
    try:
        work(experiment)
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
