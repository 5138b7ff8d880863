"""Unfinished runs of old code are resumed to their end, and give the recorded data."""

from __future__ import annotations

from pathlib import Path

import pytest

import qexp
from tests.golden.compare import assert_same
from tests.golden.resuming import RUNS, resumed
from tests.golden.runs import expected, is_same_software


def check(key: str, found: dict[str, object], run: Path) -> None:
    recorded = expected(f"resumed/{key}")
    assert_same(recorded["before"], found["before"], may_grow=lambda _: True)
    assert_same(recorded["after"], found["after"])
    with qexp.open_archive(run) as archive:
        has_same_data = is_same_software(archive)
    if has_same_data:
        assert_same(recorded["data"], found["data"])


@pytest.mark.parametrize("key", RUNS)
def test_it_is_resumed(tmp_path: Path, key: str):
    found = resumed(key, tmp_path)
    check(key, found, tmp_path / key)
    if key == "1.2/ibm-out":
        assert found["after"]["submitted"] == {"/jobs": 0, "/sessions": 0}


def test_it_is_resumed_by_its_own_command_line(tmp_path: Path):
    overrides = expected("1.2/planned")["opened"]["overrides"]
    arguments = [item for item in overrides if item != "stop_after=plan"]
    found = resumed("1.2/planned", tmp_path, *arguments)
    check("1.2/planned", found, tmp_path / "1.2/planned")
