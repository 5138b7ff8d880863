"""Progress of a run or a sweep, the plan, and a short summary at the end.

Progress goes to stderr: bars on a terminal, else a line a minute. The table and the summary go to
stdout.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qexp.archive.sweep_file import is_sweep
from qexp.core.spec import RunSpec
from qexp.progress.sweep_terminal import SweepTerminal
from qexp.progress.terminal import Terminal

__all__ = ["Terminal", "terminal_for"]


def terminal_for(specs: Sequence[RunSpec], folder: Path, *, is_quiet: bool = False) -> Terminal:
    """Return what shows a run, or a sweep, on the terminal; a context manager around it.

    Args:
        specs: The run, or each point of the sweep.
        folder: Its folder; that of a sweep has its declaration.
        is_quiet: Print nothing on stdout.

    Raises:
        ArchiveError: The declaration of the sweep is damaged.
    """
    if is_sweep(folder):
        return SweepTerminal(specs, folder, is_quiet=is_quiet)
    return Terminal(specs[0], folder, is_quiet=is_quiet)
