"""The analyses that a run or a sweep declares, made once it is sealed. None of them can fail it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qexp.analysis.evaluate import Evaluated
from qexp.core.observer import Observer
from qexp.errors import AnalysisFailedError, QexpError
from qexp.redact import redact
from qexp.text import one_line, short_path

if TYPE_CHECKING:
    from qexp.core.spec import AnalysisSpec

T = TypeVar("T")
_log = logging.getLogger(__name__)


def make_declared_analyses(
    folder: Path,
    specs: Sequence[AnalysisSpec],
    opened: Callable[[], AbstractContextManager[T]],
    evaluate: Callable[[AnalysisSpec, T], Evaluated],
    observer: Observer,
    point: int | None,
) -> None:
    """Make the analyses that a run, or a sweep, declares of what `opened` opens.

    The observer receives the result of each, or a warning that says why there is none; `point` is
    None for those of a whole sweep.

    Raises:
        KeyboardInterrupt: Interrupted; what is analysed is sealed.
    """
    what = "run is complete" if point is not None else "points are sealed"
    again = f"the {what}; to analyse it again: {analyse_command(folder, specs)}"
    try:
        with opened() as given:
            for spec in specs:
                try:
                    made = evaluate(spec, given)
                except Exception as error:
                    observer.warned(f"{_failure(spec, error)}; {again}")
                else:
                    observer.analysed(made.name, made.summary, point)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {again}") from None
    except QexpError as error:
        observer.warned(f"no analysis was made: {_failure(None, error)}; {again}")


def _failure(spec: AnalysisSpec | None, error: Exception) -> str:
    """Return the reason of a failure on one line, without secrets; log what is a bug."""
    text = one_line(redact(str(error))).rstrip(".")
    if isinstance(error, AnalysisFailedError):
        return f"{text}; the traceback is in run.log"
    if isinstance(error, QexpError):
        return text
    _log.error("analysis '%s' was not made", spec.name if spec else "", exc_info=True)
    return f"{type(error).__name__}: {text}; the traceback is in run.log"


def analyse_command(folder: Path, specs: Sequence[AnalysisSpec]) -> str:
    """Return the command that makes analyses again, to be copied into a shell."""
    modules = {spec.target.rpartition(".")[0] for spec in specs}
    foreign = sorted(name for name in modules if not name.startswith("qexp."))
    trusted = [part for name in foreign for part in ("--trust", name)]
    return shlex.join(["python", "-m", "qexp", "analyse", short_path(folder), *trusted])
