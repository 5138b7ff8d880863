"""The log of a run. A log that cannot be written never stops a run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qexp.errors import ConfigError
from qexp.redact import RedactingFilter

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class RunLog(logging.FileHandler):
    """A log file that may fail: on a full disk, in a folder that became read-only."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record if that is possible."""
        # The base class opens its file outside of its own guard.
        with suppress(OSError):
            super().emit(record)


@contextmanager
def logging_into(path: Path, failure: str) -> Iterator[None]:
    """Write all warnings and errors of this process into a run's log; nothing else is changed.

    Args:
        path: The log, which is made with its first line.
        failure: Text with which an error that ends the context is logged, a mistake in the config
            excepted.
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
    """Open what the caller has closed (`2>&-`), or the next file would take its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
