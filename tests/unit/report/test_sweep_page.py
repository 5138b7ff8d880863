from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import DataBin, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qexp.archive.digests import write_file_digest
from qexp.archive.schema import SUMMARY
from qexp.archive.writer import RunStore
from qexp.errors import ConfigError
from qexp.listing.summary import RunDetails
from qexp.report.sweep_page import SweptRun, read_sweep, swept_keys
from qexp.report.write import write_report
from tests.archives import (
    header,
    outcome,
    sampler_jobs,
    sampler_pub,
    write_batch,
    write_partition,
)
from tests.unit.report.pages import Page, assert_inert


def write_point(folder: Path, depth: object, seed: int = 1) -> Path:
    folder.mkdir(parents=True)
    store = RunStore(folder)
    overrides = ("experiment=random_sampling", f"circuits.depth={depth}", f"seed={seed}")
    store.write_header(header(run_id=folder.name, overrides=overrides, seed=seed))
    write_batch(store)
    write_partition(store, 0, 0, [sampler_pub(seed)])
    store.write_job(outcome(0, sampler_jobs([1], seed)[0]))
    return store.seal("complete", keep_parts=False)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for number, depth in enumerate((8, 2, 4)):
        write_point(tmp_path / "sweep" / f"run-{number}", depth, number)
    return tmp_path / "sweep"


def test_swept_keys_are_those_that_differ_but_not_derived_seeds(sweep: Path):
    points = read_sweep(sweep)
    assert swept_keys(points) == ("circuits.depth",)
    assert [point.value("circuits.depth") for point in points] == ["8", "2", "4"]
    assert all(point.summary.jobs_done == point.summary.jobs == 1 for point in points)


def test_what_a_sweep_adds_to_its_points_is_not_swept():
    points = [
        [f"primitive.shots={k}", f"simulation_seed={k}", f"sweep.circuits_by=[{k}]"]
        for k in range(2)
    ]
    runs = [SweptRun(Path(), RunDetails("complete", "", overrides=each)) for each in points]
    assert swept_keys(runs) == ("primitive.shots",)


def test_seeds_are_swept_if_nothing_else_differs():
    points = [
        SweptRun(Path(), RunDetails("complete", str(k), overrides=[f"seed={k}"])) for k in range(2)
    ]
    assert swept_keys(points) == ("seed",)


def test_the_page_compares_the_runs_and_links_to_their_own_pages(sweep: Path):
    write_report(sweep / "run-1")
    page = Page(write_report(sweep).read_text(encoding="utf-8"))
    assert_inert(page)
    assert "circuits.depth over 2, 4, 8" in page.text
    assert [v for t, n, v in page.attributes if (t, n) == ("a", "href")] == ["./run-1/report.html"]
    labels = {v for t, n, v in page.attributes if (t, n) == ("svg", "aria-label")}
    assert {"Fidelity by circuits.depth", "Usage by circuits.depth"} <= labels


def test_links_are_relative_to_where_the_page_goes_and_percent_encoded(tmp_path: Path):
    write_point(tmp_path / "javascript:alert(1)" / "a b", 2)
    write_report(tmp_path / "javascript:alert(1)" / "a b")
    (tmp_path / "pages").mkdir()
    path = write_report(tmp_path / "javascript:alert(1)", tmp_path / "pages" / "sweep.html")
    page = Page(path.read_text(encoding="utf-8"))
    hrefs = [v for t, n, v in page.attributes if (t, n) == ("a", "href")]
    assert hrefs == ["./../javascript%3Aalert%281%29/a%20b/report.html"]


def test_damaged_and_unfinished_runs_are_listed_and_stop_nothing(sweep: Path):
    archive = sweep / "run-0" / "run.h5"
    archive.write_bytes(archive.read_bytes()[:2000])
    (sweep / "run-9").mkdir()
    (sweep / "run-9" / "journal.jsonl").write_text("")
    text = Page(write_report(sweep).read_text(encoding="utf-8")).text
    assert "2 of 4 runs are not complete." in text
    assert "run-0 cannot be read" in text
    assert "run-9 cannot be read: it is not sealed" in text
    assert str(sweep) not in text


