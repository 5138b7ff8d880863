"""Ctrl-C and SIGTERM: a stop that was asked for is never forgotten.

`StopSignals` is in force for a whole command, or a call of `qexp.api`, and raises. While jobs are
in flight, `Interrupts` takes over: once to stop in order, twice to leave at once.
"""

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


class StopRequested(Exception):  # noqa: N818 - no error
    """The experiment was asked to stop (Ctrl-C, SIGTERM)."""


class _Taken:
    """Signals that are taken over in the main thread, and given back."""

    def __init__(self, *, ends_process: bool = True) -> None:
        self._ends_process = ends_process
        self._is_set = False
        self._previous: dict[signal.Signals, Any] = {}

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def is_set(self) -> bool:
        """Return whether a stop was asked for."""
        return self._is_set


class StopSignals(_Taken):
    """Notes a signal, and raises `KeyboardInterrupt`; a context manager.

    Python drops an exception that is raised inside a callback of C code or of a weak reference, or
    in `__del__`; the note stays. Outside of the main thread it leaves signals alone, and also a
    signal that the process was started to ignore.

    In a call from Python, which does not end the process, it takes over only from Python's own
    handler of Ctrl-C, and leaves SIGTERM to the caller.
    """

    def __enter__(self) -> Self:
        self._hook = sys.unraisablehook
        if threading.current_thread() is threading.main_thread():
            sys.unraisablehook = self._say_unless_noted
            for number in filter(self._takes_over, _SIGNALS):
                self._previous[number] = signal.signal(number, self)
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if threading.current_thread() is threading.main_thread():
            sys.unraisablehook = self._hook

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handle a signal."""
        self.note()
        raise KeyboardInterrupt

    def note(self) -> None:
        """Note that a stop was asked for."""
        self._is_set = True

    def _takes_over(self, number: signal.Signals) -> bool:
        handler = signal.getsignal(number)
        if self._ends_process:
            return handler is not signal.SIG_IGN
        return handler is signal.default_int_handler

    def _say_unless_noted(self, dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._hook(dropped)


def stop_requested() -> bool:
    """Return whether the `StopSignals` in force have noted a signal, raised or dropped."""
    handlers = map(signal.getsignal, _SIGNALS)
    return any(isinstance(one, StopSignals) and one.is_set() for one in handlers)


class Interrupts(_Taken):
    """Notes signals instead of raising, so that no result is lost between two lines of code.

    A context manager; outside of the main thread it leaves signals alone. It begins with what the
    `StopSignals` that it takes over from have noted, and tells them at its end. The second signal
    ends the process, or raises `KeyboardInterrupt` if that has more to do than this experiment.
    """

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._note)
            self._is_set |= any(one.is_set() for one in self._outer())
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for outer in self._outer() if self._is_set else ():
            outer.note()

    def _outer(self) -> list[StopSignals]:
        return [one for one in self._previous.values() if isinstance(one, StopSignals)]

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
