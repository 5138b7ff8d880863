from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from qexp.config.pairs import SweptPoint, circuit_keys, with_seeds


def none_composed(_overrides: list[str]) -> str:
    """Circuits of overrides that no point has; a grid needs none."""
    raise AssertionError


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
    assert circuit_keys(points(circuits_of, x=(0, 1), y=(1, 2)), none_composed) == expected


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
    one = points(lambda **_: 0, **{key: (3,)})
    assert circuit_keys(one, none_composed) == ((key,) if decides else ())


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
        *("seed", "simulation_seed", "sweep.circuits_by", "sweep.keys"),
    ]
    assert {"++seed=4", "simulation_seed=5"}.isdisjoint(overrides)
    assert overrides[-1] == "sweep.keys=[circuits.depth,primitive.shots]"


def walked_together(circuits_of, num_points: int, **values) -> tuple[list[SweptPoint], Callable]:
    """Points of keys that are walked together, each value made from the point's number.

    Returns:
        The points, and what composes others: it counts how many, and knows none with `x=None`.
    """
    composed: list[list[str]] = []

    def compose(overrides: list[str]) -> str | None:
        composed.append(overrides)
        given = dict(item.split("=") for item in overrides)
        return None if given["x"] == "None" else str(circuits_of(**given))

    made = []
    for number in range(num_points):
        draws = {key: f"{key}={of(number)}" for key, of in values.items()}
        circuits = str(circuits_of(**dict(item.split("=") for item in draws.values())))
        made.append(SweptPoint(list(draws.values()), draws, circuits, "derived", 0, None))
    compose.composed = composed
    return made, compose


@pytest.mark.parametrize(
    ("circuits_of", "expected"),
    [
        (lambda x, y, z: 0, ()),
        (lambda x, y, z: x, ("x",)),
        (lambda x, y, z: (x, z), ("x", "z")),
        (lambda x, y, z: int(y) > 500, ("y",)),
        # In one point of a thousand only, and of no point that is tried.
        (lambda x, y, z: z == "1003", ("z",)),
    ],
)
def test_keys_that_are_walked_together_are_told_apart_by_a_few_more_points(circuits_of, expected):
    made, compose = walked_together(
        circuits_of, 1000, x=lambda n: n, y=lambda n: n % 2 * 1000 + n // 7, z=lambda n: 1000 + n
    )
    assert circuit_keys(made, compose) == expected
    assert len(compose.composed) < 40


def test_a_key_that_decides_circuits_by_name_hides_no_other():
    made, compose = walked_together(
        lambda **values: values["x"], 3, **{"circuits.depth": str, "x": str, "shots": str}
    )
    assert circuit_keys(made, compose) == ("circuits.depth", "x")


def test_any_of_several_keys_decides_where_no_point_between_is_valid():
    made, _ = walked_together(lambda x, y: x, 2, x=str, y=str)
    assert circuit_keys(made, lambda _overrides: None) == ("x", "y")


def test_circuits_that_differ_without_a_reason_end_the_search():
    one = SweptPoint(["x=1"], {"x": "x=1"}, "a", "derived", 0, None)
    assert circuit_keys([one, replace(one, circuits="b")], none_composed) == ()
