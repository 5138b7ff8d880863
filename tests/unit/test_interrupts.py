from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from qexp.interrupts import Interrupts


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
