"""The declaration of a sweep in its folder, and folders that hold something already."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qexp.archive.sweep_file import POINTS_NAME, SWEEP_NAME, read_sweep
from qexp.config.sweep_launcher import (
    DeclaredPoint,
    Launch,
    append_declaration,
    record_points,
    write_declaration,
)
from qexp.core.model import SourceFile
from qexp.errors import ConfigError


def declared(number: int, folder: str | None = None) -> DeclaredPoint:
    spec: Any = SimpleNamespace(
        overrides=(f"circuits.depth={number}",),
        config_yaml=f"circuits: {{depth: {number}}}",
        sources=(SourceFile("mine.yaml", "text"),),
    )
    return DeclaredPoint(spec, {"circuits.depth": number}, folder or f"s-{number:04d}")


def launch(folder: Path) -> Launch:
    return Launch("s", folder, ("circuits.depth=0,1",), has_rounds=False, stops_early=False)


def test_a_sweep_is_declared_and_more_points_follow(tmp_path: Path):
    write_declaration([declared(0), declared(1)], launch(tmp_path))
    append_declaration([declared(2)], tmp_path)
    sweep = read_sweep(tmp_path)
    assert (sweep.id, sweep.overrides) == ("s", ("circuits.depth=0,1",))
    assert [point.folder for point in sweep.points] == ["s-0000", "s-0001", "s-0002"]
    assert sweep.points[2].draws == {"circuits.depth": 2}
    assert sweep.points[2].sources == (SourceFile("mine.yaml", "text"),)
    assert sweep.swept == ("circuits.depth",)


def test_points_of_another_launcher_are_declared_round_by_round(tmp_path: Path):
    record_points([declared(0)], launch(tmp_path / "new"))
    record_points([declared(1)], launch(tmp_path / "new"))
    assert len(read_sweep(tmp_path / "new", POINTS_NAME).points) == 2
    assert not (tmp_path / "new" / SWEEP_NAME).exists()


@pytest.mark.parametrize(
    "used", [SWEEP_NAME, POINTS_NAME, "journal.jsonl", "run.h5", "parts/header.json", "s-0001/x"]
)
def test_a_folder_that_holds_something_is_never_taken(tmp_path: Path, used: str):
    (tmp_path / used).parent.mkdir(exist_ok=True)
    (tmp_path / used).write_text("{}")
    with pytest.raises(ConfigError, match=r"^hydra\.sweep\.dir: .* already holds a run or a sweep"):
        write_declaration([declared(0), declared(1)], launch(tmp_path))
    assert (tmp_path / used).read_text() == "{}"


def test_two_points_of_one_folder_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"hydra\.sweep\.subdir: gives several points .* same"):
        write_declaration([declared(0, "same"), declared(1, "same")], launch(tmp_path))
