"""Make one analysis of one archive, check its result and store it beside the archive."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.archive.analyses import write_analysis
from qexp.archive.read import Archive
from qexp.core.spec import AnalysisSpec
from qexp.errors import AnalysisError, AnalysisFailedError, QexpError
from qexp.redact import redactor
from qexp.text import one_line

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """Outcome of an analysis."""

    name: str
    summary: str  # its result on one line; "" where the analysis gives none
    path: Path | None  # file of its result, None where the analysis returned none


def evaluate(spec: AnalysisSpec, run: Archive) -> Evaluated:
    """Make an analysis of a run and store its result beside the archive."""
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
        raise AnalysisError(f"analysis '{spec.name}': {error}") from None
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
