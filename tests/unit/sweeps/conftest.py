"""Sweeps of an option, and of the field that decides the circuits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from qiskit.primitives import DataBin, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub

import qexp
from qexp.archive.analyses import write_analysis
from qexp.core.spec import AnalysisSpec
from tests.archives import estimator_pub
from tests.sweeps import declare
from tests.unit.compare.runs import write

FIELDS = (0.5, 1.0)
GRID = [{"twirled": twirled, "field": field} for twirled in (False, True) for field in FIELDS]
SPEC = AnalysisSpec("fit", "mine.fit", {}, lambda run: None)


def pub(field: float) -> EstimatorPub:
    one = estimator_pub()
    values = field * np.asarray(one.parameter_values.as_array())
    return EstimatorPub.coerce((one.circuit, one.observables, values, 0.01))


def result(shift: float) -> PubResult:
    evs = np.array([[0.1, 0.2], [0.3, 0.4]]) + shift
    return PubResult(DataBin(shape=(2, 2), evs=evs, stds=np.full((2, 2), 0.03)), {})


def write_point(folder: Path, draw: dict[str, Any], shift: float, fitted: float) -> None:
    """A point with one PUB, and an analysis with one number and one array."""
    path = write(folder, [result(shift)], pubs=[pub(draw["field"])], run_id=folder.name)
    dataset = xr.Dataset(
        {
            "decay": ((), fitted, {"long_name": "decay", "units": "1"}),
            "decay_std": ((), 0.4, {"long_name": "decay, standard error", "units": "1"}),
            "number": ("width", np.array([3]), {"units": "1"}),
            "each": ("pub", np.arange(2.0)),
            "name": ("pub", np.array(["a", "b"])),
        },
        {"width": ("width", np.array([2]))},
    )
    with qexp.open_archive(path) as run:
        write_analysis(run, SPEC, dataset)


def make_grid(folder: Path) -> list[Path]:
    """Four points: twirling adds 0.5 to the fit and, times the field, 0.1 to each value."""
    declare(folder, GRID)
    points = [folder / f"{k:04d}" for k in range(len(GRID))]
    for k, draw in enumerate(GRID):
        shift = 0.1 * draw["twirled"] * draw["field"]
        write_point(points[k], draw, shift, draw["field"] + 0.5 * draw["twirled"] + k / 8)
    return points


@pytest.fixture
def grid(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(path=tmp_path / "sweep", points=make_grid(tmp_path / "sweep"))
