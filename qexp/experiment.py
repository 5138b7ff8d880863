"""An experiment from its declaration to its sealed archives.

`carry_out` is the whole story (config -> plan -> batch -> archive), for a new experiment and for
one that goes on; what follows it are its steps, in their order. Analyses come last.

What is on disk after each step: the journal's first line, the header and the plan before the first
submission, each job's part as soon as it is collected, the sealed `run.h5` at the end. A process
that stops anywhere leaves all that `resume` needs; `qexp.batch.execute` says how.
"""

from __future__ import annotations

import logging
import os
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qexp import __version__
from qexp.analysis.declared import make_declared_analyses
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME
from qexp.batch.execute import execute
from qexp.batch.recover import note_what_is_on_disk
from qexp.core.model import Plan, RunStatus
from qexp.core.observer import Observer, RunSummary
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
from qexp.planning.build import check_max_time, plan_point
from qexp.points import Clock, Experiment, Point, Stopped, is_sealed, open_experiment
from qexp.provenance import run_header
from qexp.redact import redact
from qexp.text import one_line, short_path

if TYPE_CHECKING:
    from qexp.core.spec import RunSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """The state in which a run was left.

    Attributes:
        archive: Path of `run.h5`, or None where nothing was collected yet.
        status: As in the archive; None where there is none.
        plan: The plan, or None for a run that had been complete before.
    """

    archive: Path | None
    status: RunStatus | None
    plan: Plan | None


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
        observer: Receives progress events; None: nobody does.
        clock: For tests; None: real time.
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
        KeyboardInterrupt: Interrupted; the archive is sealed with what was collected.
    """
    _refuse_used(folder)
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

    Nothing is generated or transpiled again once the plan was committed, and no job is submitted
    whose partition has a result or a job that may still give one.

    Args:
        spec: The same experiment; its `policy` and `stop_after` may differ.
        folder: The run's folder, which may have been copied from elsewhere.
        observer: Receives progress events; None: nobody does.
        clock: For tests; None: real time.
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


def _refuse_used(folder: Path) -> None:
    if any((folder / name).exists() for name in (ARCHIVE_NAME, PARTS_NAME, JOURNAL_NAME)):
        raise ConfigError(
            f"hydra.run.dir: {folder} already holds a run, which is never overwritten; name "
            f"another folder or leave hydra.run.dir and hydra.sweep.subdir as they are "
            f"(to go on with that run: run_dir={folder})"
        )


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
    """Take an experiment from where it stands to its end.

    Raises:
        As `run`.
    """
    stop_after = experiment.stop_after
    if experiment.ledger.plan is None:
        if experiment.plans_with_workers:
            experiment.workers.prepare()
        _select_backends(experiment)
        _make_plan(experiment)
        if stop_after == "plan":
            experiment.journal.append(Ended("planned"))
            _seal(experiment, planned_only=True)
            return
    else:
        _load_plan(experiment)
        if experiment.has_work:
            _select_backends(experiment)
    with experiment.interrupts:
        failure = _run_jobs(experiment, stop_after_submit=stop_after == "submit")
        if stop_after == "submit" and failure is None and experiment.ledger.open():
            _leave(experiment)
        else:
            _end(experiment, failure)


def _select_backends(experiment: Experiment) -> None:
    """Select each point's backend: as declared, or the one that a recorded plan is for."""
    for point in experiment.points:
        recorded, spec = point.recorded_backend, point.spec
        backend = point.backend = spec.select_backend(recorded)
        spec.engine.check_backend(backend)
        if recorded is not None and backend.name != recorded:
            raise ConfigError(
                f"backend: the run's circuits are for {recorded!r}, and the config selects "
                f"{backend.name!r}; select the former"
            )
    backend, engine = experiment.backend, experiment.engine
    experiment.observer.backend_selected(backend.name, backend.num_qubits, engine.name)
    for point in experiment.points:
        for message in _ignored_options(point.spec):
            experiment.observer.warned(message)


