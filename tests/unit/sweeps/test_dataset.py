from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import qexp
from qexp.analysis.exact_evs import exact_evs
from qexp.archive.analyses import write_analysis
from qexp.core.spec import AnalysisSpec
from qexp.sweeps import dataset as module
from qexp.sweeps import opened
from qexp.sweeps.dataset import axes_of, build_dataset, evs_table
from qexp.sweeps.records import read_estimates
from tests.archives import sampler_jobs, write_run
from tests.sweeps import declare
from tests.unit.sweeps.conftest import GRID, write_point


def test_swept_keys_of_a_full_grid_are_dimensions_in_the_order_declared() -> None:
    draws = [{"n": n, "how": how} for how in ("b", "a") for n in (8, 4)]
    axes = axes_of(draws, ["n", "how"])
    assert axes.dims == ("n", "how")
    assert axes.shape == (2, 2)
    assert axes.values["n"].tolist() == [8, 4]
    assert axes.values["how"].tolist() == ["b", "a"]
    placed = axes.placed(np.arange(4))
    assert placed.tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    "draws",
    [
        [{"n": 1, "m": 1}, {"n": 1, "m": 2}, {"n": 2, "m": 1}],
        [{"n": 1, "m": 1}, {"n": 2, "m": 2}],
        [{"n": 1, "m": 1}, {"n": 1, "m": 1}],
    ],
    ids=["a corner is missing", "zipped", "twice"],
)
def test_other_points_have_a_dimension_of_their_own(draws) -> None:
    axes = axes_of(draws, ["n", "m"])
    assert axes.dims == ("point",)
    assert axes.values["n"].tolist() == [draw["n"] for draw in draws]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False], np.array([True, False])),
        ([1, 2], np.array([1, 2])),
        ([1, 2.5], np.array([1.0, 2.5])),
        ([1, None], np.array([1.0, np.nan])),
        (["a", 1], np.array(["a", "1"], object)),
        ([[1, 2], {"x": 1}], np.array(["[1,2]", '{"x":1}'], object)),
        ([True, 1], np.array(["true", "1"], object)),
    ],
)
def test_values_of_a_key_have_one_type(values, expected) -> None:
    found = axes_of([{"k": value} for value in values], ["k"]).values["k"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_the_dataset_of_a_grid(grid) -> None:
    data = qexp.open_sweep(grid.path).to_dataset()
    assert dict(data.sizes) == {
        "twirled": 2, "field": 2, "pub": 1, "parameter_set": 2, "observable": 2,
    }  # fmt: skip
    at = data.sel(twirled=True, field=1.0)
    assert float(at["fit_decay"]) == 1.0 + 0.5 + 3 / 8
    assert float(at["fit_decay_std"]) == 0.4
    assert float(at["fit_number"]) == 3
    assert data["fit_decay"].attrs == {"long_name": "decay", "units": "1"}
    # Neither arrays nor coordinates of an analysis.
    assert [name for name in data if str(name).startswith("fit")] == [
        "fit_decay", "fit_decay_std", "fit_number",
    ]  # fmt: skip
    np.testing.assert_allclose(at["evs"].values, [[[0.2, 0.3], [0.4, 0.5]]])
    np.testing.assert_allclose(at["stds"].values, 0.03)
    observables = ['{"ZZ":0.5,"XI":-1.25}', '{"IY":0.3333333333333333}']
    assert data["observable"].values.tolist() == observables
    assert at["status"] == "complete"
    assert at["folder"] == "0003"
    assert float(at["usage_s"]) == 3.5
    assert at["started"].values == np.datetime64("2026-01-01T00:00:01")
    assert int(at["seed"]) == 7
    with qexp.open_archive(grid.points[3]) as run:
        assert at["data_sha256"] == run.data_sha256


def test_exact_values_stand_beside_those_that_they_belong_to(grid) -> None:
    assert "exact" not in qexp.open_sweep(grid.path).to_dataset()
    spec = AnalysisSpec("exact_evs", "qexp.analysis.exact_evs.exact_evs", {}, exact_evs)
    with qexp.open_archive(grid.points[3]) as run:
        result = exact_evs(run)
        write_analysis(run, spec, result)
    data = qexp.open_sweep(grid.path).to_dataset()
    assert data["exact"].dims == data["evs"].dims
    at = data.sel(twirled=True, field=1.0)
    exact = dict(zip(at["evs"].values.ravel(), at["exact"].values.ravel(), strict=True))
    assert exact == dict(zip(result.ev.values, result.exact.values, strict=True))
    assert len(exact) == 4
    assert np.isnan(data["exact"].sel(twirled=False)).all()
    assert set(data["engine"].values.ravel()) == {"local"}


def test_it_comes_back_from_netcdf(grid, tmp_path: Path) -> None:
    data = qexp.open_sweep(grid.path).to_dataset()
    data.to_netcdf(tmp_path / "sweep.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "sweep.nc"), data)


def test_what_a_point_does_not_have_is_missing(tmp_path: Path) -> None:
    folder = declare(tmp_path / "sweep", GRID)
    write_point(folder / "0001", GRID[1], 0.0, 1.0)
    data = qexp.open_sweep(folder).to_dataset()
    assert data["status"].values.tolist() == [["declared", "complete"], ["declared", "declared"]]
    np.testing.assert_array_equal(data["fit_decay"], [[np.nan, 1.0], [np.nan, np.nan]])
    assert np.isfinite(data["evs"]).sum() == 4
    assert np.isnat(data["started"]).sum() == 3
    assert data["data_sha256"].values[0, 0] == ""


def test_a_swept_seed_is_a_dimension(tmp_path: Path) -> None:
    folder = declare(tmp_path / "sweep", [{"seed": 5}, {"seed": 6}])
    write_run(folder / "0000", sampler_jobs([1])).seal("complete", keep_parts=False)
    data = qexp.open_sweep(folder).to_dataset()
    assert data["seed"].dims == ("seed",)
    assert data["num_pubs"].values.tolist() == pytest.approx([1, np.nan], nan_ok=True)


def test_an_analysis_of_other_data_is_left_out(grid) -> None:
    fit = grid.points[0] / "analysis" / "fit.nc"
    fit.write_bytes((grid.points[3] / "analysis" / "fit.nc").read_bytes())
    data = qexp.open_sweep(grid.path).to_dataset()
    assert np.isnan(data["fit_decay"].values[0, 0])


def test_a_damaged_analysis_is_left_out_with_a_warning(grid, caplog) -> None:
    fit = grid.points[0] / "analysis" / "fit.nc"
    fit.write_bytes(fit.read_bytes()[:-100])
    data = qexp.open_sweep(grid.path).to_dataset()
    assert np.isnan(data["fit_decay"].values[0, 0])
    assert "fit.nc is left out of the dataset" in caplog.text


def test_counts_are_those_of_the_archives(tmp_path: Path) -> None:
    folder = declare(tmp_path / "sweep", [{"n": 1}, {"n": 2}])
    for k in range(2):
        jobs = sampler_jobs([2 - k], seed=k)
        write_run(folder / f"{k:04d}", jobs).seal("complete", keep_parts=False)
    sweep = qexp.open_sweep(folder)
    assert "reg0_counts" not in sweep.to_dataset()
    data = sweep.to_dataset(counts=True)
    counts = data["reg0_counts"]
    assert counts.dims == ("n", "pub", "parameter_set", "reg0_outcome")
    assert data["reg0_outcome"].values.tolist() == ["00", "01", "10", "11"]
    assert np.isnan(counts.sel(n=2, pub=1)).all()
    with sweep[0] as run:
        per_set = run.counts_per_set(register="reg0")[1]
    for k in range(3):
        found = counts.sel(n=1, pub=1, parameter_set=k)
        assert {
            str(name): int(value)
            for name, value in zip(data["reg0_outcome"].values, found.values, strict=True)
            if value
        } == per_set[k]


def test_workloads_of_both_kinds_share_their_dimensions() -> None:
    axes = axes_of([{"n": 1}, {"n": 2}], ["n"])
    found = {"labels": [["a", "b"]], "pubs": [[2, 0]]}
    records = [{"status": "complete", "evs": {"est": found, "other": found}}, {"status": "failed"}]

    def read(point: int, name: str):
        yield from ((each, 2, np.array([0.5, 0.25])) for each in ("est", "other"))

    counts = module.PubTable(
        {"c_counts": "counts"},
        "c_outcome",
        ["0", "1"],
        [{}, {("sam", 0): (np.zeros(2, int), np.arange(2))}],
        lambda point, name: iter([("sam", 0, np.array([3.0, 4.0]))]),
    )
    built = build_dataset(axes, records, ["", ""], {}, {}, [evs_table(records, read), counts])
    assert built["workload"].values.tolist() == ["est", "other", "sam"]
    evs = built["evs"]
    assert evs.dims == ("n", "workload", "pub", "observable")
    assert evs.values[0, 1, 2].tolist() == [0.5, 0.25]
    assert np.isnan(evs.values[0, 2]).all()
    assert built["c_counts"].dims == ("n", "workload", "pub", "c_outcome")
    assert built["c_counts"].values[1, 2, 0].tolist() == [3.0, 4.0]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Folder and variable of each point whose values were read."""
    seen = []

    def read(folder: Path, name: str):
        seen.append((folder.name, name))
        return read_estimates(folder, name)

    monkeypatch.setattr(opened, "read_estimates", read)
    return seen


def test_values_are_read_of_the_points_that_are_asked_for_and_kept(grid, reads) -> None:
    data = qexp.open_sweep(grid.path).to_dataset()
    assert reads == []
    assert data["evs"].sel(twirled=True, field=1.0, parameter_set=1).values.tolist() == [[0.4, 0.5]]
    turned = data["evs"].isel(twirled=[0, 0], field=slice(None, None, -1)).values
    assert turned.shape == (2, 2, 1, 2, 2)
    assert sorted(reads) == [("0000", "evs"), ("0001", "evs"), ("0003", "evs")]
    reads.clear()
    np.testing.assert_array_equal(data["evs"].values[0, ::-1], turned[1])
    reads.clear()
    for _ in range(2):
        assert data["stds"].mean() == pytest.approx(0.03)
    assert reads == [(f"{k:04d}", "stds") for k in range(4)]


def test_there_is_no_array_before_it_is_read(grid) -> None:
    records = qexp.open_sweep(grid.path).records
    records[3]["evs"]["main"]["pubs"][0][0] = 10**6
    data = build_dataset(
        axes_of(GRID, ["twirled", "field"]), records, [""] * 4, {}, {}, [evs_table(records, iter)]
    )
    assert data["evs"].size == 4 * (10**6 + 1) * 4


def test_chunks_are_those_of_dask(grid) -> None:
    pytest.importorskip("dask")
    data = qexp.open_sweep(grid.path).to_dataset(chunks={"field": 1})
    assert data["evs"].chunksizes["field"] == (1, 1)
    np.testing.assert_allclose(data["stds"].compute(), 0.03)
