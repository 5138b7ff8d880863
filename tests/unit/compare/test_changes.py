from __future__ import annotations

from typing import Any

import pytest

from qexp.compare.changes import (
    compare_calibrations,
    mapping_changes,
    package_versions,
    software_changes,
)
from qexp.compare.model import Change, Moved
from qexp.core.flatten import flatten


def test_keys_that_are_added_removed_and_changed() -> None:
    a = {"seed": 1, "circuits": {"depth": 5, "width": 2}, "keep": [1, 2], "flag": 1}
    b = {"seed": 2, "circuits": {"depth": 5, "shape": None}, "keep": [1, 2], "flag": True}
    assert mapping_changes(flatten(a), flatten(b)) == (
        Change("seed", "changed", 1, 2),
        Change("circuits.width", "removed", 2, None),
        Change("flag", "changed", 1, True),
        Change("circuits.shape", "added", None, None),
    )
    assert mapping_changes(a, a) == ()
    assert mapping_changes({"a": 5}, {"a": 5.0}) == ()


def test_packages_by_their_normalised_names() -> None:
    assert package_versions(["Ruamel.YAML==1.0", "a_b==2"]) == {"a-b": "2", "ruamel-yaml": "1.0"}
    a = {"python": "3.11.7", "distributions": ["numpy==2.0", "Qiskit_Aer==0.17", "gone==1"]}
    b = {"python": "3.12.1", "distributions": ["numpy==2.1", "qiskit-aer==0.17", "new==1"]}
    assert software_changes(a, b) == (
        Change("python", "changed", "3.11.7", "3.12.1"),
        Change("gone", "removed", "1", None),
        Change("numpy", "changed", "2.0", "2.1"),
        Change("new", "added", None, "1"),
    )


def test_uncommitted_changes_are_shown_by_their_size() -> None:
    (change,) = software_changes({"git_diff": "- a\n+ b\n"}, {"git_diff": ""})
    assert change == Change("git_diff", "changed", "2 lines", "none")


def properties(*, t1_us: float = 100.0, readout: float = 0.01, cx: float = 0.005) -> dict[str, Any]:
    def qubit(t1: float) -> list[dict[str, Any]]:
        return [
            {"name": "T1", "unit": "us", "value": t1},
            {"name": "T2", "unit": "ms", "value": 0.05},
            {"name": "readout_error", "unit": "", "value": readout},
        ]

    error = {"name": "gate_error", "unit": "", "value": cx}
    length = {"name": "gate_length", "unit": "ns", "value": 300}
    return {
        "last_update_date": "2026-01-01",
        "qubits": [qubit(t1_us), qubit(80.0)],
        "gates": [
            {"gate": "cx", "qubits": [0, 1], "parameters": [length, error]},
            {"gate": "reset", "qubits": [0], "parameters": [length]},
        ],
    }


def test_values_that_changed_most_come_first_in_seconds() -> None:
    found = compare_calibrations(
        properties(), properties(t1_us=50.0, readout=0.011, cx=0.02), same_device=True
    )
    assert [(m.quantity, m.where) for m in found.moved] == [
        ("gate error", "cx 0-1"),
        ("T1", "q0"),
        ("readout error", "q0"),
        ("readout error", "q1"),
    ]
    gate, t1, *_ = found.moved
    assert (gate.ratio, t1.ratio) == (pytest.approx(4), pytest.approx(0.5))
    assert (t1.a, t1.b, t1.unit) == (pytest.approx(100e-6), pytest.approx(50e-6), "s")
    by_name = {q.quantity: q for q in found.quantities}
    assert by_name["T2"].median_a == pytest.approx(50e-6)
    assert (by_name["T2"].num_changed, by_name["readout error"].num_changed) == (0, 2)
    assert not found.is_same


def test_the_same_calibration() -> None:
    found = compare_calibrations(properties(), properties(), same_device=True)
    assert found.is_same
    assert found.moved == ()


def test_values_of_other_gates_make_another_calibration() -> None:
    a, b = properties(), properties()
    b["gates"][0]["qubits"] = [1, 2]
    found = compare_calibrations(a, b, same_device=True)
    assert found.moved == ()
    assert not found.is_same
    (gates,) = (q for q in found.quantities if q.quantity == "gate error")
    assert (gates.num_a, gates.num_b, gates.num_common) == (1, 1, 0)


def test_qubits_of_other_devices_are_not_compared() -> None:
    found = compare_calibrations(properties(), properties(t1_us=50.0), same_device=False)
    assert found.moved == ()
    assert not found.is_same
    assert {q.quantity for q in found.quantities} == {"T1", "T2", "readout error", "gate error"}


def test_runs_without_calibration() -> None:
    assert compare_calibrations(None, None, same_device=True).is_same
    found = compare_calibrations(properties(), None, same_device=True)
    assert (found.known_a, found.known_b, found.is_same) == (True, False, False)
    # Whatever else a backend calls its properties is no calibration.
    assert not compare_calibrations({"qubits": "none", "gates": [1]}, {}, same_device=True).known_a


def test_a_value_that_was_zero_has_no_ratio_and_comes_first() -> None:
    found = compare_calibrations(properties(readout=0.0), properties(cx=0.1), same_device=True)
    assert [m.quantity for m in found.moved] == ["readout error", "readout error", "gate error"]
    assert Moved("T1", "q0", "s", 0.0, 1.0).ratio != Moved("T1", "q0", "s", 0.0, 1.0).ratio
