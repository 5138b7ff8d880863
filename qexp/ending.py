"""How a run ends: the archive is sealed with what there is, and what is missing is told."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qexp.analysis.evaluate import evaluate
from qexp.archive.read import Archive, open_archive
from qexp.archive.writer import RunStore
from qexp.batch.context import Stopped
from qexp.batch.journal import Journal
from qexp.batch.ledger import Ended, Interrupted, Ledger, Sealed
from qexp.core.model import Plan, RunStatus, RunSummary
from qexp.core.observer import Observer
from qexp.core.spec import AnalysisSpec
from qexp.errors import (
    AnalysisFailedError,
    ArchiveError,
    EngineError,
    JobsFailedError,
    QexpError,
    UnfinishedError,
)
from qexp.redact import redact

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """How a run stands.

    Attributes:
        archive: Path of `run.h5`, or None where nothing was collected yet.
        status: As in the archive; None where there is none.
        plan: What was planned, or None for a run that had been complete before.
    """

    archive: Path | None
    status: RunStatus | None
    plan: Plan | None


@dataclass(frozen=True)
class Ending:
    """Ends one process's work on a run.

    Attributes:
        run_dir: The run's folder.
        store: Its parts.
        journal: Its journal.
        observer: Watches.
    """

    run_dir: Path
    store: RunStore
    journal: Journal
    observer: Observer

    @property
    def _ledger(self) -> Ledger:
        return self.journal.ledger

    def detached(self, plan: Plan) -> RunReport:
        """Everything is submitted, and nothing is waited for."""
        batch_ids = tuple(opened.batch for opened in self._ledger.batches)
        self.observer.detached(plan, len(self._ledger.open()), batch_ids)
        return RunReport(None, None, plan)

    def finished(self, plan: Plan, failure: Exception | None) -> RunReport:
        """Seal what there is, and raise what is wrong.

        Args:
            plan: The plan.
            failure: Why the run stopped before its end, or None.

        Raises:
            KeyboardInterrupt: It was asked to stop.
            UnfinishedError: Jobs are still out or to be submitted.
            JobsFailedError: Everything was tried, but jobs have no result.
            ArchiveError: The archive cannot be written, or this is what stopped the run.
        """
        status = _status(self._ledger)
        try:
            if failure is None or status == "complete":
                self.journal.append(Ended(status))
            else:
                self.journal.append(Interrupted(_one_line(failure)))
            report = self.sealed(plan, status)
        except ArchiveError:
            if failure is None:
                raise
            _log.error("the archive could not be sealed; its parts are kept", exc_info=True)
            report = RunReport(None, None, plan)
        self._raise_unless_complete(report, failure)
        return report

    def sealed(self, plan: Plan, status: RunStatus) -> RunReport:
        """Seal the archive. The parts stay, unless nothing can be added to a complete run."""
        archive = self.store.seal(status, keep_parts=status != "complete")
        self.journal.append(Sealed(status))
        self.observer.sealed(archive, self._summary(plan, status, archive))
        return RunReport(archive, status, plan)

    def _summary(self, plan: Plan, status: RunStatus, archive: Path) -> RunSummary:
        with open_archive(archive) as sealed:
            usage_s = sealed.usage_s
        return RunSummary(
            status=status,
            done=len(self._ledger.done),
            planned=len(plan.partitions),
            num_pubs=sum(partition.num_pubs for partition in plan.partitions),
            usage_s=usage_s,
            predicted_s=plan.qpu_s,
            batch_ids=tuple(opened.batch for opened in self._ledger.batches),
        )

    def _raise_unless_complete(self, report: RunReport, failure: Exception | None) -> None:
        done, planned = len(self._ledger.done), self._ledger.num_partitions
        resume = resume_command(self.run_dir)
        go_on = f"{done} of {planned} jobs are kept; go on with: {resume}"
        if isinstance(failure, Stopped):
            raise KeyboardInterrupt(f"interrupted; {go_on}")
        if isinstance(failure, EngineError | UnfinishedError):
            raise UnfinishedError(f"{_one_line(failure)}; {go_on}")
        if isinstance(failure, QexpError):
            raise type(failure)(f"{_one_line(failure)}; {go_on}")
        if failure is not None:
            raise UnfinishedError(f"{_one_line(failure)}; {go_on}") from failure
        if report.status != "complete":
            failed = sorted(set(range(planned)) - self._ledger.done)
            last = (self._ledger.attempts[index][-1] for index in failed)
            refused = all(attempt.failure == "refused" for attempt in last)
            again = "they would be refused again" if refused else f"to try them again: {resume}"
            raise JobsFailedError(
                f"{len(failed)} of {planned} jobs have no result (partitions "
                f"{', '.join(map(str, failed[:10]))}{'...' if len(failed) > 10 else ''}); the "
                f"others and the reasons are in {report.archive}; {again}"
            )


def analyse(
    specs: Sequence[AnalysisSpec], report: RunReport, run_dir: Path, observer: Observer
) -> None:
    """Make the declared analyses of a run that has just become complete; none of them can fail it.

    Raises:
        KeyboardInterrupt: Interrupted; the run is complete.
    """
    if report.archive is None or report.status != "complete" or not specs:
        return
    again = f"the run is complete; to analyse it again: {_analyse_command(specs, run_dir)}"
    try:
        with open_archive(report.archive) as run:
            for spec in specs:
                _analyse(spec, run, again, observer)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {again}") from None
    except ArchiveError as error:
        observer.warned(f"no analysis was made: {_one_line(error)}; {again}")


def _analyse(spec: AnalysisSpec, run: Archive, again: str, observer: Observer) -> None:
    try:
        made = evaluate(spec, run)
    except Exception as error:
        is_bug = not isinstance(error, QexpError)
        if is_bug:
            _log.error("analysis '%s' was not made", spec.name, exc_info=True)
        has_traceback = is_bug or isinstance(error, AnalysisFailedError)
        where = "; the traceback is in run.log" if has_traceback else ""
        observer.warned(f"{_one_line(error)}{where}; {again}")
    else:
        observer.analysed(made.name, made.summary)


def _analyse_command(specs: Sequence[AnalysisSpec], run_dir: Path) -> str:
    """The command that makes a run's analyses again, to be copied into a shell."""
    modules = {spec.target.rpartition(".")[0] for spec in specs}
    foreign = sorted(name for name in modules if not name.startswith("qexp."))
    trusted = [part for name in foreign for part in ("--trust", name)]
    command = ["python", "-m", "qexp", "analyse", shown_path(run_dir), *trusted]
    return shlex.join(command)


def _status(ledger: Ledger) -> RunStatus:
    done = len(ledger.done)
    if done == ledger.num_partitions:
        return "complete"
    return "partial" if done else "failed"


def resume_command(run_dir: Path) -> str:
    """The command that goes on with a run, to be copied into a shell."""
    return shlex.join(["python", "-m", "qexp", "resume", shown_path(run_dir)])


def shown_path(path: Path) -> str:
    """A path as a person would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _one_line(error: BaseException) -> str:
    text = " ".join(redact(str(error)).split()).rstrip(".")
    if isinstance(error, Stopped):
        return "interrupted"
    return text if isinstance(error, QexpError) else f"{type(error).__name__}: {text}"
