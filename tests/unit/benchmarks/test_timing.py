from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import timing
from benchmarks.processes import Usage
from benchmarks.timing import Command, in_turn, ratio, table, wall_s

SLOW = [Usage(wall_s=wall, cpu_s=8.0, peak_bytes=10**9) for wall in (8.0, 30.0, 10.0)]
FAST = [Usage(wall_s=wall, cpu_s=4.0, peak_bytes=5 * 10**8) for wall in (4.0, 5.0, 2.0)]


def test_a_ratio_is_of_medians_beside_the_extremes_of_the_turns():
    found = ratio(SLOW, FAST, wall_s)
    assert (found.of_medians, found.lowest, found.highest) == (2.5, 2.0, 6.0)


def test_figures_of_different_turns_are_not_compared():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratio(SLOW, FAST[:2], wall_s)


def test_the_table_has_medians_and_ratios():
    lines = table({"loop": SLOW, "qexp": FAST}, "qexp", "over qexp").splitlines()
    assert lines[2] == (
        "| loop | 10.00 | 8.00 | 1000 | 2.50 (2.00 to 6.00) | 2.00 (2.00 to 2.00) "
        "| 2.00 (2.00 to 2.00) |"
    )
    assert lines[3] == "| qexp | 4.00 | 4.00 | 500 | 1 | 1 | 1 |"
    assert len({line.count("|") for line in lines}) == 1


def test_commands_run_in_turn_each_in_an_empty_folder(tmp_path: Path):
    log = tmp_path / "log"
    code = "import os, sys; open(sys.argv[1], 'a').write(sys.argv[2] + str(os.listdir()) + ' ')"
    commands = [Command(name, [sys.executable, "-c", code, str(log), name]) for name in ("a", "b")]
    usages = in_turn(commands, 2)
    assert log.read_text().split() == ["a[]", "b[]", "a[]", "b[]"]
    assert {name: len(runs) for name, runs in usages.items()} == {"a": 2, "b": 2}


def test_five_pairs_are_the_default_and_one_is_quick(monkeypatch: pytest.MonkeyPatch):
    _, read = timing.options("description", quick="less")
    for arguments, expected in (([], 5), (["--quick"], 1), (["--quick", "--pairs", "3"], 3)):
        monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
        assert read().pairs == expected
