"""An experiment from its declaration to its sealed archives.

`run` and `resume` open an experiment, a single run or a sweep; `carry_out` takes it through its
stages (plan, batch, archive), whether it is new or resumed. The functions below `carry_out` are
those stages, in their order. Analyses of the sealed data come last.

The header and the plan are on disk before the first submission, each job's outcome as soon as it
is collected, and the sealed `run.h5` at the end. A process that stops anywhere leaves all that
`resume` needs; `qexp.batch.execute` describes that protocol.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from qexp import __version__
from qexp.analysis.evaluate import evaluate, make_declared_analyses
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME
from qexp.archive.sweep_file import SWEEP_NAME
from qexp.batch.batches import command_to_resume
from qexp.batch.budget import Budget
from qexp.batch.execute import cancel as cancel_jobs
from qexp.batch.execute import collect_finished, execute
from qexp.core.model import Plan, RunStatus
from qexp.core.observer import Observer
from qexp.core.protocols import RemoteEngine
from qexp.core.spec import RunSpec
from qexp.endings import (
    clear_parts,
    close_left_open,
    end,
    raise_failure,
    raise_for_points,
    raise_if_stopped,
    seal,
)
from qexp.errors import (
    ConfigError,
    JobsFailedError,
    OutageError,
    PointsFailedError,
    UnfinishedError,
)
from qexp.interrupts import Interrupts, StopRequested
from qexp.journal.events import Ended, Resumed, Started
from qexp.points import Clock, Experiment, Point, open_experiment, points_in
from qexp.preparation import load_plan, make_plan, select
from qexp.resumption import finished_archive

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """The state in which a run, or a sweep, was left."""

    archive: Path | None  # path of `run.h5`; None while jobs of the run are out, and of a sweep
    status: RunStatus | None  # the status in the archive, or of the sweep
    plan: Plan | None  # the plan; None if it was already complete
    points: tuple[Point, ...] = ()  # the points, one for a single run


def run(
    specs: RunSpec | Sequence[RunSpec],
    folder: Path,
    observer: Observer | None = None,
    *,
    clock: Clock | None = None,
    interrupts: Interrupts | None = None,
) -> RunReport:
    """Run a declared experiment and leave its archive in a folder, or one for each point.

    May be called again and again in one process, in any thread, and in a running event loop. Errors
    are those of `qexp.run`.

    Args:
        specs: The validated run; for a folder with `sweep.json`, one spec for each point in it.
            `stop_after` says where to stop.
        folder: The experiment's own folder; the name of a run's is the run id.
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
        KeyboardInterrupt: Interrupted; once a batch is open, what was collected is kept.
    """
    if any((folder / name).exists() for name in (ARCHIVE_NAME, PARTS_NAME, JOURNAL_NAME)):
        raise ConfigError(
            f"hydra.run.dir: {folder} already holds a run, which is never overwritten; name "
            f"another folder or leave hydra.run.dir, hydra.sweep.dir and hydra.sweep.subdir as "
            f"they are (to go on with that run: run_dir={folder})"
        )
    points = points_in(folder, specs)
    with open_experiment(folder, points, observer, clock, interrupts) as experiment:
        return start(experiment)


def start(experiment: Experiment) -> RunReport:
    """Start an experiment that was opened in a new folder; see `run`."""
    experiment.journal.append(Started(socket.gethostname(), os.getpid(), __version__))
    return carry_out(experiment)


def start_more(experiment: Experiment, specs: Sequence[RunSpec]) -> RunReport:
    """Run further points of a sweep in the batches that it has open, given the specs of all.

    `sweep.json` has the points by now.

    Raises:
        As `run`.
    """
    experiment.add_points(points_in(experiment.folder, specs)[len(experiment.points) :])
    return carry_out(experiment)


def resume(
    specs: RunSpec | Sequence[RunSpec],
    folder: Path,
    observer: Observer | None = None,
    *,
    clock: Clock | None = None,
    interrupts: Interrupts | None = None,
    work: Callable[[Experiment], None] = execute,
) -> RunReport:
    """Resume a run or a sweep from wherever it stopped. Harmless if it is complete.

    Once the plan of a point is committed, nothing of it is generated or transpiled again. No
    partition is submitted that has a result, or a job that may still give one.

    Arguments and errors are those of `run`. The specs are of the same experiment, of which `policy`
    and `stop_after` may differ; its folder may have been copied from elsewhere. `work` is done on
    its jobs; `cancel` has another.

    Raises:
        As `run`.
    """
    if not any((folder / name).exists() for name in (JOURNAL_NAME, ARCHIVE_NAME, SWEEP_NAME)):
        raise ConfigError(f"{folder} holds no run: name the folder of one, as in outputs/NAME/ID")
    if (archive := finished_archive(folder)) is not None:
        return RunReport(archive, "complete", None)
    points, cancels = points_in(folder, specs), work is cancel_jobs
    with open_experiment(folder, points, observer, clock, interrupts) as experiment:
        if all(point.is_sealed for point in points):
            # An earlier process was killed while removing the merged parts, or left a batch open.
            clear_parts(experiment)
            close_left_open(experiment)
            archive = None if experiment.is_sweep else folder / ARCHIVE_NAME
            return RunReport(archive, "complete", None, experiment.points)
        is_remote = isinstance(experiment.engine, RemoteEngine)
        if cancels and not (is_remote and experiment.ledger.batches):
            return RunReport(None, None, None)
        anew = tuple(word for word in points[0].spec.given_anew if "budget." in word)
        host = socket.gethostname()
        experiment.journal.append(Resumed(host, os.getpid(), __version__, anew=anew))
        # What was cancelled has no result, which is as it should be.
        with suppress(*[JobsFailedError, PointsFailedError] * cancels):
            return carry_out(experiment, work)
        return _report(experiment)


def cancel(
    specs: RunSpec | Sequence[RunSpec], folder: Path, observer: Observer | None = None, **how: Any
) -> RunReport:
    """Cancel the jobs of an experiment that are queued, close its batches, and seal what has run.

    Arguments and errors are those of `resume`. The report has neither an archive nor a status if
    nothing was ever out: it was not submitted, or its engine's jobs end with their process.

    Raises:
        UnfinishedError: Jobs are running, and left to be collected.
        EngineError, ArchiveError, RunLockedError, KeyboardInterrupt: As `run`.
    """
    each = [specs] if isinstance(specs, RunSpec) else specs
    collecting = [replace(spec, stop_after="collect") for spec in each]
    return resume(collecting, folder, observer, work=cancel_jobs, **how)


def carry_out(experiment: Experiment, work: Callable[[Experiment], None] = execute) -> RunReport:
    """Take an experiment from where it stands to its end: plan, batch, archive, analyses.

    `work` is done on its jobs, once it is planned. The declared analyses of what is complete are
    made, whatever is not.

    Raises:
        As `run`.
    """
    try:
        _carry_out(experiment, work)
    except (JobsFailedError, PointsFailedError):
        _analyse(experiment, is_over=True)
        raise
    _analyse(experiment, is_over=experiment.status() == "complete")
    return _report(experiment)


def _carry_out(experiment: Experiment, work: Callable[[Experiment], None]) -> None:
    if experiment.stop_after == "collect":
        _refuse_to_collect_nothing(experiment)
        work = collect_finished if work is execute else work
    load_plan(experiment)
    makes_plan = bool(experiment.unplanned) and experiment.stop_after != "collect"
    if makes_plan or experiment.has_work or work is cancel_jobs:
        if makes_plan and experiment.plans_with_workers:
            experiment.workers.prepare()
        _select(experiment)
    planned = len(experiment.ledger.planned)
    if makes_plan:
        make_plan(experiment)
    is_new = not experiment.ledger.batches or len(experiment.ledger.planned) > planned
    if is_new and experiment.budget_s is not None:
        Budget(experiment, experiment.budget_s).check()
    if makes_plan and experiment.stop_after == "plan":
        experiment.journal.append(Ended("planned"))
        seal(experiment)
        raise_for_points(experiment)
        return
    with experiment.interrupts:
        failure = _run_jobs(experiment, work)
        is_out = failure is None and experiment.ledger.open_attempts()
        if experiment.stop_after == "submit" and is_out:
            batch_ids = tuple(opened.batch for opened in experiment.ledger.batches)
            experiment.observer.detached(experiment.plan, experiment.out(), batch_ids)
            raise_if_stopped(experiment, failure)
            raise_for_points(experiment)
        else:
            end(experiment, failure)


def _select(experiment: Experiment) -> None:
    """Select the backends; without the service, what is out of a resumed experiment is kept."""
    try:
        select(experiment)
    except OutageError as error:
        if not (experiment.ledger.process_number and experiment.ledger.batches):
            raise
        raise_if_stopped(experiment, error)
        raise_failure(experiment, error)


def _refuse_to_collect_nothing(experiment: Experiment) -> None:
    if not experiment.ledger.batches:
        raise UnfinishedError(
            f"nothing was submitted, so that there is nothing to collect; go on with: "
            f"{command_to_resume(experiment)}"
        )


def _run_jobs(experiment: Experiment, work: Callable[[Experiment], None]) -> Exception | None:
    """Do the `work` on the jobs until nothing of it is left, or an error ends it.

    Return the error that ended it after a batch was opened, or None.
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


