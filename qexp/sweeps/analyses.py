"""Analyses of a sweep: made of its dataset, and kept in `analysis/` beside `sweep.json`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.analysis.evaluate import Evaluated, evaluate_into
from qexp.archive.analyses import FOLDER, analysis_files, read_analysis, write_result
from qexp.core.jsonable import dumps
from qexp.sweeps.opened import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from qexp.core.spec import AnalysisSpec


def evaluate_sweep(spec: AnalysisSpec, sweep: Sweep) -> Evaluated:
    """Make an analysis of a sweep's dataset, as `evaluate_into`; store its result in its folder.

    Raises:
        AnalysisError: The analysis does not suit the sweep, or its result cannot be stored.
        AnalysisFailedError: The analysis failed in its own code; the log has the traceback.
        ArchiveError: The sweep is damaged, or the result cannot be written.
        ConfigError: A recorded analysis is not trusted, or does not fit its function.
    """

    def write(result: xr.Dataset, redact: Callable[[str], str]) -> Path:
        origin = {"sweep": sweep.id, "data_sha256": digest(sweep)}
        return write_result(sweep.path / FOLDER, spec, result, origin, redact)

    return evaluate_into(spec, sweep.to_dataset(), write)


def read_sweep_analyses(sweep: Sweep) -> dict[str, xr.Dataset]:
    """Read all stored results of a sweep into memory, by name.

    Each has the attribute `is_stale`, true if the points have other results now.

    Raises:
        ArchiveError: A result is damaged.
    """
    current = digest(sweep)
    results = {name: read_analysis(path) for name, path in analysis_files(sweep.path).items()}
    return {
        name: dataset.assign_attrs(is_stale=dataset.attrs.get("data_sha256") != current)
        for name, dataset in results.items()
    }


def digest(sweep: Sweep) -> str:
    """Return the SHA-256 of what is analysed: the data of the points, and their numbers."""
    each = [[record.get("data_sha256"), record.get("values")] for record in sweep.records]
    return hashlib.sha256(dumps(each).encode()).hexdigest()
