"""Errors that a researcher can act on.

Every message is one line: what was wrong, where, what is allowed, what to do next. The entry
point prints it without a traceback and exits with the error's `exit_code`.
"""

from __future__ import annotations

from dataclasses import dataclass


class QexpError(Exception):
    """Base of every error that is meant for the user."""

    exit_code = 1


class ConfigError(QexpError):
    """The declared experiment is wrong: unknown key, wrong type, out of range, impossible mix."""

    exit_code = 2


class UntrustedError(ConfigError):
    """A recorded config names code that is imported only if the user says so.

    Attributes:
        target: What it names.
    """

    def __init__(self, message: str, target: str) -> None:
        super().__init__(message)
        self.target = target


class PlanError(QexpError):
    """The circuits cannot be run as declared: not ISA, over a limit, unusable qubits."""

    exit_code = 2


class GeneratorError(PlanError):
    """A circuit generator failed in its own code; the run's log has the traceback."""


class EngineError(QexpError):
    """The service or the simulator did not do what was asked of it."""

    exit_code = 3


class RefusedError(EngineError):
    """A job can never run as it is; it was not created.

    Attributes:
        code: The service's code, or None.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class BusyError(EngineError):
    """The service takes no job now, and may later; none was created.

    Attributes:
        retry_after_s: After how many seconds, where the service says so.
        needs_slot: Whether one of the account's jobs has to end first.
    """

    def __init__(
        self, message: str, retry_after_s: float | None = None, *, needs_slot: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.needs_slot = needs_slot


class BatchOverError(EngineError):
    """The batch takes no more jobs; none was created."""


class UnclearError(EngineError):
    """It is not known whether the job was created."""


class UndeliveredError(EngineError):
    """A job has run, but what was delivered is not its result."""


class LostJobError(EngineError):
    """The service does not know a job."""


class UnfinishedError(QexpError):
    """The run stopped with jobs still out or still to be submitted; it can be resumed."""

    exit_code = 6


class RunLockedError(QexpError):
    """Another process works on the run."""

    exit_code = 7


class JobsFailedError(QexpError):
    """The run ended and its archive is sealed, but at least one job has no result."""

    exit_code = 4


class ArchiveError(QexpError):
    """An archive cannot be written or read."""

    exit_code = 5


class NotReproducedError(QexpError):
    """A run was repeated to its end, and its data are not those of the first, or cannot be told."""


class AnalysisError(QexpError):
    """An analysis cannot be made of this run, whose data are as before."""

    exit_code = 2


class AnalysisFailedError(AnalysisError):
    """An analysis failed in its own code; the run's log has the traceback."""


@dataclass(frozen=True)
class Failed:
    """What a run that failed returns to Hydra, which would print more than one line of an error.

    Attributes:
        message: One line, without secrets.
        exit_code: The process's exit code if this is all that ran.
    """

    message: str
    exit_code: int
