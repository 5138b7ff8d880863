"""Requests that the emulator has seen."""

from __future__ import annotations

from tests.emulator import MANILA, IBMEmulator

SUBMISSION = [
    ("GET", "/instances/usage"),
    ("GET", f"/backends/{MANILA}/status"),
    ("POST", "/jobs"),
]
"""Requests of the client for one submission."""


def asked(emulator: IBMEmulator, since: int) -> list[tuple[str, str]]:
    """Method and path of each request from number `since` on."""
    return [(record.method, record.path) for record in emulator.journal][since:]
