from __future__ import annotations

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from qexp.report.figures.plot import Axis, Plot, round_ticks

REAL = st.floats(-1e6, 1e6)


@given(REAL, REAL, st.integers(1, 9))
def test_round_ticks_are_within_and_about_as_many_as_wanted(low: float, high: float, count: int):
    assume(high - low > 1e-6 * max(abs(low), abs(high), 1e-3))
    ticks = round_ticks(low, high, count)
    assert len(ticks) <= count + 1
    slack = 1e-6 * (high - low)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert ticks == sorted(ticks)


@given(st.lists(REAL, min_size=1, max_size=20))
def test_an_axis_around_values_holds_all_of_them(values: list[float]):
    axis = Axis.around("x", [*values, math.nan])
    assert all(-1e-9 <= axis.share(value) <= 1 + 1e-9 for value in values)
    assert axis.high > axis.low


def test_a_plot_puts_low_values_left_and_at_the_bottom():
    plot = Plot("p", Axis("x", 0, 10), Axis("y (s)", 0.1, 100, is_log=True))
    assert plot.x(0) == plot.left < plot.x(10) == plot.right < plot.drawing.width
    assert plot.y(100) == plot.top < plot.y(0.1) == plot.base < plot.drawing.height
    assert math.isclose(plot.y(1) - plot.y(10), plot.y(10) - plot.y(100))
    shown = plot.drawing.to_html(str)
    assert ">y (s)</text>" in shown
    assert ">10</text>" in shown


def test_a_value_swept_over_once_has_a_tick():
    assert Axis.of_swept_key("t", [0.5, 0.5], None).marked(5) == [(0.5, "0.5")]
    assert [t for _, t in Axis.of_swept_key("t", [1, 2, 4], None).marked(5)] == ["1", "2", "4"]
