from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qexp.archive.apart import Apart
from qexp.archive.verify import PROBLEMS
from qexp.errors import ArchiveError
from qexp.listing.check import check_run, paths_to_check
from tests.unit.archive.flips import flip
from tests.unit.listing.runs import KINDS, copies


@pytest.fixture
def apart() -> Iterator[Apart]:
    with Apart(PROBLEMS) as apart:
        yield apart


def test_a_folder_names_all_its_runs(runs: Path) -> None:
    assert len(paths_to_check(runs)) == len(KINDS)
    assert paths_to_check(runs / "e" / "r0-complete") == [runs / "e" / "r0-complete" / "run.h5"]
    assert paths_to_check(runs / "e" / "r4-unfinished") == [runs / "e" / "r4-unfinished"]


def test_a_folder_without_runs_is_refused_not_intact(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no run in"):
        paths_to_check(tmp_path)
    with pytest.raises(ArchiveError, match="no such file"):
        paths_to_check(tmp_path / "absent")


def test_sound_runs_are_sound_and_damaged_ones_are_not(runs: Path, apart: Apart) -> None:
    for path in paths_to_check(runs):
        name = (path if path.is_dir() else path.parent).name
        assert bool(check_run(path, apart)) == (KINDS[name] == "damaged"), name


def test_parts_and_journal_count_where_the_run_goes_on_from_them(
    runs: Path, tmp_path: Path, apart: Apart
) -> None:
    root = copies(runs, tmp_path / "outputs") / "e"
    for folder, name in (
        ("r1-partial", "parts/job-000000-01.h5"),
        ("r4-unfinished", "parts/header.json"),
        ("r5-started", "journal.jsonl"),
    ):
        path = root / folder / name
        path.write_bytes(flip(40, 2)(bytearray(path.read_bytes())))
        (run,) = paths_to_check(root / folder)
        (line,) = check_run(run, apart)
        assert str(path) in line


def test_parts_without_a_journal_are_no_run_to_go_on_with(
    runs: Path, tmp_path: Path, apart: Apart
) -> None:
    folder = copies(runs, tmp_path / "outputs") / "e" / "r4-unfinished"
    (folder / "journal.jsonl").unlink()
    (line,) = check_run(folder, apart)
    assert "there is no journal.jsonl" in line
