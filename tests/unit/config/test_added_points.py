"""Points that are added to a sweep: its command line with more values, and what is new in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qexp.archive.sweep_file import SweepDeclaration, SweepPoint
from qexp.config.added_points import extended_overrides, merge_points
from qexp.errors import ConfigError

FOLDER = Path("outputs/ghz/sweep-1")


def point(folder: str, config_yaml: str = "", **draws: Any) -> SweepPoint:
    keys = {key.replace("__", "."): value for key, value in draws.items()}
    return SweepPoint(folder, keys, (), (config_yaml or f"circuits: {{depth: {keys}}}",))


def sweep(*points: SweepPoint, overrides: tuple[str, ...] = ()) -> SweepDeclaration:
    return SweepDeclaration("1", "2026-11-29T00:00:00Z", points, overrides)


GRID = sweep(
    *(point(f"1-{n:04d}", circuits__depth=n) for n in (2, 4)),
    overrides=("experiment=ghz", "circuits.depth=range(2,6,2)", "hydra.sweep.dir=elsewhere"),
)
ROWS = sweep(
    point("1-0000", a=1, b="x"),
    point("1-0001", a=2, b="y z"),
    overrides=("experiment=ghz", "sweep.zip={a:[1,2],b:[x,'y z']}"),
)


@pytest.mark.parametrize(
    ("declared", "word", "given"),
    [
        (GRID, "circuits.depth=8,16", "circuits.depth=2,4,8,16"),
        (GRID, "sweep.sample.n=100", "sweep.sample.n=100"),
        (ROWS, "sweep.zip={a:[3],b:[w]}", "sweep.zip={a:[1,2,3],b:[x,'y z',w]}"),
        (ROWS, "sweep.points=[{a:3,b:w}]", "sweep.points=[{a:1,b:x},{a:2,b:'y z'},{a:3,b:w}]"),
    ],
)
def test_the_command_line_with_more_points(declared: SweepDeclaration, word: str, given: str):
    overrides = extended_overrides(FOLDER, declared, [word])
    assert overrides[0] == "experiment=ghz"
    assert overrides[-2:] == [given, "hydra.sweep.dir=outputs/ghz/sweep-1"]


def test_the_budget_that_a_sweep_was_given_anew_replaces_the_declared_one():
    declared = replace(GRID, overrides=(*GRID.overrides, "budget.qpu=7s"))
    found = extended_overrides(FOLDER, declared, ["circuits.depth=8"], ["budget.qpu=10"])
    assert [word for word in found if "budget" in word] == ["budget.qpu=10"]
    assert "budget.qpu=7s" in extended_overrides(FOLDER, declared, ["circuits.depth=8"])


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        (
            "circuits.width=3",
            r"circuits\.width is not swept by .*: circuits\.depth, sweep",
        ),
        ("sweep.points=3", r"expected a list of points"),
        ("sweep.points=[]", r"expected a list of points"),
        ("sweep.zip=[1]", r"expected values of each key"),
        ("circuits.depth", r"circuits\.depth"),
    ],
)
def test_words_that_add_nothing_are_refused(word: str, problem: str):
    with pytest.raises(ConfigError, match=problem) as caught:
        extended_overrides(FOLDER, GRID, [word])
    assert "\n" not in str(caught.value)


def test_new_points_come_last_and_the_others_stay_as_they_are():
    composed = [point("", circuits__depth=n) for n in (1, 2, 3, 4)]
    merged, order = merge_points(GRID, composed, lambda number: f"1-{number:04d}")
    assert merged[:2] == GRID.points
    assert [(one.folder, one.draws["circuits.depth"]) for one in merged[2:]] == [
        ("1-0002", 1),
        ("1-0003", 3),
    ]
    assert order == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("composed", "problem"),
    [
        ([point("", circuits__depth=2)], r"circuits\.depth=4 of the sweep is not among those"),
        ([point("", circuits__depth=n) for n in (2, 4)], r"the sweep has all of these points"),
        (
            [point("", f"circuits: {{depth: {n + 1}}}", circuits__depth=n) for n in (2, 4, 8)],
            r"circuits\.depth=2 would be declared otherwise than it was: circuits\.depth",
        ),
    ],
)
def test_points_that_would_not_be_run_alike_are_refused(composed: list[SweepPoint], problem: str):
    with pytest.raises(ConfigError, match=problem) as caught:
        merge_points(GRID, composed, str)
    assert "\n" not in str(caught.value)
