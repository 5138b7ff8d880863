from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from qiskit_ibm_runtime.exceptions import IBMApiError

from qexp.engines.ibm.collect import Calibrations


class Properties:
    def __init__(self, date: datetime) -> None:
        self.date = date

    def to_dict(self) -> dict[str, Any]:
        return {"backend_name": "ibm_x", "last_update_date": self.date, "qubits": [[1.5]]}


class Backend:
    """Calibrated at 08:00 and 10:00."""

    name = "ibm_x"

    def __init__(self) -> None:
        self.asked: list[datetime] = []
        self.fails = False

    def properties(self, datetime: datetime) -> Properties | None:
        self.asked.append(datetime)
        if self.fails:
            raise IBMApiError("retired")
        dates = [at(8), at(10)]
        before = [date for date in dates if date <= datetime]
        return Properties(before[-1]) if before else None


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 5, 1, hour, minute, tzinfo=UTC)


def test_a_calibration_in_hand_is_not_requested_again() -> None:
    backend = Backend()
    calibrations = Calibrations(backend)  # type: ignore[arg-type]
    late = calibrations.at("2026-05-01T09:30:00Z")
    early = calibrations.at("2026-05-01T08:10:00Z")
    assert late is not None
    assert late["last_update_date"] == "2026-05-01T08:00:00+00:00"
    assert early is late
    assert backend.asked == [at(9, 30)]


def test_a_new_calibration_is_requested() -> None:
    backend = Backend()
    calibrations = Calibrations(backend)  # type: ignore[arg-type]
    dates = [
        (calibrations.at(moment) or {})["last_update_date"]
        for moment in ("2026-05-01T09:00:00Z", "2026-05-01T11:00:00Z", "2026-05-01T08:30:00")
    ]
    assert dates == [at(8).isoformat(), at(10).isoformat(), at(8).isoformat()]
    assert backend.asked == [at(9), at(11)]


def test_none_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    backend = Backend()
    calibrations = Calibrations(backend)  # type: ignore[arg-type]
    assert calibrations.at(None) is None
    assert calibrations.at("2026-05-01T07:00:00Z") is None
    assert calibrations.at("at noon") is None
    backend.fails = True
    assert calibrations.at("2026-05-01T09:00:00Z") is None
    assert "retired" in caplog.text


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_calibration_without_a_sound_date_is_kept_for_its_own_job_only(date: str | None) -> None:
    class Undated(Properties):
        def to_dict(self) -> dict[str, Any]:
            return {"backend_name": "ibm_x"} | ({"last_update_date": date} if date else {})

    class Careless(Backend):
        def properties(self, datetime: datetime) -> Properties:
            self.asked.append(datetime)
            return Undated(datetime)

    backend = Careless()
    calibrations = Calibrations(backend)  # type: ignore[arg-type]
    for _ in range(2):
        found = calibrations.at("2026-05-01T09:00:00Z")
        assert found is not None
        assert found["backend_name"] == "ibm_x"
    assert len(backend.asked) == 2


def test_a_damaged_calibration_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    class Damaged(Backend):
        def properties(self, datetime: datetime) -> Properties:
            raise KeyError("qubits")

    assert Calibrations(Damaged()).at("2026-05-01T09:00:00Z") is None  # type: ignore[arg-type]
    assert "the calibration of ibm_x cannot be read: KeyError" in caplog.text
