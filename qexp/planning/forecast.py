"""The time and the memory of a simulation: shown with the plan, and bounded before it begins."""

from __future__ import annotations

import os

from qexp.core.model import Forecast
from qexp.core.protocols import Engine, SimulatingEngine
from qexp.errors import PlanError
from qexp.text import format_bytes, format_duration

_REMEDY = "lower the shots or the qubits in use, or simulate fewer circuits"


def check_forecast(forecast: Forecast | None, engine: Engine) -> None:
    """Refuse a point that is predicted to take too long, or more memory than there is.

    Raises:
        PlanError: It is.
    """
    if forecast is None or not isinstance(engine, SimulatingEngine):
        return
    cores, bound_s = engine.cores, engine.max_time_s
    if bound_s is not None and forecast.wall_s(cores) > bound_s:
        raise PlanError(
            f"the simulation is predicted to take {describe_time(forecast, cores)}, more than the "
            f"{format_duration(bound_s)} that engine.max_time allows; {_REMEDY}, or raise "
            f"engine.max_time (null: no bound)"
        )
    needed_bytes, there_bytes = forecast.largest_bytes * cores, memory_bytes()
    if there_bytes is not None and needed_bytes > there_bytes:
        raise PlanError(
            f"the simulation is predicted to need {format_bytes(needed_bytes)} of memory on "
            f"{cores} cores, more than the {format_bytes(there_bytes)} of this machine; {_REMEDY}, "
            f"or lower engine.workers"
        )


def describe_time(forecast: Forecast, cores: int) -> str:
    """Return the predicted time as text, such as `1h 20m 0s on 2 cores`."""
    return f"{format_duration(forecast.wall_s(cores))} on {cores} core{'s' if cores > 1 else ''}"


def memory_bytes() -> int | None:
    """Return the memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
