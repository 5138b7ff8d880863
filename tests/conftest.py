"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator import IBMEmulator

# Nothing is asserted about time. The gate draws the same examples at every run; by hand, new ones.
settings.register_profile(
    "qexp",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("qexp")

# A shell that starts the tests in the background has Ctrl-C ignored, in all processes below it.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def ibm_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[IBMEmulator]:
    """IBM's service on the loopback interface, which `QiskitRuntimeService()` finds.

    The environment is set for this process (and those it starts) until the test ends.
    """
    from qiskit_ibm_runtime.accounts import management

    from tests.emulator import IBMEmulator

    with IBMEmulator() as emulator:
        for name, value in emulator.env.items():
            monkeypatch.setenv(name, value)
        # The client looked up the home folder when it was imported.
        monkeypatch.setattr(
            management,
            "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE",
            f"{emulator.env['HOME']}/.qiskit/qiskit-ibm.json",
        )
        yield emulator
