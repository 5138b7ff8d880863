"""The commands that are compared: the guide's loop and qexp's own command line."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.timing import Command

_GUIDE = Path(__file__).with_name("guide.py")


def guide(name: str, *arguments: str) -> Command:
    """The guide's loop, as a script of its own; see `benchmarks.guide`."""
    return Command(name, [sys.executable, str(_GUIDE), *arguments])


def qexp(name: str, *arguments: str, exit_code: int = 0) -> Command:
    """`python -m qexp`, the archive included."""
    return Command(name, [sys.executable, "-m", "qexp", *arguments], exit_code)


def fake(backend: str) -> list[str]:
    """Overrides that select a fake backend."""
    return ["backend=fake", f"backend.name={backend}"]
