"""An experiment from its declaration to its sealed archives.

`run`, `plan` and `resume` open an experiment; `carry_out` takes it through its stages (plan,
batch, archive), whether it is new or goes on. The functions below `carry_out` are those stages, in
their order. Analyses of the sealed data come last.

The header and the plan are on disk before the first submission, each job's outcome as soon as it
is collected, and the sealed `run.h5` at the end. A process that stops anywhere leaves all that
`resume` needs; `qexp.batch.execute` describes that protocol.
"""

from __future__ import annotations

import logging
import os
import shlex
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
from qexp.points import Clock, Experiment, Point, StopRequested, is_sealed, open_experiment
from qexp.provenance import run_header
from qexp.redact import redact
from qexp.text import one_line, short_path

if TYPE_CHECKING:
    from qexp.core.spec import RunSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """The state in which a run was left."""

    archive: Path | None  # path of `run.h5`; None while its jobs are out
    status: RunStatus | None  # the status in the archive
    plan: Plan | None  # None for a run that had been complete before


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
        clock: The time; tests bring their own.
        interrupts: Notes signals; None: the second one ends the process.

    Raises:
        ConfigError: The backend does not exist or does not suit the engine, or `folder` already
            holds a run.
        PlanError: The circuits cannot run as declared; nothing was submitted.
        EngineError: The batch could not be opened.
        UnfinishedError: Jobs are still out or to be submitted; `resume` goes on.
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


def plan(spec: RunSpec, folder: Path, observer: Observer | None = None) -> RunReport:
    """Plan a declared experiment and submit nothing; `resume` runs the plan.

    Args and errors are those of `run`; the report has the plan.
    """
    return run(replace(spec, stop_after="plan"), folder, observer)


def resume(
    spec: RunSpec,
    folder: Path,
    observer: Observer | None = None,
    *,
    clock: Clock | None = None,
    interrupts: Interrupts | None = None,
) -> RunReport:
    """Go on with a run from wherever it stopped. Harmless on one that is complete.

    Once the plan is committed, nothing is generated or transpiled again. No partition is submitted
    that has a result, or a job that may still give one.

    Args:
        spec: The same experiment; its `policy` and `stop_after` may differ.
        folder: The run's folder, which may have been copied from elsewhere.
        observer: Receives progress events.
        clock: The time; tests bring their own.
        interrupts: Notes signals; None: the second one ends the process.

    Raises:
        As `run`.
    """
    if not any((folder / name).exists() for name in (JOURNAL_NAME, ARCHIVE_NAME)):
        raise ConfigError(f"{folder} holds no run: name the folder of one, as in outputs/NAME/ID")
    if is_sealed(folder):
        return _report_sealed(folder)
    point = Point(spec, folder)
    with open_experiment(folder, [point], observer, clock, interrupts) as experiment:
        if (folder / ARCHIVE_NAME).exists() and not point.store.has_parts:
            # A process was killed while it removed the parts that the archive already holds.
            point.seal("complete")
            return _report_sealed(folder)
        experiment.journal.append(Resumed(socket.gethostname(), os.getpid(), __version__))
        carry_out(experiment)
    make_declared_analyses(point, experiment.observer)
    return RunReport(point.archive, point.status, experiment.plan)


def resume_command(folder: Path) -> str:
    """Return the command that goes on with a run, to be copied into a shell."""
    return shlex.join(["python", "-m", "qexp", "resume", short_path(folder)])


def _report_sealed(folder: Path) -> RunReport:
    archive = folder / ARCHIVE_NAME
    with open_archive(archive) as sealed:
        status = sealed.status
    if status != "complete":
        raise ArchiveError(
            f"{archive} is {status}, and the parts that a run goes on from are not beside it; "
            f"run it again with the overrides that it records"
        )
    return RunReport(archive, status, None)


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
                f"{backend.name!r}; select the former"
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
    """Plan every point. Returns when each part is on disk, and the journal has their digests."""
    workers = experiment.workers if experiment.plans_with_workers else None
    parts: list[str] = []
    for point in experiment.points:
        # An incomplete plan is made anew; jobs are submitted only once it is committed.
        point.store.discard_plan()
        point.store.write_header(run_header(point.spec, experiment.backend, point.folder.name))
        parts += plan_point(point, len(parts), experiment.observer, workers)
    experiment.gather_plan()
    warnings = check_max_time(experiment.plan, experiment.max_time_s, experiment.limits)
    experiment.journal.append(Planned(tuple(parts)))
    experiment.observer.planned(experiment.plan, experiment.max_time_s, experiment.limits)
    for message in warnings if experiment.engine.uses_qpu else ():
        experiment.observer.warned(message)


def _load_plan(experiment: Experiment) -> None:
    """Read the committed plan, and the outcomes that are on disk."""
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
    done, out = len(ledger.done), len(ledger.open_attempts())
    experiment.observer.resumed(experiment.plan, done, out, on_disk - done - out)


def _run_jobs(experiment: Experiment) -> Exception | None:
    """Submit and collect until nothing is left, or until it cannot go on.

    Returns:
        The error that ended it once a batch was open, or None.
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
    """Tell the observer that everything is submitted and nothing is waited for."""
    ledger = experiment.ledger
    batch_ids = tuple(opened.batch for opened in ledger.batches)
    experiment.observer.detached(experiment.plan, len(ledger.open_attempts()), batch_ids)


def _end(experiment: Experiment, failure: Exception | None) -> None:
    """Seal what there is, and raise what is wrong: the `failure`, or jobs without a result."""
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
    """Seal the archive of each point with what there is."""
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
    """Raise an error that names what is missing, the reason, and the command that goes on."""
    ledger = experiment.ledger
    done, planned = ledger.done, ledger.num_partitions
    command = resume_command(experiment.folder)
    go_on = f"{len(done)} of {planned} jobs are kept; go on with: {command}"
    if isinstance(failure, StopRequested):
        raise KeyboardInterrupt(f"interrupted; {go_on}")
    if failure is not None:
        is_final = isinstance(failure, QexpError) and not isinstance(failure, EngineError)
        kind = type(failure) if is_final else UnfinishedError
        cause = None if isinstance(failure, QexpError) else failure
        raise kind(f"{_reason(failure)}; {go_on}") from cause
    failed = sorted(set(range(planned)) - done)
    if failed:
        refused = all(ledger.attempts[index][-1].failure == "refused" for index in failed)
        again = "they would be refused again" if refused else f"to try them again: {command}"
        archives = dict.fromkeys(str(experiment.point_of(index).archive) for index in failed)
        raise JobsFailedError(
            f"{len(failed)} of {planned} jobs have no result (partitions "
            f"{', '.join(map(str, failed[:10]))}{'...' if len(failed) > 10 else ''}); the "
            f"others and the reasons are in {', '.join(archives)}; {again}"
        )


def _reason(failure: BaseException) -> str:
    text = one_line(redact(str(failure))).rstrip(".")
    if isinstance(failure, StopRequested):
        return "interrupted"
    return text if isinstance(failure, QexpError) else f"{type(failure).__name__}: {text}"
