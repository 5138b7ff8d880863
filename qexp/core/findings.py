"""Findings of `python -m qexp doctor`: one line each, whatever was examined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from qexp.errors import QexpError
from qexp.text import typed_reason

State: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    state: State
    found: str
    advice: str = ""  # what to do about it; "" where nothing is to be done


Report: TypeAlias = Callable[[Finding], None]
"""Takes each finding as soon as there is one."""


class UnfitError(Exception):
    """Raised by a check that finds something wrong, with advice of its own or the check's."""

    def __init__(self, found: str, state: State = "problem", advice: str | None = None) -> None:
        super().__init__(found)
        self.state = state
        self.advice = advice


def examine(name: str, check: Callable[[], str], advice: str) -> Finding:
    """Make a check, which returns what is well; an error that it does not expect is a problem."""
    try:
        return Finding(name, "ok", check())
    except UnfitError as error:
        return Finding(
            name, error.state, str(error), advice if error.advice is None else error.advice
        )
    except Exception as error:
        found = str(error) if isinstance(error, QexpError) else typed_reason(error)
        return Finding(name, "problem", found, advice)
