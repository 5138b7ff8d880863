"""A loopback emulator of IBM's quantum REST API, for tests without an account.

By hand, in one terminal `python -m tests.emulator`, and what it prints in another one; then, say,
`python -m qexp experiment=random_sampling backend=least_busy`.
"""

from __future__ import annotations

from tests.emulator.devices import (
    JAKARTA,
    LEAST_BUSY,
    LEAST_BUSY_100Q,
    MANILA,
    OFFLINE,
    PAUSED,
    TORINO,
)
from tests.emulator.discovery import (
    INSTANCE,
    INSTANCE_NAME,
    OTHER_INSTANCE,
    OTHER_INSTANCE_NAME,
    TOKEN,
)
from tests.emulator.emulator import IBMEmulator
from tests.emulator.routes import Response
from tests.emulator.server import Record

__all__ = [
    "INSTANCE",
    "INSTANCE_NAME",
    "JAKARTA",
    "LEAST_BUSY",
    "LEAST_BUSY_100Q",
    "MANILA",
    "OFFLINE",
    "OTHER_INSTANCE",
    "OTHER_INSTANCE_NAME",
    "PAUSED",
    "TOKEN",
    "TORINO",
    "IBMEmulator",
    "Record",
    "Response",
]