def _analyse(experiment: Experiment, *, is_over: bool) -> None:
    is_changed = False
    for point in experiment.points:
        if point.is_to_analyse:
            point.is_to_analyse, is_changed = False, True
            specs, opened = point.spec.analyses, partial(open_archive, point.folder)
            if specs and point.status == "complete":
                make_declared_analyses(
                    point.folder, specs, opened, evaluate, experiment.observer, point.index
                )
    if is_changed and is_over and experiment.is_sweep and not experiment.keeps_batches:
        analyse_sweep(experiment)


def analyse_sweep(experiment: Experiment) -> None:
    """Note the numbers of a sweep's points in its index; make its analyses of what there is."""
    from qexp.sweeps.analyses import evaluate_sweep
    from qexp.sweeps.index import read_records
    from qexp.sweeps.opened import open_sweep

    folder, points = experiment.folder, experiment.points
    read_records(folder, [point.folder.name for point in points])
    if specs := points[0].spec.sweep_analyses:
        opened = partial(open_sweep, folder)
        make_declared_analyses(folder, specs, opened, evaluate_sweep, experiment.observer, None)


def _report(experiment: Experiment) -> RunReport:
    first = experiment.points[0]
    if experiment.is_sweep:
        return RunReport(None, experiment.status(), experiment.plan, experiment.points)
    return RunReport(first.archive, first.status, experiment.plan, experiment.points)
