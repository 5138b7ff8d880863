"""The analyses that a run declares, made once it is complete. None of them can fail the run."""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING

from qexp.analysis.evaluate import evaluate
from qexp.archive.read import Archive, open_archive
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
    again = f"the run is complete; to analyse it again: {_analyse_command(point)}"
    try:
        with open_archive(point.archive) as archive:
            for spec in specs:
                _make(spec, archive, again, observer, point.index)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {again}") from None
    except ArchiveError as error:
        observer.warned(f"no analysis was made: {_reason(error)}; {again}")


def _make(spec: AnalysisSpec, archive: Archive, again: str, observer: Observer, point: int) -> None:
    try:
        made = evaluate(spec, archive)
    except Exception as error:
        is_bug = not isinstance(error, QexpError)
        if is_bug:
            _log.error("analysis '%s' was not made", spec.name, exc_info=True)
        has_traceback = is_bug or isinstance(error, AnalysisFailedError)
        where = "; the traceback is in run.log" if has_traceback else ""
        observer.warned(f"{_reason(error)}{where}; {again}")
    else:
        observer.analysed(made.name, made.summary, point)


def _reason(error: Exception) -> str:
    text = one_line(redact(str(error))).rstrip(".")
    return text if isinstance(error, QexpError) else f"{type(error).__name__}: {text}"


def _analyse_command(point: Point) -> str:
    """Return the command that makes a run's analyses again, to be copied into a shell."""
    modules = {spec.target.rpartition(".")[0] for spec in point.spec.analyses}
    foreign = sorted(name for name in modules if not name.startswith("qexp."))
    trusted = [part for name in foreign for part in ("--trust", name)]
    return shlex.join(["python", "-m", "qexp", "analyse", short_path(point.folder), *trusted])
