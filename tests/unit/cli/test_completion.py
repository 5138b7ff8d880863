from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from qexp.cli.completion import candidates
from qexp.cli.verbs import VERBS
from tests.unit.cli.conftest import Command

MOST_WAITED_S = 120.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with two runs, a file, and an experiment of the user's."""
    for name in ("outputs/ghz/r1/run.h5", "outputs/ghz/r2/journal.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    mine = tmp_path / "conf" / "experiment" / "lab" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("# @package _global_\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["qexp"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("COMP_LINE", "")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("res", ["resume"]),
        ("re", ["remitigate", "report", "reproduce", "resume"]),
        ("experiment=gh", ["experiment=ghz"]),
        ("experiment=lab", ["experiment=lab/mine"]),
        ("seed=3 backend=l", ["backend=lattice", "backend=least_busy", "backend=local"]),
        ("-m experiment=ghz circuits.num_q", ["circuits.num_qubits="]),
        # A key that no file lists does not disturb those after it.
        ("experiment=ghz primitive.options.a=1 circuits.me", ["circuits.method="]),
        ("experiment=ghz circuits.method=", ["circuits.method=linear"]),
        ("--mu", ["--multirun"]),
        ("seed=3 res", []),
        ("resume o", ["outputs/"]),
        ("resume outputs/ghz/", ["outputs/ghz/r1", "outputs/ghz/r2"]),
        ("resume outputs/ghz/r1 outputs/ghz/r", ["outputs/ghz/r1", "outputs/ghz/r2"]),
        ("resume outputs/ghz/r1/", ["outputs/ghz/r1/run.h5"]),
        ("resume nowhere/", []),
        ("resume --t", ["--trust"]),
        ("resume --trust ", []),
        ("resume --trust outputs o", ["outputs/"]),
        ("resume --all ", ["conf/", "outputs/"]),
        ("resume --json o", ["outputs/"]),
        ("diff outputs/ghz/r1 outputs/ghz/r2", ["outputs/ghz/r2"]),
        ("analyse outputs/ghz/r1 id", ["ideal"]),
        ("analyse outputs/ghz/r1 ideal max", []),
        ("export outputs/ghz/r1 --to roc", ["rocrate"]),
        ("export outputs/ghz/r1 --metadata n", ["notes.txt"]),
        ("reproduce outputs/ghz/r1 --circuits ", ["archived", "generated"]),
        ("completion ", ["bash", "fish", "zsh"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_the_last_word_is_completed(line: str, expected: list[str]) -> None:
    assert candidates(line.split(" ")) == expected


@pytest.mark.usefixtures("folder")
def test_the_first_word_is_a_verb_a_group_or_a_key() -> None:
    found = candidates([""])
    assert {*VERBS, "experiment=", "backend=", "seed=", "execution."} <= set(found)


def test_the_home_folder_is_found_by_its_sign(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert candidates(["show", "~/o"]) == ["~/outputs/"]


def test_another_shell_is_refused(command: Command) -> None:
    assert command("completion", "tcsh").code == 2


SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


class Shell:
    """An interactive shell on a terminal of its own; `qexp` prints its arguments there."""

    def __init__(self, name: str, folder: Path) -> None:
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        script = bin_folder / "qexp"
        python = shlex.join([sys.executable, "-m", "qexp"])
        script.write_text(
            f'#!/bin/sh\n[ "$1" = completion ] && exec {python} "$@"\nprintf "<%s>" "called" "$@"\n'
        )
        script.chmod(0o755)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        home = {"HOME": str(folder), "ZDOTDIR": str(folder), "TERM": "xterm", "COLUMNS": "200"}
        self._terminal, inner = pty.openpty()
        self._process = subprocess.Popen(
            SHELLS[name],
            cwd=folder,
            env={**os.environ, **home, "PATH": path},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            # Its controlling terminal, without which fish ends at once.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(inner)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def type(self, keys: str, until: str) -> str:
        """Type, and return the terminal's text up to the first match of a pattern."""
        os.write(self._terminal, keys.encode())
        shown = ""
        while (found := re.search(until, shown)) is None:
            ready, _, _ = select.select([self._terminal], [], [], MOST_WAITED_S)
            assert ready, f"the terminal shows {shown!r}"
            shown += os.read(self._terminal, 65536).decode(errors="replace")
        return found[0]


@pytest.mark.parametrize("name", SHELLS)
def test_tab_in_a_real_shell(name: str, folder: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    load = {"fish": "qexp completion fish | source"}.get(name, f'eval "$(qexp completion {name})"')
    with Shell(name, folder) as shell:
        shell.type(f"{load}; echo 'is rea''dy'\n", "is ready")
        for typed, called in {
            "qexp sho\t o\tgh\tr1\t --js\t": "<called><show><outputs/ghz/r1><--json>",
            "qexp -m experiment=gh\t circuits.meth\tlog": (
                "<called><-m><experiment=ghz><circuits.method=log>"
            ),
        }.items():
            assert shell.type(f"{typed}\n", "<called>[^\r\n]*>") == called
