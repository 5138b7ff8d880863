from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest

from qexp.archive.digests import write_file_digest
from qexp.archive.schema import SUMMARY
from qexp.listing.summary import LISTED
from tests.archives import sampler_jobs, write_run
from tests.unit.cli.conftest import Command
from tests.unit.listing.runs import KINDS


def test_the_table_has_every_run_and_names_its_problem(command: Command, runs: Path) -> None:
    ended = command("ls", runs)
    assert (ended.code, ended.err) == (0, "")
    header, _, *lines = ended.out.splitlines()
    assert header.split() == ["status", "backend", "results", "usage", "run"]
    rows = {line.split()[-1]: line.split() for line in lines[: len(KINDS)]}
    assert {name: rows[f"e/{name}"][0] for name in KINDS} == KINDS
    assert rows["e/r1-partial"][1:4] == ["fake_lima", "3/5", "10s"]
    assert f"10 runs in {runs}: 4 damaged, 2 unfinished, 1 " in ended.out
    assert ended.out.count("\ndamaged: ") == 4


def test_newest_first_unless_sorted_and_limited(command: Command, runs: Path) -> None:
    def names(*arguments: str) -> list[str]:
        listed = json.loads(command("ls", runs, "--json", *arguments).out)
        return [Path(entry["path"]).parent.name for entry in listed]

    assert names("--limit", "1") == ["r3-planned"]
    assert names("--sort", "results", "--where", "status in complete,partial,failed") == [
        "r2-failed",
        "r0-complete",
        "r1-partial",
    ]


def test_filters_by_config_get_a_column(command: Command, runs: Path) -> None:
    ended = command("ls", runs, "--where", "circuits.num_qubits==3", "--sort", "circuits.depth")
    header, _, row, *_ = ended.out.splitlines()
    assert header.split()[4:6] == ["circuits.num_qubits", "circuits.depth"]
    assert row.split() == ["planned", "fake_lima", "0/1", "2,", "3", "5", "e/r3-planned"]
    assert "1 of 10 runs" in ended.out


@pytest.mark.parametrize("is_stated", [True, False])
def test_a_status_does_not_steer_the_terminal(
    command: Command, tmp_path: Path, is_stated: bool
) -> None:
    path = write_run(tmp_path / "r", sampler_jobs([1])).seal("complete", keep_parts=False)
    with h5py.File(path, "r+") as file:
        file.attrs["status"] = status = "com\x1b[31mplete\x9b\u202e"
        stated = json.loads(file.attrs.pop(SUMMARY))
        if is_stated:
            file.attrs[SUMMARY] = json.dumps({**stated, "status": status})
    write_file_digest(path)
    told = command("ls", tmp_path).out
    assert told.replace("\n", "").isprintable()
    assert told.endswith(r": 1 com\x1b[31mplete\x9b\u202e" + "\n")


def test_json_has_the_documented_fields(command: Command, runs: Path) -> None:
    listed = json.loads(command("ls", runs, "--json").out)
    assert len(listed) == len(KINDS)
    for entry in listed:
        assert tuple(entry) == (*LISTED, "config")
    text = (Path(__file__).parents[3] / "docs" / "archive-commands.md").read_text("utf-8")
    table = text.partition("| field |")[2].partition("\n\n")[0]
    assert all(f"`{name}`" in table for name in (*LISTED, "config"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("absent",), 2, "absent does not exist; name the folder"),
        (("--where", "circuits.depth"), 2, "not understood; allowed is KEY OP VALUE"),
        (("--where", "circuits.dept>1"), 2, "did you mean 'circuits.depth'?"),
        (("--sort", "dat"), 2, "did you mean 'date'?"),
        (("--limit", "-1"), 2, "--limit"),
        (("--limit", "x"), 2, "got x; it must be a whole number"),
        (("--frsh",), 2, "unrecognized arguments: --frsh"),
    ],
)
def test_a_mistake_is_one_line(
    command: Command, runs: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    path = () if arguments[0] == "absent" else (runs,)
    ended = command("ls", *path, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_an_empty_folder_has_no_runs(command: Command, tmp_path: Path) -> None:
    ended = command("ls", tmp_path)
    assert (ended.code, ended.out) == (0, f"0 runs in {tmp_path}\n")


def test_the_default_folder_is_outputs(
    command: Command, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "outputs does not exist" in command("ls").err
    (tmp_path / "outputs").symlink_to(runs)
    assert "10 runs in outputs" in command("ls").out


def test_an_untrusted_name_does_not_steer_the_terminal(
    command: Command, runs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "o" / "\x1b[2J[red]run"
    folder.mkdir(parents=True)
    (folder / "run.h5").write_bytes(b"")
    printed = command("ls", tmp_path / "o").out
    assert "\\x1b[2J[red]run" in printed
    assert "\x1b" not in printed
    assert "\x1b" not in command("ls", tmp_path / "o", "--json").out
