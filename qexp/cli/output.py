"""The one place where the command line prints: lines and JSON to stdout, errors to stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from qexp.errors import ArchiveError, QexpError, exit_code, is_explained_by_traceback
from qexp.redact import redact
from qexp.text import one_line, printable


def print_line(text: object) -> None:
    """Print one line without secrets, and without characters that steer a terminal."""
    sys.stdout.write(f"{redact(printable(str(text)))}\n")
    sys.stdout.flush()


def print_json(document: Any) -> None:
    """Print one JSON document without secrets."""
    sys.stdout.write(f"{redact(json.dumps(document, indent=1))}\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """Print one line on stderr, as every error and warning of the program looks."""
    sys.stderr.write(f"qexp: {printable(message)}\n")
    sys.stderr.flush()


def report_error(
    error: BaseException, log: Path | None = None, subject: str = ""
) -> tuple[int, str]:
    """Print an error that ends a command, or one of the runs that a command works on.

    `log` has the traceback of an error that is explained by one; the `subject`, a run or point, is
    named unless the message does. Return the error's exit code, and the line.
    """
    # One of a file, such as a folder that cannot be read, is no bug.
    error = ArchiveError(str(error)) if isinstance(error, OSError) else error
    message = describe_error(error, log)
    line = message if subject in message else f"{subject}: {message}"
    print_error(line)
    return exit_code(error), line


def describe_error(error: BaseException, log: Path | None = None) -> str:
    """Return an error as one line without secrets; see `report_error`."""
    text = one_line(error)
    if not isinstance(error, QexpError):
        text = f"internal error, please report it: {type(error).__name__}: {text}"
    if log is not None and is_explained_by_traceback(error):
        text = f"{text}; the traceback is in {log}"
    return redact(text)
