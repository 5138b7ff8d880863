"""Ctrl-C and SIGTERM while jobs are in flight: once to stop in order, twice to leave at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"


class Interrupts:
    """Notes signals instead of raising, so that no result is lost between two lines of code.

    A context manager; outside of the main thread it leaves signals alone.

    Args:
        ends_process: True if the second signal ends the process; False if it raises
            `KeyboardInterrupt`, because the process has more to do than this experiment.
    """

    def __init__(self, *, ends_process: bool = True) -> None:
        self._ends_process = ends_process
        self._is_set = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def is_set(self) -> bool:
        """Return whether there was a signal."""
        return self._is_set

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # Neither locks nor buffers here: the signal may have come while one of them was held.
        if self._is_set and not self._ends_process:
            raise KeyboardInterrupt
        if self._is_set:
            _say(f"{_SHOW_CURSOR if sys.stderr.isatty() else ''}qexp: left at once\n")
            # Every file on disk is complete at any time, so nothing is left to do.
            os._exit(_INTERRUPTED)
        self._is_set = True
        _say("\nqexp: stopping, what is measured is kept; once more to leave at once\n")


def _say(text: str) -> None:
    try:
        os.write(2, text.encode())
    except OSError:
        return
