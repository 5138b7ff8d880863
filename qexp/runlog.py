"""The log of a run, and the standard streams. Text that cannot be written never stops a run."""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
from contextlib import suppress
from typing import Any

_PLAIN = {"µ": "u", "±": "+/-", "…": "...", "−": "-", "─": "-", "×": "x", "·": "*", "–": "-"}


class RunLog(logging.FileHandler):
    """A log file in UTF-8 that may fail: on a full disk, in a folder that became read-only."""

    def __init__(self, filename: str, **options: Any) -> None:
        super().__init__(filename, encoding="utf-8", errors="backslashreplace", **options)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record if that is possible."""
        # The base class opens its file outside of its own guard.
        with suppress(OSError):
            super().emit(record)


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
