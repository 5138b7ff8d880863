"""One analysis of one archive: made, checked, and stored beside it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.archive.analyses import write_analysis
from qexp.archive.read import Archive
from qexp.core.spec import AnalysisSpec
from qexp.errors import AnalysisError, AnalysisFailedError, QexpError
from qexp.redact import redactor

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """What came of an analysis.

    Attributes:
        name: Its name.
        summary: One line for people; `""` where the analysis says none.
        path: The file of its result; None where it had nothing to say of the run.
    """

    name: str
    summary: str
    path: Path | None


def evaluate(spec: AnalysisSpec, run: Archive) -> Evaluated:
    """Make an analysis of a run and store its result.

    Args:
        spec: The analysis.
        run: The archive, open; it is not changed.

    Raises:
        AnalysisError: It does not suit the run, or its result is none that can be stored.
        AnalysisFailedError: It failed in its own code; the log has the traceback.
        ArchiveError: The archive is damaged, or the result cannot be written.
        ConfigError: A recorded analysis is not trusted, or does not fit its function.
    """
    dataset = _made(spec, run)
    if dataset is None:
        return Evaluated(spec.name, "nothing to say of this run", None)
    redact = redactor()
    path = write_analysis(run, spec, dataset, redact)
    summary = dataset.attrs.get("summary", "")
    return Evaluated(spec.name, " ".join(redact(str(summary)).split()), path)


def _made(spec: AnalysisSpec, run: Archive) -> xr.Dataset | None:
    import xarray as xr

    try:
        made = spec.evaluate(run)
    except AnalysisError as error:
        raise AnalysisError(f"analysis '{spec.name}': {error}") from None
    except QexpError:
        raise
    except (Exception, SystemExit) as error:
        _log.error("analysis '%s' failed", spec.name, exc_info=True)
        reason = " ".join(str(error).split())
        raise AnalysisFailedError(
            f"analysis '{spec.name}': {spec.target} failed: {type(error).__name__}: {reason}"
        ) from error
    if made is not None and not isinstance(made, xr.Dataset):
        raise AnalysisError(
            f"analysis '{spec.name}': {spec.target} returned {type(made).__name__}; it must "
            f"return an xarray.Dataset, or None where it has nothing to say"
        )
    return made
