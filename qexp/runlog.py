"""The log of a run, and the standard streams. Text that cannot be written never stops a run."""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qexp.errors import ConfigError
from qexp.redact import RedactingFilter

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PLAIN = {"µ": "u", "±": "+/-", "…": "...", "−": "-", "─": "-", "×": "x", "·": "*", "–": "-"}


class RunLog(logging.FileHandler):
    """A log file in UTF-8 that may fail: on a full disk, in a folder that became read-only."""

    def __init__(self, filename: str | Path, **options: Any) -> None:
        super().__init__(filename, encoding="utf-8", errors="backslashreplace", **options)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record if that is possible."""
        # The base class opens its file outside of its own guard.
        with suppress(OSError):
            super().emit(record)


@contextmanager
def logging_into(path: Path, failure: str) -> Iterator[None]:
    """Write all warnings and errors of this process into a run's log, made with its first line.

    An error that ends the context is logged as a `failure`, a mistake in the config excepted.
    """
    handler = RunLog(path, delay=True)
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except (Exception, SystemExit) as error:
        if not isinstance(error, ConfigError):
            # To this log only, because the caller gets the error itself.
            cause = (type(error), error, error.__traceback__)
            handler.handle(logging.LogRecord("qexp", logging.ERROR, "", 0, failure, (), cause))
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def keep_standard_streams() -> None:
    """Make the standard streams take any text, whatever their encoding.

    What the caller has closed (`2>&-`) is opened, or the next file would take its number.
    """
    codecs.register_error("qexp.plain", _as_plain)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="qexp.plain")


def _as_plain(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that a stream does not have (`ascii`, `cp1252`): an error handler."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = (_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in missing)
    return "".join(plain), error.end