def _ignored_options(spec: RunSpec) -> Iterator[str]:
    """Name the options that `engine.allow_ignored_options` lets pass."""
    for workload in spec.workloads:
        for option, value in spec.engine.ignored_options(workload.primitive).items():
            yield (
                f"workload '{workload.name}': the engine '{spec.engine.name}' does not honour "
                f"{option}={value}"
            )


def _make_plan(experiment: Experiment) -> None:
    """Plan every point; each part is on disk, and then in the journal, when this returns."""
    workers = experiment.workers if experiment.plans_with_workers else None
    parts: list[str] = []
    for point in experiment.points:
        # An incomplete plan is made anew: nothing was submitted on the strength of it.
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
    """Read the recorded plan, and note the outcomes that are on disk."""
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
    note_what_is_on_disk(experiment)
    done, out = len(ledger.done), len(ledger.open())
    experiment.observer.resumed(experiment.plan, done, out, on_disk - done - out)


def _run_jobs(experiment: Experiment, *, stop_after_submit: bool) -> Exception | None:
    """Submit and collect until nothing is left, or until it cannot go on.

    Returns:
        Why it could not go on although batches exist, or None.
    """
    if not experiment.has_work:
        return None
    try:
        execute(experiment, stop_after_submit=stop_after_submit)
    except Exception as error:
        if not experiment.ledger.batches:
            raise
        _log.error("the run stopped", exc_info=not isinstance(error, Stopped))
        return error
    return None


def _leave(experiment: Experiment) -> None:
    """Tell the observer that everything is submitted and nothing is waited for."""
    ledger = experiment.ledger
    batch_ids = tuple(opened.batch for opened in ledger.batches)
    experiment.observer.detached(experiment.plan, len(ledger.open()), batch_ids)


def _end(experiment: Experiment, failure: Exception | None) -> None:
    """Seal what there is, and raise what is wrong.

    Args:
        experiment: The experiment.
        failure: Why it stopped before its end, or None.
    """
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


def _seal(experiment: Experiment, *, planned_only: bool = False) -> None:
    """Seal the archive of each point with what there is."""
    for point in experiment.points:
        point.seal("planned" if planned_only else experiment.status(point))
    experiment.journal.append(Sealed("planned" if planned_only else experiment.status()))
    for point in experiment.points:
        assert point.archive is not None
        experiment.observer.sealed(point.archive, _summary(experiment, point))


def _summary(experiment: Experiment, point: Point) -> RunSummary:
    assert point.archive is not None
    assert point.status is not None
    with open_archive(point.archive) as sealed:
        usage_s = sealed.usage_s
    return RunSummary(
        status=point.status,
        done=len(experiment.done(point)),
        planned=len(point.partitions),
        num_pubs=sum(partition.num_pubs for partition in point.partitions),
        usage_s=usage_s,
        predicted_s=sum(partition.qpu_s for partition in point.partitions),
        batch_ids=tuple(opened.batch for opened in experiment.ledger.batches),
    )


def _raise_unless_complete(experiment: Experiment, failure: Exception | None) -> None:
    """Say what is missing, why, and how to go on."""
    ledger = experiment.ledger
    done, planned = ledger.done, ledger.num_partitions
    command = resume_command(experiment.folder)
    go_on = f"{len(done)} of {planned} jobs are kept; go on with: {command}"
    if isinstance(failure, Stopped):
        raise KeyboardInterrupt(f"interrupted; {go_on}")
    if isinstance(failure, EngineError | UnfinishedError):
        raise UnfinishedError(f"{_reason(failure)}; {go_on}")
    if isinstance(failure, QexpError):
        raise type(failure)(f"{_reason(failure)}; {go_on}")
    if failure is not None:
        raise UnfinishedError(f"{_reason(failure)}; {go_on}") from failure
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
    if isinstance(failure, Stopped):
        return "interrupted"
    return text if isinstance(failure, QexpError) else f"{type(failure).__name__}: {text}"
