"""Bars of the stages, on a terminal or in a notebook; where there is neither, a line a minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from html import escape as escape_html
from importlib import import_module
from typing import Any, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from qexp.text import format_duration, one_line, shortened

Stage = Literal["transpiling", "submitting", "running", "collecting", "analysing"]

_LONGEST_NOTE = 160

_SCREEN = threading.Lock()
"""The terminal, on which one run at a time can show its bars."""

_NOTEBOOK_PAUSE_S = 0.2
"""The shortest time between two pictures that a notebook is sent."""

_LINE_S = 60.0
"""The shortest time between two lines, and before the first one."""


class Bars:
    """Shows how far each stage is; what is printed in between goes above the bars.

    Where there are none, `line` is asked for a text once a minute, when a bar changes.
    """

    def __init__(self, line: Callable[[], str], now_s: Callable[[], float]) -> None:
        self._line = line
        self._now_s = now_s
        self._started_s = self._last_line_s = now_s()
        # Not the console's `is_terminal`, which FORCE_COLOR makes true of a file, too.
        self._has_bars = in_notebook() or sys.stderr.isatty()
        self.progress = NotebookBars() if in_notebook() else _terminal_bars(self._has_bars, now_s)
        self._has_screen = False
        self._tasks: dict[Stage, TaskID] = {}

    def start(self) -> None:
        """Show the bars, unless another run has the terminal."""
        if isinstance(self.progress, NotebookBars):
            self.progress.start()
        elif not self.progress.disable:
            self._has_screen = _SCREEN.acquire(blocking=False)
            self.progress.disable = not self._has_screen
            if self._has_screen:
                self.progress.start()

    def stop(self) -> None:
        """Remove the bars from a terminal; in a notebook they stay."""
        # Before Rich 14, stopping bars that are disabled prints an empty line.
        if not self.progress.disable:
            self.progress.stop()
        if self._has_screen:
            self._has_screen = False
            _SCREEN.release()

    def __contains__(self, stage: Stage) -> bool:
        return stage in self._tasks

    @property
    def elapsed_s(self) -> float:
        """Seconds since the bars were made."""
        return self._now_s() - self._started_s

    def completed(self, stage: Stage) -> int:
        """Return the position of a stage's bar; 0 if it has none."""
        return int(self._task(stage).completed) if stage in self else 0

    def total(self, stage: Stage) -> int:
        """Return the end of a stage's bar; 0 if it has none."""
        return int(self._task(stage).total or 0) if stage in self else 0

    def note(self, stage: Stage) -> str:
        """Return the text beside a stage's bar."""
        return str(self._task(stage).fields["note"]) if stage in self else ""

    def add(self, stage: Stage, total: int | None, note: str = "") -> None:
        """Add the bar of a stage, or give the one that is there another end."""
        if stage in self:
            self.update(stage, total=total)
        else:
            self._tasks[stage] = self.progress.add_task(stage, total=total, note=note, ends_s=None)

    def update(
        self, stage: Stage, note: str | None = None, *, left_s: float | None = None, **changes: Any
    ) -> None:
        """Change a stage's bar, if it has one yet; a note is cut to one line."""
        now_s = self._now_s()
        if note is not None:
            changes["note"] = shortened(one_line(note), _LONGEST_NOTE)
        if left_s is not None:
            changes["ends_s"] = now_s + left_s
        if stage in self:
            self.progress.update(self._tasks[stage], **changes)
        if not self._has_bars and now_s - self._last_line_s >= _LINE_S:
            self._last_line_s = now_s
            self.print(f"{format_duration(self.elapsed_s)}: {self._line()}")

    def print(self, message: str) -> None:
        """Print a line on stderr."""
        self.progress.console.print(f"qexp: {message}", markup=False, soft_wrap=True)

    def _task(self, stage: Stage) -> Task:
        return self.progress.tasks[self._tasks[stage]]


class _TimeLeft(TimeRemainingColumn):
    """The time until the end that is predicted, or else what follows from the bar's speed."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__()
        self._now_s = now_s

    def render(self, task: Task) -> Text:
        if task.finished or (ends_s := task.fields["ends_s"]) is None:
            return super().render(task)
        left_s = max(0.0, ends_s - self._now_s())
        return Text(f"{format_duration(left_s)} left", style="progress.remaining")


def _terminal_bars(is_shown: bool, now_s: Callable[[], float]) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        # Takes what the others leave of the width; on its own it would take theirs.
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        TimeElapsedColumn(),
        _TimeLeft(now_s),
        console=Console(stderr=True, highlight=False),
        disable=not is_shown,
        transient=True,
        expand=True,
    )


def in_notebook() -> bool:
    """Return True in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class NotebookBars(Progress):
    """The bars as an output of a notebook's cell, changed in place; they stay when a run has ended.

    Rich's own form needs ipywidgets, which few have, and a thread that draws.
    """

    def __init__(self) -> None:
        super().__init__(console=Console(stderr=True, force_jupyter=False), auto_refresh=False)
        self._output: Any = None
        self._shown_s = 0.0

    def start(self) -> None:
        """Make the output."""
        # Its functions have no types.
        display: Any = import_module("IPython.display").display
        self._output = display({"text/html": ""}, raw=True, display_id=True)

    def refresh(self) -> None:
        """Show the bars as they are, unless that was done a moment ago."""
        if time.monotonic() - self._shown_s >= _NOTEBOOK_PAUSE_S:
            self._show()

    def update(self, *arguments: Any, **changes: Any) -> None:
        """Change a bar."""
        super().update(*arguments, **changes)
        self.refresh()

    def stop(self) -> None:
        """Show the bars as they are at the end."""
        self._show()

    def _show(self) -> None:
        if self._output is not None:
            self._shown_s = time.monotonic()
            rows = "".join(map(_html_row, self.tasks))
            self._output.update({"text/html": f"<table>{rows}</table>"}, raw=True)


def _html_row(task: Task) -> str:
    total = "?" if task.total is None else f"{task.total:.0f}"
    amount = "" if task.total is None else f' value="{task.completed}" max="{task.total or 1}"'
    cells = (
        task.description,
        f"<progress{amount}></progress>",
        f"{task.completed:.0f}/{total}",
        escape_html(str(task.fields["note"])),
        format_duration(task.elapsed or 0),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
