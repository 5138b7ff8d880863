from __future__ import annotations

import re

from qexp.report.execution import usage_chart


def test_usage_spans_orders_of_magnitude_on_a_logarithmic_axis():
    svg = usage_chart("u", [(100.0, 0.1), (90.0, None)]).__html__()
    assert ">0.1</text>" in svg
    assert ">10</text>" in svg
    assert svg.count('class="dot usage"') == 1
    assert svg.count('class="ring usage"') == 2


def test_times_that_are_not_finite_are_not_drawn():
    nan, inf = float("nan"), float("inf")
    svg = usage_chart("u", [(nan, 2.0), (3.0, inf), (inf, None), (1e305, 4)]).__html__()
    assert (svg.count('class="dot usage"'), svg.count('class="ring usage"')) == (2, 1)
    assert "job 1: none predicted, 2.00 s charged" in svg
    assert not re.search(r'="[^"]*(nan|inf)', svg)
