"""The log of a run. A log that cannot be written never stops a run."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress


class RunLog(logging.FileHandler):
    """A log file that may fail: on a full disk, in a folder that became read-only."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record if that is possible."""
        # The base class opens its file outside of its own guard.
        with suppress(OSError):
            super().emit(record)


def keep_standard_streams() -> None:
    """Open what the caller has closed (`2>&-`), or the next file would take its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
