from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qexp.config.overrides import draws_of
from qexp.config.schema import SampleNode, SweepNode
from qexp.config.sweep_points import (
    Block,
    declared_blocks,
    declared_nodes,
    draw_samples,
    refuse_declared,
    refuse_twice,
    without_declarations,
)
from qexp.errors import ConfigError


def blocks(**declared: Any) -> list[Block]:
    return declared_blocks(SweepNode.model_validate(declared), 0)


def texts(block: Block) -> list[str]:
    return [row.text for row in block.rows]


def test_keys_are_walked_together():
    (block,) = blocks(zip={"circuits.depth": [2, 4], "backend": ["local", "aer"]})
    assert block.declared == "sweep.zip"
    assert block.keys == ("circuits.depth", "backend")
    assert texts(block) == ["circuits.depth=2 backend=local", "circuits.depth=4 backend=aer"]
    assert block.rows[1].overrides == ("++circuits.depth=4", "backend=aer")
    assert block.rows[1].origin == "sweep.zip, position 2"


def test_a_list_of_points_may_name_its_keys_in_any_order():
    (block,) = blocks(points=[{"x": 1, "y": None}, {"y": "a b", "x": 0.5}])
    assert block.keys == ("x", "y")
    assert texts(block) == ["x=1 y=null", "y='a b' x=0.5"]


def test_a_csv_file_has_the_values_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("points.csv").write_bytes(
        b"\xef\xbb\xbf x ,circuits.depth,z\r\n1,0.5,true\r\n\r\n null,1e3, a b \r\n"
        b"\"'1'\",${variables.y},\"[1,'a,b']\"\r\n"
    )
    (block,) = blocks(points="points.csv")
    assert block.keys == ("x", "circuits.depth", "z")
    assert [row.origin for row in block.rows] == [f"points.csv, line {n}" for n in (2, 4, 5)]
    draws = [draws_of(row.overrides, block.keys) for row in block.rows]
    assert [list(point.values()) for point in draws] == [
        [1, 0.5, True],
        [None, 1000.0, "a b"],
        ["1", "${variables.y}", [1, "a,b"]],
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x,y\n1,2\n1\n", "points.csv, line 3: cells: got 1, but the header names 2 keys; each"),
        ("x,y\n1,2,3\n", "points.csv, line 2: cells: got 3, but the header names 2 keys; each"),
        ("x,y\n1,\n", "points.csv, line 2: y: got ''; a cell is one value: a number, true,"),
        ('x,y\n1,"2,3"\n', "points.csv, line 2: y: got '2,3'; a cell is one value"),
        ("x,y\n1,(\n", "points.csv, line 2: y: got '('; a cell is one value"),
        ('x,y\n1,"2\n', "points.csv, line 2: unexpected end of data"),
        ("x,\n1,2\n", "points.csv, line 1: a column has no name; the header names a key for"),
        ("x,x\n1,2\n", "points.csv, line 1: x is there twice; keep one column of each key"),
        ("\nx y\n1\n", "points.csv, line 2: 'x y': no key of the config; write it as in"),
        ("x\n1\n2\n1\n", "points.csv, line 4: equal to points.csv, line 2 (x=1); keep one, or"),
        ("x\n", "sweep.points: no points; list them, "),
        ("", "sweep.points: no points; list them, "),
        ("x\n\xff\n", "sweep.points: points.csv is not UTF-8; save it as UTF-8"),
    ],
)
def test_a_line_that_is_wrong_is_refused_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, problem: str
):
    monkeypatch.chdir(tmp_path)
    Path("points.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError) as info:
        blocks(points="points.csv")
    assert str(info.value).startswith(problem)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.csv: No such file .*; name a CSV file whose"):
        blocks(points=str(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({"zip": {"x": [1, 2], "y": [1]}}, "sweep.zip: x has 2 values and y has 1; keys that"),
        ({"zip": {}}, "sweep.zip: no values; list them for each key, "),
        ({"zip": {"x": []}}, "sweep.zip: no values; list them for each key, "),
        ({"zip": {"x": [1, 1]}}, "sweep.zip, position 2: equal to sweep.zip, position 1 (x=1);"),
        ({"zip": {"x y": [1]}}, "sweep.zip, position 1: 'x y': no key of the config"),
        ({"points": []}, "sweep.points: no points; list them, "),
        ({"points": [{}]}, "sweep.points, point 1: has no key, the first has none; all points"),
        ({"points": [{"x": 1}, {"y": 1}]}, "sweep.points, point 2: has y, the first has x; all"),
        ({"points": [{"x": 1}, {"x": 2}, {"x": 1}]}, "sweep.points, point 3: equal to sweep.poi"),
    ],
)
def test_points_in_no_valid_form_are_refused(declared: dict[str, Any], problem: str):
    with pytest.raises(ConfigError) as info:
        blocks(**declared)
    assert str(info.value).startswith(problem)


def test_points_of_a_sample_that_are_equal_are_one_and_more_begin_with_them():
    few, many = (
        blocks(sample={"method": "random", "n": n, "keys": {"x": [1, 3], "y": {"choices": [1, 2]}}})
        for n in (9, 50)
    )
    assert few[0].num_drawn == 9
    assert len(set(texts(few[0]))) == len(few[0].rows) < 9
    assert len(many[0].rows) == 6
    assert texts(many[0])[: len(few[0].rows)] == texts(few[0])


def test_a_key_in_two_places_is_refused():
    places = [("sweep.zip", ("x", "y")), ("'z=1'", ("z",)), ("'y=3'", ("y",))]
    given = [Block(declared, keys, (), 0) for declared, keys in places]
    with pytest.raises(ConfigError, match=r"^y: given by sweep\.zip and by 'y=3'; keep one of"):
        refuse_twice(given)


def test_overrides_of_a_point_declare_no_points():
    node = SweepNode.model_validate({"zip": {"x": [1]}, "points": "p.csv"})
    assert declared_nodes(node) == ("sweep.zip", "sweep.points")
    given = ["++sweep.zip={x:[1]}", "sweep.zip.x=[2]", "sweep.zipped=1", "x=1"]
    assert without_declarations(given, declared_nodes(node)) == [
        *("sweep.zipped=1", "x=1", "sweep.zip=null", "sweep.points=null")
    ]


def test_points_that_nothing_reads_are_refused():
    refuse_declared(SweepNode(), is_sweep=False)
    node = SweepNode.model_validate({"points": "p.csv"})
    with pytest.raises(ConfigError, match=r"^sweep\.points: a sweep is declared, but this is a si"):
        refuse_declared(node, is_sweep=False)
    with pytest.raises(ConfigError, match=r"^sweep\.points: points are declared that this sweep"):
        refuse_declared(node, is_sweep=True)


def test_draws_are_plain_values_in_the_order_of_the_keys():
    overrides = ["++b.c={x:1,y:[a,'b c']}", "other=1", "a=null", "d='1'", "e=2.5", "f=ghz", "g="]
    assert draws_of(overrides, ["a", "b.c", "d", "e", "f", "g", "left.out"]) == {
        **{"a": None, "b.c": {"x": 1, "y": ["a", "b c"]}, "d": "1", "e": 2.5, "f": "ghz", "g": ""}
    }
    assert list(draws_of(overrides, ["d", "a"])) == ["d", "a"]


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
