"""A page of a sweep with `sweep.json`: links, reasons, differences, fits and files."""

from __future__ import annotations

import re
from pathlib import Path

import xarray as xr

import qexp
from qexp.core.spec import AnalysisSpec
from qexp.report.write import write_report
from qexp.sweeps.analyses import evaluate_sweep
from tests.sweeps import declare
from tests.unit.report.pages import Page, assert_inert
from tests.unit.sweeps.conftest import GRID, make_grid


def crossing(sweep: xr.Dataset) -> xr.Dataset:
    x, y = [0.5, 1.0], [[0.6, 1.1], [1.2, 1.9]]
    lines = ["twirled false", "twirled true"]
    attrs = {"value": "fit_decay", "over": "field", "long_name": "my model"}
    return xr.Dataset(
        {"fit": (("line", "x"), y, attrs)}, {"line": lines, "x": x}, {"summary": "they cross <b>"}
    )


def analysed(folder: Path) -> Path:
    make_grid(folder)
    with qexp.open_sweep(folder) as sweep:
        evaluate_sweep(AnalysisSpec("mine", "mine.crossing", {}, crossing), sweep)
    return folder


def test_values_fits_and_differences_are_shown(tmp_path: Path) -> None:
    html = write_report(analysed(tmp_path / "sweep")).read_text(encoding="utf-8")
    page = Page(html)
    assert_inert(page)
    for text in (
        "Analyses by field",
        "Analyses by twirled",
        "They cross <b>",
        "Curves: my model.",
        "The same in all points: fit_number 3.000",
        "Differences of pairs",
        "twirled false -> true",
    ):
        assert text in page.text, text
    assert html.count('class="curve s') == 2
    assert "made from other data" not in page.text


def test_every_point_has_a_page_that_is_linked_and_not_written_twice(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "sweep")
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    hrefs = [v for t, n, v in page.attributes if (t, n) == ("a", "href")]
    assert hrefs == [f"./{k:04d}/report.html" for k in range(4)]
    first = (folder / "0000" / "report.html").stat()
    write_report(folder)
    assert (folder / "0000" / "report.html").stat().st_mtime_ns == first.st_mtime_ns


def test_points_without_results_are_named_with_their_reasons(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "sweep")
    declare(folder, [*GRID, {"twirled": True, "field": 2.0}])
    archive = folder / "0001" / "run.h5"
    archive.write_bytes(archive.read_bytes()[:2000])
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "2 of 5 runs are not complete." in text
    assert "0001 cannot be read" in text
    assert "0004 cannot be read: it is not sealed" in text
    assert str(folder) not in text
    assert "made from other data than the archive holds now" in text


def test_figures_are_files_too(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "sweep")
    write_report(folder, tmp_path / "page.html", figures=True)
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == [
        "fit-decay-by-field-2.svg",
        "fit-decay-by-field.svg",
        "fit-decay-by-twirled.svg",
    ]
    for name in names:
        svg = (tmp_path / "figures" / name).read_text(encoding="utf-8")
        assert re.match(r"<svg [^>]*xmlns=", svg)


def test_a_damaged_analysis_is_said_to_be_and_stops_nothing(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "sweep")
    (folder / "analysis" / "mine.nc").write_bytes(b"nothing")
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "mine.nc" in text
    assert "Analyses by field" in text
