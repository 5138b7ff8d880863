"""Findings of `python -m qexp doctor`: one line each, whatever was examined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    state: Literal["ok", "warning", "problem"]
    found: str
    advice: str = ""  # what to do about it; "" where nothing is to be done


Report: TypeAlias = Callable[[Finding], None]
"""Takes each finding as soon as there is one."""
