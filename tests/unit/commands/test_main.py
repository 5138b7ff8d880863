from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qexp.commands.main import COMMANDS, main


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
    assert "'shwo' is no command; allowed: ls, show, verify" in printed


@pytest.mark.parametrize("name", ["ls", "show", "verify"])
def test_a_reader_that_has_seen_enough_is_no_error(name: str, runs: Path) -> None:
    command = [sys.executable, "-m", "qexp.archive", name, str(runs / "e" / "r0-complete")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
