from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

import qexp
from qexp.analysis.decay import decay
from qexp.analysis.evaluate import make_declared_analyses
from qexp.core.observer import Observer
from qexp.core.spec import AnalysisSpec
from qexp.sweeps.analyses import evaluate_sweep, read_sweep_analyses
from tests.unit.sweeps.conftest import write_point


def mean(sweep: xr.Dataset) -> xr.Dataset:
    made = xr.Dataset({"mean": sweep.fit_decay.mean()})
    return made.assign_attrs(summary=f"mean {made['mean'].item():.4f}")


def fails(sweep: xr.Dataset) -> xr.Dataset:
    raise ZeroDivisionError("of mine")


class Watch(Observer):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def analysed(self, name: str, summary: str, point: int | None = 0) -> None:
        self.seen.append((name, summary, point))

    def warned(self, message: str) -> None:
        self.seen.append(message)


def spec(name: str, function: Any) -> AnalysisSpec:
    return AnalysisSpec(name, f"mine.{name}", {"a": 1}, function)


def test_a_result_is_kept_beside_the_sweep_and_knows_what_it_is_of(grid) -> None:
    with qexp.open_sweep(grid.path) as sweep:
        made = evaluate_sweep(spec("mean", mean), sweep)
        assert (made.summary, made.path) == ("mean 1.1875", grid.path / "analysis" / "mean.nc")
        found = read_sweep_analyses(sweep)["mean"]
    assert found["mean"] == 1.1875
    assert found.attrs["sweep"] == sweep.id
    assert found.attrs["target"] == "mine.mean"
    assert not found.attrs["is_stale"]


def test_a_result_of_other_numbers_is_stale(grid) -> None:
    with qexp.open_sweep(grid.path) as sweep:
        evaluate_sweep(spec("mean", mean), sweep)
    for file in grid.points[0].rglob("*"):
        file.unlink(missing_ok=True) if file.is_file() else None
    write_point(grid.points[0], {"field": 0.5}, 0.0, 7.0)
    with qexp.open_sweep(grid.path) as sweep:
        assert read_sweep_analyses(sweep)["mean"].attrs["is_stale"]


def test_declared_ones_are_told_and_none_fails_the_sweep(grid) -> None:
    watch = Watch()
    specs = [spec("fails", fails), spec("mean", mean), spec("none", lambda sweep: None)]
    opened = partial(qexp.open_sweep, grid.path)
    make_declared_analyses(grid.path, specs, opened, evaluate_sweep, watch, None)
    assert watch.seen[1:] == [
        ("mean", "mean 1.1875", None),
        ("none", "nothing to say of these data", None),
    ]
    assert "analysis 'fails': mine.fails failed: ZeroDivisionError: of mine" in watch.seen[0]
    assert f"python -m qexp analyse {grid.path} --trust mine" in watch.seen[0]


def test_a_fit_with_its_curves_can_be_stored(grid) -> None:
    def fit(sweep: xr.Dataset) -> xr.Dataset:
        return decay(sweep, value="fit_decay", over="field", floor=0.0)

    with qexp.open_sweep(grid.path) as sweep:
        evaluate_sweep(spec("decay", fit), sweep)
        found = read_sweep_analyses(sweep)["decay"]
    assert found.line.values.tolist() == ["twirled false", "twirled true"]
    assert found.fit.dims == ("line", "x")
    assert np.isfinite(found.fit).all()
