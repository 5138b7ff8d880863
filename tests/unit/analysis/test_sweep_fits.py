"""Fits over the points of a sweep, of data whose parameters are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import xarray as xr

from qexp.analysis.crossing import crossing
from qexp.analysis.decay import decay
from qexp.analysis.lines import lines, numeric_keys
from qexp.errors import AnalysisError

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
FIELDS = (0.5, 0.75, 1.0, 1.25, 1.5)
Model = Callable[[float, float], float]


def grid(
    first: tuple[str, Sequence[float]],
    second: tuple[str, Sequence[float]],
    model: Model,
    std: float = 0.01,
    seed: int = 5,
) -> xr.Dataset:
    """A sweep of two keys, with one value of each point and its error."""
    rng = np.random.default_rng(seed)
    exact = np.array([[model(x, y) for y in second[1]] for x in first[1]])
    dims = (first[0], second[0])
    return xr.Dataset(
        {
            "status": (dims, np.full(exact.shape, "complete", object)),
            "fit_p": (dims, exact + rng.normal(0, std, exact.shape)),
            "fit_p_std": (dims, np.full(exact.shape, std)),
        },
        {first[0]: list(first[1]), second[0]: list(second[1])},
    )


def decaying(m: float, shots: float) -> float:
    return 0.7 * (0.95 if shots == 100 else 0.9) ** m + 0.25


def depths(**settings: float) -> xr.Dataset:
    return grid(("depth", DEPTHS), ("shots", (100, 200)), decaying, **settings)


def test_a_decay_is_found_on_each_line_within_its_errors() -> None:
    pulls, chi2 = [], []
    for seed in range(40):
        found = decay(depths(seed=seed), value="fit_p", over="depth")
        assert found.p.dims == ("line",)
        assert found.shots.values.tolist() == [100, 200]
        for name, exact in (("p", [0.95, 0.9]), ("amplitude", 0.7), ("floor", 0.25)):
            pulls.append((found[name] - exact) / found[f"{name}_std"])
        chi2.append(found.reduced_chi2.values)
    assert np.std(pulls) == pytest.approx(1, abs=0.15)
    assert np.mean(pulls) == pytest.approx(0, abs=0.15)
    assert np.mean(chi2) == pytest.approx(1, abs=0.2)


def test_a_given_floor_is_not_fitted() -> None:
    found = decay(depths(), value="fit_p", over="depth", floor=0.25)
    assert found.floor.values.tolist() == [0.25, 0.25]
    assert found.floor_std.values.tolist() == [0, 0]
    assert (abs(found.p - [0.95, 0.9]) < 3 * found.p_std).all()
    assert "shots 100: p = 0.9" in found.attrs["summary"]


def test_the_curve_is_that_of_the_parameters() -> None:
    found = decay(depths(), value="fit_p", over="depth")
    expected = found.amplitude * found.p**found.x + found.floor
    np.testing.assert_allclose(found.fit, expected)
    assert (found.fit.attrs["value"], found.fit.attrs["over"]) == ("fit_p", "depth")
    assert (float(found.x[0]), float(found.x[-1])) == (1, 64)


def test_missing_points_are_left_out_and_too_few_give_no_fit() -> None:
    sweep = depths()
    sweep.fit_p[2, 0] = np.nan
    sweep.fit_p[2:, 1] = np.nan
    found = decay(sweep, value="fit_p", over="depth")
    assert found.num_points.values.tolist() == [6, 2]
    assert abs(found.p[0] - 0.95) < 3 * found.p_std[0]
    assert np.isnan(found.p[1])
    assert "shots 200: no fit" in found.attrs["summary"]
    sweep.fit_p[:] = np.nan
    assert np.isnan(decay(sweep, value="fit_p", over="depth").p).all()


def test_without_errors_the_scatter_gives_those_of_the_parameters() -> None:
    sweep = depths().drop_vars("fit_p_std")
    found = decay(sweep, value="fit_p", over="depth")
    assert np.isnan(found.reduced_chi2).all()
    assert (abs(found.p - [0.95, 0.9]) < 4 * found.p_std).all()


def test_points_without_a_grid_and_of_several_seeds_are_points_of_one_line() -> None:
    sweep = grid(("depth", DEPTHS), ("seed", (1, 2)), lambda m, _: decaying(m, 100))
    flat = sweep.stack(point=("depth", "seed")).reset_index("point")
    for each in (sweep, flat):
        found = decay(each, value="fit_p")
        assert found.sizes["line"] == 1
        assert found.num_points.item() == 14
        assert abs(found.p.item() - 0.95) < 3 * found.p_std.item()
    (line,) = lines(sweep, "fit_p", "depth")
    means = line.averaged()
    assert means.x.tolist() == list(DEPTHS)
    np.testing.assert_allclose(means.y, sweep.fit_p.mean("seed"))
    assert numeric_keys(sweep) == ["depth"]


def test_a_crossing_is_found_within_its_error() -> None:
    pulls = []
    for seed in range(60):
        sweep = grid(
            ("field", FIELDS), ("size", (4, 6, 8)), lambda f, n: 0.5 + n * (f - 1.1) / 10, seed=seed
        )
        found = crossing(sweep, value="fit_p", over="field", by="size")
        assert found.pair.values.tolist() == ["size 4 and size 6", "size 6 and size 8"]
        pulls.append((found.crossing - 1.1) / found.crossing_std)
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert np.mean(pulls) == pytest.approx(0, abs=0.2)


def test_curved_lines_cross_where_their_polynomials_do() -> None:
    sweep = grid(("field", FIELDS), ("size", (2, 4)), lambda f, n: n * (f**2 - 1.0) / 10, std=1e-3)
    found = crossing(sweep, value="fit_p", over="field", by="size", degree=2)
    assert abs(found.crossing.item() - 1) < 3 * found.crossing_std.item() < 0.05
    cut = crossing(sweep, value="fit_p", over="field", by="size", within=[0.7, 1.3])
    assert cut.num_points.values.tolist() == [3, 3]


def test_lines_that_do_not_cross_have_no_crossing() -> None:
    sweep = grid(("field", FIELDS), ("size", (2, 4)), lambda f, n: f + n)
    found = crossing(sweep, value="fit_p", over="field", by="size")
    assert np.isnan(found.crossing.item())
    assert found.attrs["summary"] == "size 2 and size 4: none"
    sweep.fit_p[:, 1] = np.nan
    assert np.isnan(crossing(sweep, value="fit_p", over="field", by="size").crossing.item())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"value": "fit_q", "over": "depth"}, "value=fit_q: .* allowed: fit_p$"),
        ({"value": "fit_p", "over": "deep"}, "over=deep: .* allowed: depth, shots"),
        ({"value": "fit_p"}, "over: not given, and .* depth, shots; name one: over=KEY"),
    ],
)
def test_what_a_sweep_does_not_have_is_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        decay(depths(), **settings)
    with pytest.raises(AnalysisError, match="by: got size, and the other swept keys are shots"):
        crossing(depths(), value="fit_p", over="depth", by="size")
