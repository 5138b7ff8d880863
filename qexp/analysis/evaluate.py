"""Make analyses of an archive or a sweep, check their results and store them beside it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qexp.archive.analyses import write_analysis
from qexp.archive.read import Archive
from qexp.core.observer import Observer
from qexp.core.spec import AnalysisSpec
from qexp.errors import AnalysisError, AnalysisFailedError, QexpError
from qexp.redact import redact, redactor
from qexp.text import one_line, short_path

if TYPE_CHECKING:
    import xarray as xr

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """Outcome of an analysis."""

    name: str
    summary: str  # its result on one line; "" where the analysis gives none
    path: Path | None  # file of its result, None where the analysis returned none


def evaluate(spec: AnalysisSpec, run: Archive) -> Evaluated:
    """Make an analysis of a run and store its result beside the archive.

    Raises:
        As `evaluate_into`.
    """
    return evaluate_into(spec, run, partial(write_analysis, run, spec))


def evaluate_into(
    spec: AnalysisSpec, given: Any, write: Callable[[xr.Dataset, Callable[[str], str]], Path]
) -> Evaluated:
    """Make an analysis and store its result.

    `given` is an open archive, or the dataset of a sweep; `write` stores a result, and is given a
    function that removes secrets from its texts.

    Raises:
        AnalysisError: The analysis does not suit the run, or its result cannot be stored.
        AnalysisFailedError: The analysis failed in its own code; the log has the traceback.
        ArchiveError: The archive is damaged, or the result cannot be written.
        ConfigError: A recorded analysis is not trusted, or does not fit its function.
    """
    import xarray as xr

    try:
        result = spec.evaluate(given)
    except AnalysisError as error:
        error.args = (f"analysis '{spec.name}': {error}",)
        raise
    except QexpError:
        raise
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        _log.error("analysis '%s' failed", spec.name, exc_info=True)
        raise AnalysisFailedError(
            f"analysis '{spec.name}': {spec.target} failed: {type(error).__name__}: "
            f"{one_line(error)}"
        ) from error
    if result is not None and not isinstance(result, xr.Dataset):
        raise AnalysisError(
            f"analysis '{spec.name}': {spec.target} returned {type(result).__name__}; it must "
            f"return an xarray.Dataset, or None where it has nothing to say"
        )
    if result is None:
        return Evaluated(spec.name, "nothing to say of these data", None)
    redact = redactor()
    path = write(result, redact)
    return Evaluated(spec.name, one_line(redact(str(result.attrs.get("summary", "")))), path)


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
