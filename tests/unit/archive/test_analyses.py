"""Results of analyses, stored beside the archive."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
import xarray as xr

import qexp
from qexp.archive.analyses import read_analyses, read_analysis, write_analysis
from qexp.core.spec import AnalysisSpec
from qexp.errors import AnalysisError, ArchiveError
from tests.archives import started
from tests.damage import cuts, flips

SPEC = AnalysisSpec("quality", "mine.quality", {"level": 0.5}, lambda run: None)


@pytest.fixture
def run(tmp_path: Path):
    store = started(tmp_path)
    with qexp.open_archive(store.seal("failed", keep_parts=True)) as run:
        yield run


def result() -> xr.Dataset:
    return xr.Dataset(
        {
            "fidelity": ("pub", np.array([0.5, np.nan]), {"long_name": "fidelity", "units": "1"}),
            "reason": ("pub", np.array(["", "Bearer abcdefghijk"])),
            "is_good": True,
        },
        coords={"pub": np.arange(2)},
        attrs={"summary": "good"},
    )


def test_a_result_is_read_back_with_its_origin(run, tmp_path: Path) -> None:
    before = run.path.read_bytes()
    path = write_analysis(run, SPEC, result())
    assert path == tmp_path / "analysis" / "quality.nc"
    assert run.path.read_bytes() == before
    found = read_analyses(tmp_path)["quality"]
    assert found["fidelity"].attrs["units"] == "1"
    np.testing.assert_array_equal(found["fidelity"], [0.5, np.nan])
    assert bool(found["is_good"]) is True
    made = {name: found.attrs[name] for name in ("analysis", "target", "arguments_json", "run_id")}
    assert made == {
        "analysis": "quality",
        "target": "mine.quality",
        "arguments_json": '{"level":0.5}',
        "run_id": run.run_id,
    }
    assert found.attrs["data_sha256"] == run.data_sha256
    assert found.attrs["summary"] == "good"
    assert found.attrs["is_stale"] is False
    with netCDF4.Dataset(path) as plain:
        assert plain["fidelity"].units == "1"


def test_only_dates_and_durations_are_decoded(run) -> None:
    date, duration = np.array(["2026-01-01", "NaT"], "M8[ns]"), np.array([1, 2], "m8[s]")
    age = {"units": "days since 2000-01-01"}
    dataset = xr.Dataset(
        {
            "t1": ("qubit", np.array([1e-6, np.nan]), {"units": "seconds"}),
            "age": ("qubit", np.array([2.5, 3.5]), age),
            "date": ("qubit", date),
            "duration": ("qubit", duration),
        }
    )
    found = read_analysis(write_analysis(run, SPEC, dataset))
    for name, variable in dataset.data_vars.items():
        assert found[name].dtype == variable.dtype, name
        assert np.array_equal(found[name].isnull(), variable.isnull())
    assert found.age.values.tolist() == [2.5, 3.5]
    assert found.age.attrs == age
    assert np.array_equal(found.date.values, date, equal_nan=True)
    assert np.array_equal(found.duration.values, duration)


def test_a_result_of_other_data_is_stale(run, tmp_path: Path) -> None:
    other = SimpleNamespace(path=run.path, run_id=run.run_id, data_sha256="0" * 64)
    write_analysis(other, SPEC, result())
    assert read_analyses(run.path)["quality"].attrs["is_stale"] is True


def test_a_result_is_replaced_and_secrets_are_masked(run, tmp_path: Path) -> None:
    write_analysis(run, SPEC, result())
    write_analysis(run, SPEC, result(), lambda text: text.replace("Bearer abcdefghijk", "***"))
    assert read_analyses(run.path)["quality"]["reason"].values.tolist() == ["", "***"]
    assert [path.name for path in (tmp_path / "analysis").iterdir()] == ["quality.nc"]


def test_a_result_that_netcdf_cannot_hold_is_refused_and_the_earlier_one_stays(run) -> None:
    write_analysis(run, SPEC, result())
    for bad in (xr.Dataset(attrs={"x": {"a": 1}}), xr.Dataset({"x": ("pub", [{"a": 1}])})):
        with pytest.raises(AnalysisError, match="'quality': its result cannot be stored"):
            write_analysis(run, SPEC, bad)
    assert "fidelity" in read_analyses(run.path)["quality"]


def test_a_folder_that_cannot_be_written_is_reported(run, tmp_path: Path) -> None:
    (tmp_path / "analysis").write_text("in the way")
    with pytest.raises(ArchiveError, match=r"cannot (create|write) .*analysis"):
        write_analysis(run, SPEC, result())
    assert read_analyses(tmp_path) == {}


def test_every_flipped_bit_in_a_result_is_noticed(run, tmp_path: Path) -> None:
    path = write_analysis(run, SPEC, result())
    whole = path.read_bytes()
    for damage in [*flips(path, 60), *cuts(path, 10)]:
        path.write_bytes(damage(bytearray(whole)))
        with pytest.raises(ArchiveError, match=r"quality\.nc is damaged or was changed"):
            read_analyses(tmp_path)
