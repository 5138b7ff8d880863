from __future__ import annotations

import re

from qexp.report.figures.charts import (
    MAX_OUTCOMES,
    Spot,
    distribution_chart,
    draw_spots,
    draw_trend,
    outcome_chart,
)
from qexp.report.figures.plot import Axis, Plot


def plot() -> Plot:
    return Plot("p", Axis("x", 0, 60), Axis("y", -1, 1))


def rectangles(svg: str, name: str) -> list[tuple[float, float]]:
    """Width and height of those with a class."""
    found = re.findall(rf'<rect class="{name}" x="\S+" y="\S+" width="(\S+)" height="(\S+)"', svg)
    return [(float(width), float(height)) for width, height in found]


def test_bars_are_as_high_as_the_probabilities():
    svg = outcome_chart("h", {"00": 75, "11": 25}, {"00": 0.5, "11": 0.5}).to_html(str)
    bars = dict(zip(["00", "01", "10", "11"], rectangles(svg, "measured"), strict=True))
    outlines = rectangles(svg, "ideal")
    assert abs(bars["00"][1] / bars["11"][1] - 3) < 0.05
    assert bars["01"][1] == 0
    assert abs(outlines[0][1] - outlines[3][1]) < 0.2
    assert "<title>00: measured 75.0 %, ideal 50.0 %</title>" in svg


def test_of_many_outcomes_the_likely_ones_are_shown():
    counts = {f"{k:016b}": k + 1 for k in range(200)}
    svg = outcome_chart("h", counts, None).to_html(str)
    assert len(rectangles(svg, "measured")) == MAX_OUTCOMES
    assert f"({200 - MAX_OUTCOMES} rarer ones not shown)" in svg
    assert ">0x00c7</text>" in svg


def test_a_distribution_has_its_median():
    svg = distribution_chart("d", "fidelity", [0.2, 0.4, 0.9]).to_html(str)
    assert "median 0.400" in svg
    assert "median 0.500" in distribution_chart("d", "fidelity", [0.5] * 4).to_html(str)


def test_medians_fall_where_the_points_do():
    spots = [Spot(x, 1 - 0.01 * x, f"{x}") for x in range(60)]
    many, few = plot(), plot()
    draw_spots(many, [spots], style="point")
    draw_trend(many, spots)
    svg = many.drawing.to_html(str)
    heights = [float(y) for y in re.findall(r'class="trend-dot" cx="\S+" cy="(\S+)"', svg)]
    assert len(heights) > 5
    assert heights == sorted(heights)
    assert svg.count('class="dot point"') == 60
    draw_trend(few, spots[:5])
    assert "trend" not in few.drawing.to_html(str)


def test_values_have_error_bars_and_references():
    spots = [Spot(0, 0.5, "a", (0.375, 0.625), 0.75), Spot(1, -0.5, "b")]
    svg = draw_spots(plot(), [spots], style="value", join="references").to_html(str)
    assert (svg.count('class="dot value"'), svg.count('class="ring value"')) == (2, 1)
    assert svg.count('class="error value"') == 1
    assert svg.count("<title>a</title>") == 2


def test_lines_join_values_references_or_pairs():
    spots = [
        Spot(0, 0.5, "a", None, 0.75),
        Spot(1, -0.5, "b", None, 0.0),
        Spot(2, None, "c", None, 1),
    ]
    for join, count in (("values", 1), ("references", 1), ("pairs", 2), ("", 0)):
        svg = draw_spots(plot(), [spots], join=join).to_html(str)
        assert svg.count('class="join s0"') == count
    series = draw_spots(plot(), [spots, spots], join="values").to_html(str)
    assert series.count('class="join s1"') == 1
