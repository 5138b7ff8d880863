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


class PlanError(QexpError):
    """The circuits cannot be run as declared: not ISA, over a limit, unusable qubits."""

    exit_code = 2


class GeneratorError(PlanError):
    """A circuit generator failed in its own code; the run's log has the traceback."""


class EngineError(QexpError):
    """The service or the simulator did not do what was asked of it."""

    exit_code = 3


class JobsFailedError(QexpError):
    """The run ended and its archive is sealed, but at least one job has no result."""

    exit_code = 4


class ArchiveError(QexpError):
    """An archive cannot be written or read."""

    exit_code = 5


@dataclass(frozen=True)
class Failed:
    """What a run that failed returns to Hydra, which would print more than one line of an error.

    Attributes:
        message: One line, without secrets.
        exit_code: The process's exit code if this is all that ran.
    """

    message: str
    exit_code: int
