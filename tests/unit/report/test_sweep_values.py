"""Figures of a sweep's dataset: what is drawn, how often, and what is said in words."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from qexp.analysis.decay import decay
from qexp.report.figures.svg import svg_file
from qexp.report.sweep_values import SweepFigures

VALUES = ["fit_p", "fit_p_std", "fit_q"]


def dataset(**keys: list[object]) -> xr.Dataset:
    shape = tuple(map(len, keys.values()))
    p = 0.5 + 0.4 * 0.9 ** np.arange(np.prod(shape)).reshape(shape)
    return xr.Dataset(
        {
            "status": (tuple(keys), np.full(shape, "complete", object)),
            "fit_p": (tuple(keys), p, {"long_name": "decay", "units": "1"}),
            "fit_p_std": (tuple(keys), np.full(shape, 0.01)),
            "fit_q": (tuple(keys), np.full(shape, 3.0)),
        },
        {key: np.array(values) for key, values in keys.items()},
    )


def drawn(section: dict[str, list]) -> list[str]:
    return [svg_file(figure.drawing, str) for figure in section["figures"]]


def test_a_value_is_drawn_over_each_key_with_lines_by_the_other_and_as_a_map() -> None:
    figures = SweepFigures(dataset(depth=[1, 2, 4, 8], shots=[100, 200, 400]), VALUES)
    sections = list(figures.sections())
    assert [section["title"] for section in sections] == [
        "Analyses by depth",
        "Analyses by shots",
        "Analyses by depth and shots",
    ]
    over_depth, over_shots, heat = ("".join(drawn(section)) for section in sections)
    assert over_depth.count('class="join s') == 3
    assert over_shots.count('class="join s') == 4
    for texts in (over_depth, over_shots):
        assert texts.count("± 0.010</title>") == 12
    assert ">shots 400</text>" in over_depth
    assert "<title>depth 2, shots 400: 0.7362 ± 0.010</title>" in over_depth
    assert heat.count("<rect") == 12 + 9
    assert "<title>depth 2, shots 400: 0.736</title>" in heat
    assert figures.constant == ["fit_q 3.000"]


def test_points_without_a_value_leave_a_gap_and_an_empty_cell() -> None:
    data = dataset(depth=[1, 2, 4], shots=[100, 200, 400])
    data.fit_p[1, 2] = np.nan
    sections = list(SweepFigures(data, VALUES).sections())
    assert "".join(drawn(sections[0])).count("<title>") == 8
    assert "depth 2, shots 400: no value" in "".join(drawn(sections[2]))
    data.fit_p[:] = np.nan
    assert list(SweepFigures(data, VALUES).sections()) == []


def test_a_long_name_is_cut_beside_the_axis_and_whole_in_the_caption() -> None:
    data = dataset(depth=[1, 2, 4])
    data.fit_p.attrs |= {"long_name": "root mean square of all the differences", "units": "s"}
    (section,) = SweepFigures(data, VALUES).sections()
    assert ">root mean square of all t…</text>" in drawn(section)[0]
    assert section["figures"][0].caption == "Root mean square of all the differences (s)."


def test_a_third_key_makes_small_multiples() -> None:
    data = dataset(depth=[1, 2], size=[3, 4, 5], twirl=[False, True])
    by_depth, by_size, by_twirl = SweepFigures(data, VALUES).sections()
    assert [figure.caption for figure in by_depth["figures"]] == ["twirl false", "twirl true"]
    assert [figure.caption for figure in by_size["figures"]] == ["twirl false", "twirl true"]
    assert by_twirl["title"] == "Analyses by twirl"
    assert ">true</text>" in drawn(by_twirl)[0]


def test_many_lines_are_thinned_and_counted() -> None:
    data = dataset(depth=[1, 2], size=list(range(10)))
    section = next(SweepFigures(data, VALUES).sections())
    assert section["figures"][0].caption == "4 lines not drawn."
    assert drawn(section)[0].count('class="join s') == 6


def test_replicates_are_averaged_with_the_error_of_their_scatter() -> None:
    data = dataset(depth=[1, 2], seed=[1, 2, 3])
    (section,) = SweepFigures(data, VALUES).sections()
    (svg,) = drawn(section)
    p = data.fit_p.values[0]
    error = p.std(ddof=1) / np.sqrt(3)
    assert svg.count('class="dot s0"') == 2
    assert f"<title>depth 1: {p.mean():.4f} ± {error:.3f}</title>" in svg


def test_the_fit_of_an_analysis_is_drawn_through_its_points() -> None:
    data = dataset(depth=[1, 2, 4, 8, 16], shots=[100, 200])
    figures = SweepFigures(data, VALUES)
    (figure,) = figures.of_result(decay(data, value="fit_p", over="depth"))
    svg = svg_file(figure.drawing, str)
    assert (svg.count('class="curve s'), svg.count('class="join s')) == (2, 0)
    assert figure.caption == "Curves: fit_p, fitted."


@pytest.mark.parametrize("attrs", [{}, {"value": "fit_x", "over": "depth"}, {"value": "fit_p"}])
def test_what_is_no_curve_is_not_drawn(attrs: dict[str, str]) -> None:
    figures = SweepFigures(dataset(depth=[1, 2, 4]), VALUES)
    assert figures.of_result(xr.Dataset({"fit": ("x", [1.0], attrs)}, {"x": [1.0]})) == []


def test_a_file_has_its_colours_and_no_variables() -> None:
    section = next(SweepFigures(dataset(depth=[1, 2], shots=[1, 2]), VALUES).sections())
    (svg,) = drawn(section)
    assert svg.startswith("<svg ")
    assert 'xmlns="http://www.w3.org/2000/svg"' in svg
    assert ".dot.s1 { fill: #c84e00; }" in svg
    assert "var(" not in svg
    assert "@media" not in svg
