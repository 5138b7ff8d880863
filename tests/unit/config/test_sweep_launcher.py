"""The declaration of a sweep in its folder, and folders that hold something already."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from qexp.archive.sweep_file import (
    POINTS_NAME,
    SWEEP_NAME,
    SweepDeclaration,
    SweepPoint,
    read_sweep,
)
from qexp.config.declaration import declare_sweep
from qexp.config.sweep_launcher import Launch, write_declaration
from qexp.core.model import SourceFile
from qexp.errors import ConfigError


def point(number: int, folder: str | None = None) -> SweepPoint:
    return SweepPoint(
        folder or f"s-{number:04d}",
        {"circuits.depth": number},
        (f"circuits.depth={number}",),
        (f"circuits: {{depth: {number}}}",),
        (SourceFile("mine.yaml", "text"),),
    )


def launch(folder: Path, *points: SweepPoint, is_first: bool = True) -> Launch:
    sweep = SweepDeclaration("s", "2026-11-29T10:00:00Z", points, ("circuits.depth=0,1",))
    return Launch(folder, sweep, (), is_first, has_rounds=False, value=None)


@pytest.mark.parametrize("name", [SWEEP_NAME, POINTS_NAME])
def test_a_sweep_is_declared_and_more_points_follow(tmp_path: Path, name: str):
    folder = tmp_path / "new"
    write_declaration(launch(folder, point(0), point(1)), name)
    write_declaration(launch(folder, point(2), is_first=False), name)
    sweep = read_sweep(folder, name)
    assert (sweep.id, sweep.overrides) == ("s", ("circuits.depth=0,1",))
    assert [point.folder for point in sweep.points] == ["s-0000", "s-0001", "s-0002"]
    assert sweep.points[2].draws == {"circuits.depth": 2}
    assert sweep.points[2].sources == (SourceFile("mine.yaml", "text"),)
    assert sweep.swept == ("circuits.depth",)
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("name", [SWEEP_NAME, POINTS_NAME])
@pytest.mark.parametrize(
    "used", [SWEEP_NAME, POINTS_NAME, "journal.jsonl", "run.h5", "parts/header.json", "s-0001/x"]
)
def test_a_folder_that_holds_something_is_never_taken(tmp_path: Path, used: str, name: str):
    (tmp_path / used).parent.mkdir(exist_ok=True)
    (tmp_path / used).write_text("{}")
    with pytest.raises(ConfigError, match=r"^hydra\.sweep\.dir: .* already holds a run or a sweep"):
        write_declaration(launch(tmp_path, point(0), point(1)), name)
    assert (tmp_path / used).read_text() == "{}"


def test_two_points_of_one_folder_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"hydra\.sweep\.subdir: gives several points .* same"):
        write_declaration(launch(tmp_path, point(0, "same"), point(1, "same")))


@pytest.mark.parametrize(
    ("swept", "own"),
    [
        ("seed=1,2", {"seed"}),
        ("primitive.shots=100,200", {"simulation_seed", "workloads"}),
        ("circuits.num_qubits=2,3", {"seed", "workloads"}),
        ("backend.name=FakeManilaV2,FakeLimaV2", {"place", "select_backend", "simulation_seed"}),
        ("analysis.ghz.workload=main,null", {"analyses", "simulation_seed"}),
    ],
)
def test_what_is_declared_alike_in_all_points_is_kept_once(swept: str, own: set[str]) -> None:
    typed = ["ghz", "backend=fake", "backend.name=FakeManilaV2"]
    one, other = declare_sweep([*typed, swept], {}).specs
    names = {field.name for field in fields(one)}
    always = {"config", "experiment", "overrides", "sources"}
    alike = {name for name in names if getattr(one, name) is getattr(other, name)}
    assert names - alike - always == own
    assert len({*map(id, one.config)} & {*map(id, other.config)}) > 10