def test_copies_of_an_archive_inside_a_runs_folder_are_no_runs(sweep: Path):
    archive = sweep / "run-0" / "run.h5"
    for place in (sweep / "run-0" / "run-rocrate", sweep / ".trash"):
        place.mkdir()
        (place / "run.h5").write_bytes(archive.read_bytes())
    (sweep / "run-8" / "parts").mkdir(parents=True)
    points = read_sweep(sweep)
    assert [point.folder.name for point in points] == ["run-0", "run-1", "run-2", "run-8"]
    assert [point.summary.status for point in points] == ["complete"] * 3 + ["unreadable"]
    assert "1 of 4 runs is not complete." in Page(write_report(sweep).read_text("utf-8")).text


def test_a_folder_that_may_not_be_read_is_listed(sweep: Path, monkeypatch: pytest.MonkeyPatch):
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent == sweep / "run-1":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    point = read_sweep(sweep)[1]
    summary = point.summary
    assert (summary.status, summary.problem) == ("unreadable", "no permission to read its folder")


def test_equal_numbers_written_in_two_ways_are_one_place(tmp_path: Path):
    for number, depth in enumerate(("0.5", "0.50")):
        write_point(tmp_path / f"run-{number}", depth, number)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "circuits.depth over 0.5, 0.50" in page.text


def write_values(folder: Path, depth: int, evs: list[float], stds: list[float]) -> Path:
    pub = EstimatorPub.coerce((QuantumCircuit(1), ["Z"] * len(evs), None, 0.01))
    data = DataBin(shape=(len(evs),), evs=np.array(evs), stds=np.array(stds))
    store = RunStore(folder)
    store.write_header(header(run_id=folder.name, overrides=(f"circuits.depth={depth}",)))
    write_batch(store)
    write_partition(store, 0, 0, [pub])
    store.write_job(outcome(0, [PubResult(data, {})]))
    return store.seal("complete", keep_parts=False)


NOT_FINITE = re.compile(r'="[^"]*\b(nan|inf)|not a number|\u221e')


def test_expectation_values_that_are_not_finite_are_left_out_and_counted(tmp_path: Path):
    nan, inf = float("nan"), float("inf")
    write_values(tmp_path / "a", 1, [0.5, nan, -inf, 0.25, 1e308], [inf, 0.1, 0.1, nan, 0.1])
    write_values(tmp_path / "b", 2, [nan], [nan])
    write_values(tmp_path / "c", 3, [0.5, nan], [0.1, 0.1])
    for run, start in (
        ("a", "2 expectation values. 3 expectation values that are not finite are left out."),
        ("c", "1 expectation value. 1 expectation value that is not finite is left out."),
    ):
        written = write_report(tmp_path / run).read_text(encoding="utf-8")
        assert not NOT_FINITE.search(written)
        assert start in Page(written).text
    text = Page(write_report(tmp_path / "b").read_text(encoding="utf-8")).text
    assert "none has a result that can be shown. 1 expectation value that is not finite" in text
    written = write_report(tmp_path).read_text(encoding="utf-8")
    assert not NOT_FINITE.search(written)
    assert "rings are exact values. 5 expectation values that are not" in Page(written).text


def test_times_that_are_not_finite_count_as_unknown(sweep: Path):
    path = sweep / "run-1" / "run.h5"
    with h5py.File(path, "r+") as file:
        file["partitions/predicted_qpu_s"][...] = file["jobs/predicted_qpu_s"][...] = float("nan")
        file["jobs/usage_s"][...] = float("inf")
        del file.attrs[SUMMARY]
    write_file_digest(path)
    for place in (path.parent, sweep):
        written = write_report(place).read_text(encoding="utf-8")
        assert not NOT_FINITE.search(written)
        assert "predicted for a QPU: not known" in Page(written).text


def test_values_that_are_no_numbers_have_an_axis_too(tmp_path: Path):
    for number, name in enumerate(("sabre", "<b>trivial</b>")):
        write_point(tmp_path / f"run-{number}", name, number)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert_inert(page)
    assert "<b>trivial<…" in page.text


def test_a_folder_without_runs_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no run"):
        read_sweep(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        read_sweep(tmp_path / "nowhere")
