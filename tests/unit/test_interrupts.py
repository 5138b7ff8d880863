from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable

import pytest

from qexp.interrupts import Interrupts, StopSignals, stop_requested

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])


class Thing:
    pass


class Finalised:
    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


def in_weakref_callback(number: int) -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    assert reference() is None


def in_ctypes_callback(number: int) -> None:
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))()


def in_finaliser(number: int) -> None:
    Finalised(number)


DROPPED = pytest.mark.parametrize(
    "drop", [in_weakref_callback, in_ctypes_callback, in_finaliser], ids=lambda one: one.__name__
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_raises_nothing(number: signal.Signals, capfd):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert not interrupts.is_set()
        os.kill(os.getpid(), number)
        assert interrupts.is_set()
    assert signal.getsignal(number) is before
    assert "once more to leave at once" in capfd.readouterr().err


TWICE = """
import os, signal
from qexp.interrupts import Interrupts
try:
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
finally:
    print("not reached")
"""


def test_the_second_signal_leaves_at_once():
    done = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stdout == ""
    assert "left at once" in done.stderr


@SIGNALS
def test_a_command_notes_a_signal_and_raises(number: signal.Signals):
    before, hook = signal.getsignal(number), sys.unraisablehook
    with StopSignals() as signals:
        assert not stop_requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert signals.is_set()
        assert stop_requested()
    assert signal.getsignal(number) is before
    assert sys.unraisablehook is hook
    assert not stop_requested()


@SIGNALS
@DROPPED
def test_a_stop_that_python_drops_is_known_and_nothing_is_said(
    number: signal.Signals, drop: Callable[[int], None], capfd
):
    with StopSignals():
        drop(number)
        assert stop_requested()
        with Interrupts() as interrupts:
            assert interrupts.is_set()
    assert capfd.readouterr() == ("", "")


def test_another_dropped_exception_is_said_as_before(capfd, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with StopSignals():
        ctypes.CFUNCTYPE(None)(lambda: 1 // 0)()
    assert "ZeroDivisionError" in capfd.readouterr().err


@SIGNALS
def test_what_was_noted_while_jobs_were_in_flight_is_known_afterwards(number: signal.Signals):
    with StopSignals() as signals:
        with Interrupts():
            signal.raise_signal(number)
        assert signals.is_set()
        assert stop_requested()


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGINT)
            assert not signals.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_call_from_python_takes_over_from_python_s_own_handler_alone():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals(ends_process=False) as signals:
        assert signal.getsignal(signal.SIGTERM) is before
        assert signal.getsignal(signal.SIGINT) is signals
        with StopSignals(ends_process=False):
            assert signal.getsignal(signal.SIGINT) is signals
