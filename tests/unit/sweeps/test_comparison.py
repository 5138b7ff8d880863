"""Comparison of variants, of data whose bias, scatter and cost are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from qexp.errors import AnalysisError
from qexp.sweeps.comparison import compare
from qexp.sweeps.pairs import paired_test

STD = 0.02


def swept(
    bias: dict[str, float],
    num_pubs: int = 12,
    num_seeds: int = 1,
    std: float = STD,
    **more: Any,
) -> xr.Dataset:
    """A sweep of variants and seeds, of PUBs with three observables; `more` replaces variables."""
    rng = np.random.default_rng(7)
    shape = (len(bias), num_seeds, num_pubs, 3)
    dims = ("variant", "seed", "pub", "observable")
    exact = rng.uniform(-0.9, 0.9, shape[1:])
    offset = np.array([*bias.values()])[:, None, None, None]
    points, of_points = dims[:2], shape[:2]
    variables = {
        "status": (points, np.full(of_points, "complete", object)),
        "engine": (points, np.full(of_points, "ibm", object)),
        "usage_s": (points, np.full(of_points, 3.0)),
        "predicted_qpu_s": (points, np.full(of_points, 4.0)),
        "evs": (dims, exact + offset + rng.normal(0, std, shape)),
        "stds": (dims, np.full(shape, std)),
        "exact": (dims, np.broadcast_to(exact, shape)),
    }
    names = np.array([*bias], object)
    return xr.Dataset(variables | more, {"variant": names, "seed": np.arange(num_seeds)})


def test_bias_rms_error_bar_and_cost_of_each_variant() -> None:
    found = compare(swept({"bare": -0.1, "zne": 0.0}, num_seeds=4), precision=0.01)
    assert found.variant.values.tolist() == ["bare", "zne"]
    np.testing.assert_allclose(found.bias, [-0.1, 0], atol=0.006)
    # Three values of a PUB count as one.
    np.testing.assert_allclose(found.bias_std, STD / np.sqrt(12 * 4))
    np.testing.assert_allclose(found.rms_error, [np.hypot(0.1, STD), STD], rtol=0.1)
    np.testing.assert_allclose(found.rms_std, STD)
    assert found.num_values.values.tolist() == [144, 144]
    assert found.qpu_s.values.tolist() == [12, 12]
    np.testing.assert_allclose(found.cost_s, 12 * 4)
    assert found.qpu_s.attrs == {"long_name": "QPU time charged", "units": "s"}
    assert found.attrs["summary"].startswith("rms error: bare 0.10")


def test_what_is_not_charged_throughout_is_predicted() -> None:
    for more in (
        {"engine": (("variant", "seed"), np.array([["ibm"], ["local"]], object))},
        {"usage_s": (("variant", "seed"), np.array([[3.0], [np.nan]]))},
    ):
        found = compare(swept({"a": 0.0, "b": 0.1}, **more))
        assert found.qpu_s.values.tolist() == [4, 4]
        assert found.qpu_s.attrs["long_name"] == "QPU time predicted"


@pytest.mark.parametrize(
    ("num_pubs", "num_seeds", "test"), [(2, 1, "z"), (3, 2, "t"), (6, 2, "Wilcoxon")]
)
def test_pairs_have_the_test_that_suits_their_number(
    num_pubs: int, num_seeds: int, test: str
) -> None:
    found = compare(swept({"a": 0.2, "b": 0.0, "c": 0.0}, num_pubs, num_seeds))
    assert found.pair.values.tolist() == ["b against a", "c against a", "c against b"]
    assert found.num_pairs.values.tolist() == [num_pubs * num_seeds] * 3
    assert found.test.values.tolist() == [test] * 3
    np.testing.assert_allclose(found.difference[:2], -0.2 + 0.8 * STD, atol=0.03)
    # An error of the first two is always seen, whatever the correction; one of the last is not.
    assert (found.p_adjusted[:2] < 0.01).all()
    assert found.p_adjusted[2] > 0.05
    assert (found.p_adjusted >= found.p_value).all()
    np.testing.assert_allclose(found.difference_std, STD * np.sqrt(2 / (num_pubs * num_seeds)))
    assert (found.mean_chi2[:2] > 20).all()
    assert 0.3 < found.mean_chi2[2] < 2


def test_equal_variants_are_called_different_as_often_as_the_level_says() -> None:
    p_values = []
    rng = np.random.default_rng(3)
    for _ in range(200):
        data = swept({"a": 0.0, "b": 0.0}, 6)
        noise = rng.normal(0, STD, data.evs.shape)
        p_values.append(compare(data.assign(evs=data.exact + noise)).p_value.item())
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_points_that_are_no_grid_or_lack_values_are_paired_by_their_keys() -> None:
    data = swept({"a": 0.1, "b": 0.0}, num_seeds=3)
    listed = data.stack(point=("variant", "seed"), create_index=False)
    listed = listed.transpose("point", ...).isel(point=[5, 0, 4, 1, 3])
    found = compare(listed)
    assert found.variant.values.tolist() == ["b", "a"]
    assert found.num_pairs.item() == 2 * 12
    missing = data.copy(deep=True)
    missing["evs"][0, 1] = np.nan
    missing["exact"][:, 0, 5] = np.nan
    again = compare(missing)
    assert again.num_values.values.tolist() == [72, 108]
    assert again.num_pairs.item() == 2 * 12 - 1
    assert np.isfinite(again.bias).all()


def test_points_with_other_circuits_are_no_pairs() -> None:
    data = swept({"a": 0.1, "b": 0.0}).isel(seed=0, drop=True)
    found = compare(data.assign(seed=("variant", [1, 2])))
    assert (found.num_pairs.item(), found.test.item()) == (0, "")
    assert np.isnan(found.p_value.item())
    assert compare(data.assign(seed=("variant", [1, 1]))).num_pairs.item() == 12


def test_without_exact_values_the_variants_themselves_are_compared() -> None:
    found = compare(swept({"a": 0.1, "b": 0.0}).drop_vars("exact"))
    assert found.attrs["summary"] == "no exact values; rms standard error: a 0.02, b 0.02"
    assert np.isnan(found.bias).all()
    assert found.num_values.values.tolist() == [36, 36]
    assert found.mean_chi2.item() == pytest.approx(0.1**2 / (2 * STD**2) + 1, rel=0.2)
    assert (found.num_pairs.item(), found.test.item()) == (0, "")


def test_values_without_errors_have_no_cost_and_are_tested_by_their_scatter() -> None:
    data = swept({"a": 0.1, "b": 0.0})
    found = compare(data.assign(stds=data.stds * 0))
    assert found.cost_s.values.tolist() == [0, 0]
    assert found.test.item() == "Wilcoxon"
    assert np.isnan(found.mean_chi2.item())


def test_an_error_that_is_not_known_spoils_no_other() -> None:
    data = swept({"a": 0.1, "b": 0.0})
    before = compare(data)
    data["stds"][1, 0, 3, 1] = np.inf
    found = compare(data)
    for name in ("bias", "bias_std", "rms_std", "difference", "difference_std", "p_value"):
        np.testing.assert_allclose(found[name], before[name], err_msg=name)
    # It is counted, and said, because the cost without it is too low.
    assert before.num_unknown.values.tolist() == [0, 0]
    assert found.num_unknown.values.tolist() == [0, 1]
    assert found.num_values.values.tolist() == [36, 36]
    assert "left out" not in before.attrs["summary"]
    assert found.attrs["summary"].endswith(
        "; left out of rms_std and cost_s, as their errors are not known: 1 of b"
    )
    few = swept({"a": 0.1, "b": 0.0}, 2)
    few["stds"][1, 0, 1, 1] = np.nan
    assert compare(few).test.item() == "t"


def test_one_variant_has_no_pairs_and_any_swept_key_may_tell_variants() -> None:
    alone = compare(swept({"a": 0.1}))
    assert dict(alone.sizes) == {"variant": 1, "pair": 0}
    data = swept({"a": 0.1, "b": 0.0}).rename({"variant": "primitive.options.resilience_level"})
    found = compare(data, over="primitive.options.resilience_level")
    assert found.variant.attrs["long_name"] == "primitive.options.resilience_level"
    with pytest.raises(AnalysisError, match=r"^over=variant: not swept; allowed: primitive\.opt"):
        compare(data)
    with pytest.raises(AnalysisError, match="no expectation values; only Estimators"):
        compare(swept({"a": 0.1}).drop_vars(["evs", "stds", "exact"]))


def test_differences_that_are_all_equal_or_absent_have_no_test() -> None:
    assert paired_test([], []) == (None, None)
    assert paired_test([0.1], [np.nan]) == (None, None)
    assert paired_test([0.1] * 4, [0.2] * 4) == (None, None)
    assert paired_test([0.1, 0.1], [0.1, 0.1]) == ("z", pytest.approx(0.157, abs=1e-3))
