"""Errors that a researcher can act on, and the exit codes of the program.

Every message is one line: what was wrong, where, what is allowed, what to do next. The command
line prints it without a traceback and exits with the error's `exit_code`.

A docstring names an error where it says more than this: what a user got wrong is a `ConfigError`, a
file that is damaged or cannot be written an `ArchiveError`, a service that fails an `EngineError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, Self


class ExitCode(IntEnum):
    """Exit codes of the command line, of which the table in docs/configuration.md is made."""

    DONE = 0, "everything that was asked for was done"
    DIFFERENT = (
        1,
        "`reproduce` got other data, `diff --exit-code` found a difference, or `doctor` a problem",
    )
    REFUSED = 2, "the command, the config or the plan was refused; nothing was submitted"
    ENGINE_FAILED = 3, "the service or the simulator failed to do what it was asked to do"
    JOBS_FAILED = 4, "the archive is sealed, but at least one job has no result"
    BAD_ARCHIVE = 5, "an archive or another file cannot be read or written, or is damaged"
    UNFINISHED = 6, "stopped with jobs out or still to be submitted; `resume` continues"
    LOCKED = 7, "another process is working on the run"
    BUG = 70, "a bug in qexp; the traceback is in `run.log`"
    INTERRUPTED = 130, "interrupted (Ctrl-C, SIGTERM); everything measured is kept"

    meaning: str  # the line of the table, in Markdown

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a code that knows its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""They end a program. Any other `BaseException` is an error: a panic in Qiskit's Rust code is no
`Exception`."""


def is_panic(error: BaseException) -> bool:
    """Return True for a panic in Rust code, whose class each extension module has for itself."""
    return type(error).__name__ == "PanicException"


class QexpError(Exception):
    """Base of every error that is meant for the user."""

    exit_code: int = ExitCode.DIFFERENT


class ConfigError(QexpError):
    """The declared experiment is wrong: unknown key, wrong type, out of range, impossible mix."""

    exit_code = ExitCode.REFUSED


class UntrustedError(ConfigError):
    """A recorded config names code (`target`) that is imported only with the user's permission."""

    def __init__(self, message: str, target: str) -> None:
        super().__init__(message)
        self.target = target


class PlanError(QexpError):
    """The circuits cannot be run as declared: not ISA, over a limit, unusable qubits."""

    exit_code = ExitCode.REFUSED


class GeneratorError(PlanError):
    """A circuit generator failed in its own code; the run's log has the traceback."""


class EngineError(QexpError):
    """The service or the simulator failed to do what it was asked to do."""

    exit_code = ExitCode.ENGINE_FAILED


class OutageError(EngineError):
    """The service could not be reached, or failed to answer; the same request may succeed later."""


class RetiredError(EngineError):
    """The backend of a planned run is gone, so that nothing more can be submitted to it."""


class RefusedError(EngineError):
    """A job was not created, because the service, or its client, refused it.

    The failure is "refused": the request itself is wrong, and would be refused again; "too_large":
    so is this one, but its parts may pass; "transient": the refusal cannot be read, or says that
    another try may succeed.
    """

    def __init__(
        self,
        message: str,
        code: int | None = None,
        failure: Literal["refused", "too_large", "transient"] = "refused",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.failure = failure


class BusyError(EngineError):
    """A job was not created, because the service takes none at the moment.

    It may say how long to wait, `retry_after_s`; or one of the account's own jobs has to end first.
    """

    def __init__(
        self, message: str, retry_after_s: float | None = None, *, needs_slot: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.needs_slot = needs_slot


class BatchOverError(EngineError):
    """A job was not created, because the batch takes no more jobs."""


class UnclearError(EngineError):
    """The service's reply was lost, so the job may or may not exist."""


class UndeliveredError(EngineError):
    """A job has run, but the reply is not its result; its metrics say what it was charged."""

    def __init__(self, message: str, metrics: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.metrics = metrics or {}


class LostJobError(EngineError):
    """The service does not know a job, or a batch."""


class UnfinishedError(QexpError):
    """The run stopped with jobs still out or still to be submitted; it can be resumed."""

    exit_code = ExitCode.UNFINISHED


class RunLockedError(QexpError):
    """Another process is working on the run."""

    exit_code = ExitCode.LOCKED


class JobsFailedError(QexpError):
    """The run ended and its archive is sealed, but at least one job has no result."""

    exit_code = ExitCode.JOBS_FAILED


class PointsFailedError(QexpError):
    """At least one point of a sweep failed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ArchiveError(QexpError):
    """An archive cannot be written or read."""

    exit_code = ExitCode.BAD_ARCHIVE


class NotReproducedError(QexpError):
    """A repeated run ended with data that differ from the first, or that cannot be compared."""


class AnalysisError(QexpError):
    """An analysis cannot be made of this run, whose data are unchanged."""

    exit_code = ExitCode.REFUSED


class UnsuitableError(AnalysisError):
    """The run has no data of the kind that an analysis is made of; other points may have some."""


class AnalysisFailedError(AnalysisError):
    """An analysis failed in its own code; the run's log has the traceback."""


@dataclass(frozen=True)
class Failed:
    """Return value of a run that failed; Hydra would print more than one line of an exception."""

    message: str  # one line, without secrets
    exit_code: int  # exit code of the process if nothing else was run


def exit_code(error: BaseException) -> int:
    """Return the exit code of a process that this error ends."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return error.exit_code if isinstance(error, QexpError) else ExitCode.BUG


def is_explained_by_traceback(error: BaseException) -> bool:
    """Return True for an error in the user's own code or in qexp's, where a traceback helps."""
    in_users_code = isinstance(error, GeneratorError | AnalysisFailedError)
    return in_users_code or not isinstance(error, QexpError)
