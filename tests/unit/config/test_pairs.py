from __future__ import annotations

from itertools import product

import pytest

from qexp.config.pairs import SweptPoint, circuit_keys, with_seeds


def points(circuits_of, **swept: tuple[int, ...]) -> list[SweptPoint]:
    """All combinations of values of keys; `circuits_of` makes the circuits from a combination."""
    made = []
    for values in product(*swept.values()):
        chosen = dict(zip(swept, values, strict=True))
        draws = {key: f"{key}={value}" for key, value in chosen.items()}
        overrides = ["name=x", *draws.values()]
        made.append(SweptPoint(overrides, draws, str(circuits_of(**chosen)), "derived", 0, None))
    return made


@pytest.mark.parametrize(
    ("circuits_of", "expected"),
    [
        (lambda x, y: 0, ()),
        (lambda x, y: x, ("x",)),
        (lambda x, y: (x, y), ("x", "y")),
        # Only beside one value of the other.
        (lambda x, y: x if y == 2 else 0, ("x", "y")),
        (lambda x, y: y if x == 1 else -1, ("x", "y")),
    ],
)
def test_a_key_that_changes_circuits_anywhere_decides_them(circuits_of, expected) -> None:
    assert circuit_keys(points(circuits_of, x=(0, 1), y=(1, 2))) == expected


@pytest.mark.parametrize(
    ("key", "decides"),
    [
        ("seed", True),
        ("circuits", True),
        ("circuits.depth", True),
        ("circuits@workloads.a.circuits", True),
        ("workloads.a.circuits", True),
        ("workloads.a.circuits.depth", True),
        ("workloads.circuits.primitive.shots", False),
        ("simulation_seed", False),
        ("circuits_of_mine", False),
        ("primitive.shots", False),
    ],
)
def test_the_name_of_a_key_tells_where_only_one_value_is_swept(key: str, decides: bool) -> None:
    assert circuit_keys(points(lambda **_: 0, **{key: (3,)})) == ((key,) if decides else ())


def test_a_point_without_swept_values_is_the_run_as_declared() -> None:
    (point,) = points(lambda: 0)
    assert with_seeds(point, ()) == ["name=x"]


def test_derived_seeds_replace_what_was_declared() -> None:
    point = SweptPoint(
        ["++seed=4", "circuits.depth=2", "primitive.shots=1", "simulation_seed=5"],
        {"circuits.depth": "circuits.depth=2", "primitive.shots": "primitive.shots=1"},
        "",
        "derived",
        4,
        5,
    )
    overrides = with_seeds(point, ("circuits.depth",))
    keys = [item.partition("=")[0] for item in overrides]
    assert keys == [
        *("circuits.depth", "primitive.shots"),
        *("seed", "simulation_seed", "sweep.circuits_by"),
    ]
    assert {"++seed=4", "simulation_seed=5"}.isdisjoint(overrides)
