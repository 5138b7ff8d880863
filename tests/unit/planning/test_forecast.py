from __future__ import annotations

from dataclasses import replace

import pytest

from qexp.core.model import Forecast, Partition, Plan, PlannedJob
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.local.engine import LocalEngine
from qexp.errors import ConfigError, PlanError
from qexp.planning import forecast as module
from qexp.planning.forecast import check_forecast
from qexp.planning.table import plan_table

HOUR = Forecast(core_s=7200.0, longest_s=100.0, largest_bytes=10**6)
PLAN = Plan((Partition(0, "main", 0, 1, 100, None, 100, 10, 2.0, "end"),), forecast=HOUR)


def test_forecasts_add_up() -> None:
    one, other = Forecast(3.0, 2.0, 10, ({"a": 1},)), Forecast(5.0, 4.0, 7, ({"b": 1},))
    assert one + other == Forecast(8.0, 4.0, 10, ({"a": 1}, {"b": 1}))
    assert (one + other).wall_s(1) == 8.0
    # A circuit is not divided.
    assert (one + other).wall_s(100) == 4.0


def test_a_simulation_that_takes_too_long_is_refused_with_the_remedy() -> None:
    with pytest.raises(PlanError) as caught:
        check_forecast(HOUR, LocalEngine(workers=2))
    assert str(caught.value) == (
        "the simulation is predicted to take 1h 0m 0s on 2 cores, more than the 30m 0s that "
        "engine.max_time allows; lower the shots or the qubits in use, or simulate fewer circuits, "
        "or raise engine.max_time (null: no bound)"
    )


@pytest.mark.parametrize(
    "engine",
    [
        LocalEngine(workers=2, max_time="1h"),
        LocalEngine(workers=2, max_time=None),
        LocalEngine(workers=4),
        IBMEngine(),
    ],
)
def test_what_is_allowed(engine: LocalEngine | IBMEngine) -> None:
    check_forecast(HOUR, engine)
    check_forecast(None, engine)


def test_a_simulation_that_needs_more_memory_than_there_is_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "memory_bytes", lambda: 3 * 10**9)
    large = Forecast(1.0, 1.0, 2 * 10**9)
    check_forecast(large, LocalEngine(workers=1))
    with pytest.raises(
        PlanError, match=r"need 4\.0 GB of memory on 2 cores, more than the 3\.0 GB"
    ):
        check_forecast(large, LocalEngine(workers=2))


@pytest.mark.parametrize("given", ["soon", 0, "-1m"])
def test_a_wrong_bound_is_refused(given: str | int) -> None:
    with pytest.raises(ConfigError, match=r"^engine\.max_time: .* is not a duration"):
        LocalEngine(max_time=given)


def test_the_plan_shows_time_and_memory() -> None:
    rows = {
        row.source: row.cells()
        for row in plan_table(PLAN, None, {}, engine=LocalEngine(workers=2)).limits
    }
    assert rows["engine.max_time"][1:3] == ("1h 0m 0s on 2 cores", "30m 0s")
    assert rows["this machine"][1] == "2.0 MB"


def test_a_sweep_is_shown_as_a_whole_and_bounded_point_by_point() -> None:
    sweep = replace(PLAN, jobs=(PlannedJob((0,), 0.0),))
    rows = {
        row.source: row for row in plan_table(sweep, None, {}, engine=LocalEngine(workers=2)).limits
    }
    assert rows["engine.max_time"].bound == "30m 0s a point"
    assert rows["engine.max_time"].is_within


def test_an_engine_without_a_bound() -> None:
    engine = LocalEngine(workers=2, max_time="1h")
    assert engine.unbounded() == LocalEngine(workers=2, max_time=None)
    check_forecast(HOUR + HOUR, engine.unbounded())
