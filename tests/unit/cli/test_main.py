from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from qexp.cli.main import COMMANDS, main
from tests.unit.cli.conftest import Command


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)


def test_an_unknown_command_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["shwo"])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "'shwo' is no command; allowed: resume, ls, show, verify" in printed


@pytest.mark.parametrize("name", ["ls", "show", "verify"])
def test_a_reader_that_has_seen_enough_is_no_error(name: str, runs: Path) -> None:
    command = [sys.executable, "-m", "qexp", name, str(runs / "e" / "r0-complete")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("show", ()),
        ("verify", ()),
        ("diff", ("sound",)),
        ("analyse", ("ideal",)),
        ("report", ()),
        ("export", ("--to", "csv")),
        ("reproduce", ()),
    ],
)
@pytest.mark.usefixtures("own_process")
def test_a_file_that_lost_its_digest_is_damaged_for_every_command(
    command: Command, runs: Path, tmp_path: Path, name: str, more: tuple[str, ...]
) -> None:
    for folder in ("sound", "edited"):
        (tmp_path / folder).mkdir()
        shutil.copy(runs / "e" / "r0-complete" / "run.h5", tmp_path / folder)
    # As an editor of HDF5 files would do, to which the digest is a dataset like any other.
    with h5py.File(tmp_path / "edited" / "run.h5", "r+") as file:
        del file["file_sha256"]
    before = (tmp_path / "edited" / "run.h5").read_bytes()
    ended = command(name, "edited", *more)
    assert ended.code == 5
    assert ("DAMAGED" if name == "show" else "edited/run.h5") in ended.out + ended.err
    assert (tmp_path / "edited" / "run.h5").read_bytes() == before
    assert [path.name for path in (tmp_path / "edited").iterdir()] == ["run.h5"]
