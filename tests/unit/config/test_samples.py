from __future__ import annotations

from typing import Any

import pytest

from qexp.config.samples import draw_samples
from qexp.config.schema import SampleNode
from qexp.errors import ConfigError

METHODS = ("random", "lhs", "sobol", "halton")
KEYS: dict[str, Any] = {
    "whole": [1, 3],
    "real": [0.5, 1.5],
    "scale": {"low": 1, "high": 1000, "log": True},
    "decade": {"low": 1e-3, "high": 1e3, "log": True},
    "forced": {"low": 1, "high": 2, "integer": False},
    "named": {"choices": ["a", None, [1, 2]]},
}


def sample(method: str, n: int, keys: dict[str, Any] | None = None) -> SampleNode:
    return SampleNode.model_validate({"method": method, "n": n, "keys": keys or KEYS})


@pytest.mark.parametrize("method", METHODS)
def test_values_are_plain_within_their_bounds_and_reach_them(method: str):
    points = draw_samples(sample(method, 300), 0)
    assert len(points) == 300
    assert {point["whole"] for point in points} == {1, 2, 3}
    assert {type(value) for point in points for value in point.values()} == {
        *(int, float, str, list, type(None))
    }
    assert all(0.5 <= point["real"] < 1.5 for point in points)
    assert all(type(point["scale"]) is int and 1 <= point["scale"] <= 1000 for point in points)
    assert all(type(point["forced"]) is float and 1 <= point["forced"] <= 2 for point in points)
    assert {repr(point["named"]) for point in points} == {"'a'", "None", "[1, 2]"}
    # Half of a logarithmic range is below its geometric mean.
    assert 120 <= sum(point["decade"] < 1 for point in points) <= 180
    assert 105 <= sum(point["scale"] < 32 for point in points) <= 195


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_the_points(method: str):
    assert draw_samples(sample(method, 5), 3) == draw_samples(sample(method, 5), 3)
    assert draw_samples(sample(method, 5), 3) != draw_samples(sample(method, 5), 4)


@pytest.mark.parametrize("method", ["random", "sobol", "halton"])
def test_more_points_begin_with_those_there_were(method: str):
    many = draw_samples(sample(method, 100), 0)
    for n in (1, 2, 7, 64, 65):
        assert draw_samples(sample(method, n), 0) == many[:n]


def test_a_latin_hypercube_has_each_value_once_and_does_not_grow():
    points = draw_samples(sample("lhs", 10, {"x": [1, 10], "y": [1, 10]}), 0)
    assert [sorted(point[key] for point in points) for key in "xy"] == [[*range(1, 11)]] * 2
    more = draw_samples(sample("lhs", 11, {"x": [1, 10], "y": [1, 10]}), 0)
    assert more[:10] != points


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ([3, 1], "x: got 3 to 1; the first must be below the second"),
        ([1, 1], "x: got 1 to 1; the first must be below the second"),
        ([-1e308, 1e308], "x: got -1e+308 to 1e+308; the first must be below the second"),
        ([1], "x: got [1]; allowed: [LOW, HIGH], {low: 1, "),
        (3, "x: got 3; allowed: [LOW, HIGH], {low: 1, "),
        (["a", 1], "x.low: got 'a'; it must be a valid number"),
        ([True, 2], "x.low: got True; it must be a valid number"),
        ([0.0, float("inf")], "x.high: got inf; it must be a finite number"),
        ({"low": 0, "high": 1, "log": True}, "x: got 0 to 1; with log, both must be above 0"),
        ({"low": 0.5, "high": 2, "integer": True}, "x: got 0.5 to 2; with integer, both must be"),
        ({"low": 1, "hgih": 2}, "x.hgih: unknown key; did you mean 'high'?"),
        ({"choices": []}, "x.choices: no value; list them, {choices: [a, b]}"),
        ({"choices": [1], "log": True}, "x.log: unknown key; allowed in"),
    ],
)
def test_values_in_no_valid_form_are_refused(declared: Any, problem: str):
    with pytest.raises(ConfigError) as info:
        draw_samples(sample("random", 2, {"x": declared}), 0)
    assert str(info.value).startswith(f"sweep.sample.keys.{problem}")


def test_a_sample_of_no_key_is_refused():
    node = SampleNode.model_validate({"method": "random", "n": 1, "keys": {}})
    with pytest.raises(ConfigError, match=r"^sweep\.sample\.keys: no key; name some"):
        draw_samples(node, 0)
