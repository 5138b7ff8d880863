from __future__ import annotations

from pathlib import Path

import pytest

from qexp.cli.main import main
from qexp.export.formats import Exported
from tests.unit.export.conftest import PUBLISHED, write_two_workloads


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["export", *arguments])
    return int(str(caught.value.code))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    write_two_workloads(tmp_path / "run", complete=True, metadata=PUBLISHED)
    return tmp_path / "run"


def test_it_says_what_it_wrote(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(str(run_dir), "--to", "csv") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == str(run_dir / "run-csv")
    assert printed[2] == "evs.csv: 8 rows"


def test_texts_of_a_stranger_do_not_steer_the_terminal(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "s3cr3t-token")
    note = "the run is com\x1b[31mplete: /w\u202e: s3cr3t-token\nqexp: all is well"
    written = Exported(run_dir / "a\x1b[2Jb", (note,))
    monkeypatch.setattr("qexp.cli.export.export", lambda *_args, **_options: written)
    assert ended(str(run_dir), "--to", "netcdf") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{run_dir}/a\\x1b[2Jb",
        "the run is com\\x1b[31mplete: /w\\u202e: [redacted] qexp: all is well",
    ]


def test_mistakes_are_one_line_with_an_exit_code(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = run_dir / "run.h5"
    assert ended(str(run_dir), "--to", "cvs") == 2
    assert ended(str(run_dir)) == 2
    assert ended(str(run_dir), "--to", "rocrate", "--set", "license=free") == 2
    assert ended(str(run_dir / "nothing"), "--to", "csv") == 5
    assert ended(str(archive), "--to", "csv", "--output", str(run_dir)) == 2
    archive.write_bytes(archive.read_bytes()[:-100])
    assert ended(str(archive), "--to", "csv") == 5
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("qexp: ") for line in lines)


def test_help_lists_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    assert "  rocrate  RO-Crate (Process Run Crate 0.5)" in capsys.readouterr().out
