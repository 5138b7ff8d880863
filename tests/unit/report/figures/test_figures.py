from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qexp.report.figures.along import swept_axis
from qexp.report.figures.coupling import Device, coupling_map
from qexp.report.figures.histogram import MAX_OUTCOMES, fidelity_distribution, outcome_histogram
from qexp.report.figures.quality import Mark, quality_by
from qexp.report.figures.timeline import Bar, Stretch, merged, time_line
from qexp.report.figures.usage import Usage, usage_of_jobs
from qexp.report.figures.values import Value, values_against_exact, values_along


def rectangles(svg: str, name: str) -> list[tuple[float, float]]:
    """Width and height of those with a class."""
    found = re.findall(rf'<rect class="{name}" x="\S+" y="\S+" width="(\S+)" height="(\S+)"', svg)
    return [(float(width), float(height)) for width, height in found]


def test_bars_are_as_high_as_the_probabilities():
    svg = outcome_histogram({"00": 75, "11": 25}, {"00": 0.5, "11": 0.5}, "h").__html__()
    bars = dict(zip(["00", "01", "10", "11"], rectangles(svg, "measured"), strict=True))
    outlines = rectangles(svg, "ideal")
    assert abs(bars["00"][1] / bars["11"][1] - 3) < 0.05
    assert bars["01"][1] == 0
    assert abs(outlines[0][1] - outlines[3][1]) < 0.2
    assert "<title>00: measured 75.0 %, ideal 50.0 %</title>" in svg


def test_of_many_outcomes_the_likely_ones_are_shown():
    counts = {f"{k:016b}": k + 1 for k in range(200)}
    svg = outcome_histogram(counts, None, "h").__html__()
    assert len(rectangles(svg, "measured")) == MAX_OUTCOMES
    assert f"({200 - MAX_OUTCOMES} rarer ones not shown)" in svg
    assert ">0x00c7</text>" in svg


def test_a_distribution_has_its_median():
    svg = fidelity_distribution([0.2, 0.4, 0.9], "d", "fidelity").__html__()
    assert "median 0.400" in svg
    assert "median 0.500" in fidelity_distribution([0.5] * 4, "d", "fidelity").__html__()


def test_medians_fall_where_the_points_do():
    marks = [Mark(x, 1 - 0.01 * x, f"{x}") for x in range(60)]
    svg = quality_by(marks, "depth", "fidelity", "q").__html__()
    heights = [float(y) for y in re.findall(r'class="trend-dot" cx="\S+" cy="(\S+)"', svg)]
    assert len(heights) > 5
    assert heights == sorted(heights)
    assert svg.count('class="point"') == 60
    assert "trend" not in quality_by(marks[:5], "depth", "fidelity", "q").__html__()


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), max_size=20))
def test_merged_spans_are_apart_and_cover_the_same(spans: list[tuple[float, float]]):
    given_spans = [(start, start + length) for start, length in spans]
    found = merged(given_spans)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert all(any(f[0] <= s and e <= f[1] for f in found) for s, e in given_spans)


def test_a_failed_job_is_marked_and_spans_are_drawn_once():
    bars = [
        Bar("1", "charged 2 s", "fine", 0, 1, 3, ((1.0, 3.0),), False),
        Bar("2", "error: transient", "bad", 0, None, 2, (), True),
    ]
    svg = time_line(bars, [Stretch("batch 1", 0, 3)], "noon", "t").__html__()
    assert len(rectangles(svg, "span")) == len(rectangles(svg, "running")) == 1
    assert len(rectangles(svg, "queued-failed")) == 1
    assert "seconds since noon" in svg
    assert "batch 1" in svg


def test_very_many_jobs_are_drawn_in_bounded_space():
    bars = [Bar(str(k), "", "", k, k + 1, k + 2, (), False) for k in range(3000)]
    assert time_line(bars, [], "noon", "t").height < 1100


def test_usage_spans_orders_of_magnitude_on_a_logarithmic_axis():
    svg = usage_of_jobs([Usage("a", 100.0, 0.1), Usage("b", 90.0, None)], "u").__html__()
    assert ">0.1</text>" in svg
    assert ">10</text>" in svg
    assert svg.count('class="actual"') == 1
    assert svg.count('class="predicted"') == 2


def test_times_that_are_not_finite_are_not_drawn():
    nan, inf = float("nan"), float("inf")
    jobs = [Usage("a", nan, 2.0), Usage("b", 3.0, inf), Usage("c", inf, None), Usage("d", 1e305, 4)]
    svg = usage_of_jobs(jobs, "u").__html__()
    assert (svg.count('class="actual"'), svg.count('class="predicted"')) == (2, 1)
    assert "a: none predicted, charged 2.00 s" in svg
    assert not re.search(r'="[^"]*(nan|inf)', svg)


def test_a_value_swept_over_once_has_a_tick():
    assert swept_axis("t", [0.5, 0.5], None).marked(5) == [(0.5, "0.5")]
    assert [t for _, t in swept_axis("t", [1, 2, 4], None).marked(5)] == ["1", "2", "4"]


def test_values_have_error_bars_and_exact_values():
    values = [Value(0, 0.5, 0.125, 0.75, "a"), Value(1, -0.5, float("nan"), None, "b")]
    svg = values_along(values, "PUB", "v").__html__()
    assert (svg.count('class="value"'), svg.count('class="exact"')) == (2, 1)
    assert "a: 0.5000 ± 0.12, exact 0.7500 (−2.0 standard errors off)" in svg
    assert values_against_exact(values[:1], "v").__html__().count('class="diagonal"') == 1


def test_the_coupling_map_marks_what_is_used_and_what_is_out_of_order():
    device = Device(
        3, ((0, 1), (1, 2)), {0: 0.01, 1: 0.1, 2: 1.0}, {(0, 1): 0.02, (1, 2): 1.0}, {0: "T1 10 µs"}
    )
    svg = coupling_map(device, {0, 1}, {(0, 1): 7}, "m").__html__()
    assert svg.count('class="used-ring"') == 2
    assert 'class="qubit e0"' in svg
    assert 'class="qubit e8"' in svg
    assert 'class="qubit out"' in svg
    assert 'class="pair out"' in svg
    assert "0–1, gate error 2.00 %, used by 7 gates" in svg
    assert "qubit 0, readout error 1.00 %, T1 10 µs" in svg
