"""The analyses that a run declares, made once it is complete. None of them can fail the run."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.analysis.evaluate import Evaluated, evaluate
from qexp.archive.read import open_archive
from qexp.core.observer import Observer
from qexp.errors import AnalysisFailedError, ArchiveError, QexpError
from qexp.redact import redact
from qexp.text import one_line, short_path

if TYPE_CHECKING:
    from qexp.core.spec import AnalysisSpec
    from qexp.points import Point

_log = logging.getLogger(__name__)


def make_declared_analyses(point: Point, observer: Observer) -> None:
    """Make the analyses of a point that this process has just completed, if it has.

    Args:
        point: The point.
        observer: Receives the result of each, or a warning that says why there is none.

    Raises:
        KeyboardInterrupt: Interrupted; the run is complete.
    """
    specs = point.spec.analyses
    if point.archive is None or point.status != "complete" or not specs:
        return
    again = f"the run is complete; to analyse it again: {analyse_command(point.folder, specs)}"
    try:
        with open_archive(point.archive) as archive:
            for spec in specs:
                make(spec, partial(evaluate, spec, archive), again, observer, point.index)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {again}") from None
    except ArchiveError as error:
        observer.warned(f"no analysis was made: {reason(error)}; {again}")


def make(
    spec: AnalysisSpec,
    evaluated: Callable[[], Evaluated],
    again: str,
    observer: Observer,
    point: int | None,
) -> None:
    """Make one analysis, and tell its result or why there is none.

    Args:
        spec: The analysis.
        evaluated: Makes it.
        again: Text that says how to make it again.
        observer: Receives the result, or a warning.
        point: Number of the point; None for a sweep's own.
    """
    try:
        made = evaluated()
    except Exception as error:
        is_bug = not isinstance(error, QexpError)
        if is_bug:
            _log.error("analysis '%s' was not made", spec.name, exc_info=True)
        has_traceback = is_bug or isinstance(error, AnalysisFailedError)
        where = "; the traceback is in run.log" if has_traceback else ""
        observer.warned(f"{reason(error)}{where}; {again}")
    else:
        observer.analysed(made.name, made.summary, point)


def reason(error: Exception) -> str:
    """Return the reason of a failure on one line, without secrets."""
    text = one_line(redact(str(error))).rstrip(".")
    return text if isinstance(error, QexpError) else f"{type(error).__name__}: {text}"


def analyse_command(folder: Path, specs: Sequence[AnalysisSpec]) -> str:
    """Return the command that makes analyses again, to be copied into a shell."""
    modules = {spec.target.rpartition(".")[0] for spec in specs}
    foreign = sorted(name for name in modules if not name.startswith("qexp."))
    trusted = [part for name in foreign for part in ("--trust", name)]
    return shlex.join(["python", "-m", "qexp", "analyse", short_path(folder), *trusted])
