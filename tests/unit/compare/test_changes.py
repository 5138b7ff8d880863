from __future__ import annotations

from qexp.compare.changes import (
    config_changes,
    mapping_changes,
    package_versions,
    software_changes,
)
from qexp.compare.model import Change


def test_keys_that_are_added_removed_and_changed() -> None:
    a = {"seed": 1, "circuits": {"depth": 5, "width": 2}, "keep": [1, 2], "flag": 1}
    b = {"seed": 2, "circuits": {"depth": 5, "shape": None}, "keep": [1, 2], "flag": True}
    assert config_changes(a, b) == (
        Change("seed", "changed", 1, 2),
        Change("circuits.width", "removed", 2, None),
        Change("flag", "changed", 1, True),
        Change("circuits.shape", "added", None, None),
    )
    assert config_changes(a, a) == ()
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
