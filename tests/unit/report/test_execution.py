from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qexp.report.execution import Bar, draw_time_line, merge_periods, usage_chart


def test_usage_spans_orders_of_magnitude_on_a_logarithmic_axis():
    svg = usage_chart("u", [(100.0, 0.1), (90.0, None)]).to_html(str)
    assert ">0.1</text>" in svg
    assert ">10</text>" in svg
    assert svg.count('class="dot usage"') == 1
    assert svg.count('class="ring usage"') == 2


def test_times_that_are_not_finite_are_not_drawn():
    nan, inf = float("nan"), float("inf")
    svg = usage_chart("u", [(nan, 2.0), (3.0, inf), (inf, None), (1e305, 4)]).to_html(str)
    assert (svg.count('class="dot usage"'), svg.count('class="ring usage"')) == (2, 1)
    assert "job 1: none predicted, 2.00 s charged" in svg
    assert not re.search(r'="[^"]*(nan|inf)', svg)


def count(svg: str, name: str) -> int:
    return len(re.findall(rf'<rect class="{name}"', svg))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), max_size=20))
def test_merged_spans_are_apart_and_cover_the_same(spans: list[tuple[float, float]]):
    given_spans = [(start, start + length) for start, length in spans]
    found = merge_periods(given_spans)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert all(any(f[0] <= s and e <= f[1] for f in found) for s, e in given_spans)


def test_a_failed_job_is_marked_and_spans_are_drawn_once():
    bars = [
        Bar("1", "charged 2 s", "fine", (0, 1), (1, 3), ((1.0, 3.0),), False),
        Bar("2", "error: transient", "bad", (0, 2), None, (), True),
    ]
    svg = draw_time_line("t", "noon", bars, [(0, 3)]).to_html(str)
    assert count(svg, "span") == count(svg, "running") == 1
    assert count(svg, "queued-failed") == 1
    assert "seconds since noon" in svg
    assert "batch 1" in svg


def test_very_many_jobs_are_drawn_in_bounded_space():
    bars = [Bar(str(k), "", "", (k, k + 1), (k + 1, k + 2), (), False) for k in range(3000)]
    assert draw_time_line("t", "noon", bars, []).height < 1100
