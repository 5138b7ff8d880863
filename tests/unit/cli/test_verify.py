"""`verify` over hundreds of damaged files: every damage is named, none is a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.archives import sampler_jobs, write_run
from tests.damage import cuts, flip, flips
from tests.unit.cli.conftest import Command
from tests.unit.listing.runs import KINDS, copies


def test_intact_and_damaged_runs_are_distinguished(command: Command, runs: Path) -> None:
    ended = command("verify", runs)
    assert (ended.code, ended.err) == (5, "")
    states = {
        Path(line.split()[1]).parts[-2 if line.endswith("run.h5") else -1]: line.split()[0]
        for line in ended.out.splitlines()
        if not line.startswith(" ") and "runs:" not in line
    }
    damaged = {name for name, status in KINDS.items() if status == "damaged"}
    assert {name for name, state in states.items() if state == "damaged"} == damaged
    assert ended.out.endswith("10 runs: 6 intact, 4 damaged\n")


def test_the_exit_code_is_0_only_if_all_are_intact(command: Command, runs: Path) -> None:
    folder = runs / "e"
    assert command("verify", folder / "r0-complete").code == 0
    assert command("verify", folder / "r0-complete", folder / "r1-partial" / "run.h5").code == 0
    assert command("verify", folder / "r0-complete", folder / "r8-empty").code == 5
    assert command("verify", folder / "absent").code == 5
    assert command("verify", folder / "r0-complete" / "..").code == 5


def test_a_folder_stands_for_the_archive_or_the_unfinished_run_in_it(
    command: Command, runs: Path
) -> None:
    sealed, unfinished = runs / "e" / "r0-complete", runs / "e" / "r4-unfinished"
    assert command("verify", sealed).out == f"intact   {sealed / 'run.h5'}\n"
    assert command("verify", unfinished).out == f"intact   {unfinished}\n"


def test_a_folder_without_runs_is_refused_not_intact(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "there is no run in"), ("absent", "no such file")):
        ended = command("verify", tmp_path / name)
        assert (ended.code, ended.out) == (5, "")
        assert message in ended.err


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("r1-partial", "parts/job-000000-01.h5"),
        ("r4-unfinished", "parts/header.json"),
        ("r5-started", "journal.jsonl"),
    ],
)
def test_parts_and_journal_count_where_the_run_goes_on_from_them(
    command: Command, runs: Path, tmp_path: Path, folder: str, name: str
) -> None:
    run_dir = copies(runs, tmp_path / "outputs") / "e" / folder
    path = run_dir / name
    path.write_bytes(flip(40, 2)(bytearray(path.read_bytes())))
    ended = command("verify", run_dir, "--json")
    assert ended.code == 5
    ((problem,),) = [one["problems"] for one in json.loads(ended.out)]
    assert str(path) in problem


def test_parts_without_a_journal_are_no_run_to_go_on_with(
    command: Command, runs: Path, tmp_path: Path
) -> None:
    folder = copies(runs, tmp_path / "outputs") / "e" / "r4-unfinished"
    (folder / "journal.jsonl").unlink()
    ((problem,),) = [one["problems"] for one in json.loads(command("verify", folder, "--json").out)]
    assert "there is no journal.jsonl" in problem


def test_json_names_every_problem(command: Command, runs: Path) -> None:
    (one,) = json.loads(command("verify", runs / "e" / "r7-cut", "--json").out)
    assert one["is_intact"] is False
    assert "cannot be opened" in one["problems"][0]


def test_no_flip_and_no_cut_is_silent_or_a_traceback(command: Command, tmp_path: Path) -> None:
    sealed = write_run(tmp_path / "sound", [*sampler_jobs([2, 1]), None]).seal(
        "partial", keep_parts=False
    )
    raw = sealed.read_bytes()
    damages = [*flips(sealed, 100), *cuts(sealed, 12)]
    for number, damage in enumerate(damages):
        folder = tmp_path / "damaged" / f"{number:03d}"
        folder.mkdir(parents=True)
        (folder / "run.h5").write_bytes(damage(bytearray(raw)))
    ended = command("verify", tmp_path / "damaged", "--json")
    assert (ended.code, ended.err) == (5, "")
    verified = json.loads(ended.out)
    assert len(verified) == len(damages)
    for one in verified:
        assert one["problems"], one["path"]
        assert all(line and "\n" not in line for line in one["problems"])
    # The listing reads them too, and believes none.
    listed = json.loads(command("ls", tmp_path / "damaged", "--json").out)
    assert [entry["status"] for entry in listed] == ["damaged"] * len(damages)
