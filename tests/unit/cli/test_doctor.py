"""The arguments, the question and the page of `doctor`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qexp.core.findings import Finding
from tests.emulator import MANILA, IBMEmulator
from tests.unit.cli.conftest import Command

FIT = Finding("clock", "ok", "it runs")
UNFIT = Finding("packages", "problem", "numpy is 1.26.4, but >=2.0 is needed", "install another")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def finds(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    """Let the checks of the machine find this."""

    def check_machine(folder: Path) -> Iterator[Finding]:
        assert folder == Path("outputs")
        yield from findings

    monkeypatch.setattr("qexp.doctor.check_machine", check_machine)


class Typed(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_fit_machine(command: Command, monkeypatch: pytest.MonkeyPatch):
    finds(monkeypatch, FIT)
    ended = command("doctor")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "  clock             ok       it runs",
        "this machine is fit for qexp",
    ]


def test_a_problem_is_printed_with_its_advice_and_exits_with_1(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    finds(monkeypatch, FIT, UNFIT)
    ended = command("doctor")
    assert ended.code == 1
    assert ended.out.splitlines()[1:] == [
        "  packages          problem  numpy is 1.26.4, but >=2.0 is needed",
        "                             -> install another",
        "problems: packages",
    ]


def test_json_has_every_finding(command: Command, monkeypatch: pytest.MonkeyPatch):
    finds(monkeypatch, FIT, UNFIT)
    ended = command("doctor", "--json")
    assert ended.code == 1
    document = json.loads(ended.out)
    assert document["transcript"] is None
    assert document["findings"][1] == {
        "name": "packages",
        "state": "problem",
        "found": "numpy is 1.26.4, but >=2.0 is needed",
        "advice": "install another",
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--yes"], "--yes: only with --live"),
        (["--backend", "ibm_torino", "--account", "lab"], "--backend, --account: only with --live"),
        (["--live", "--wait", "soon"], "--wait: 'soon' is not a duration"),
        (["--lives"], "unrecognized arguments: --lives"),
    ],
)
def test_wrong_arguments_are_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
):
    finds(monkeypatch)
    ended = command("doctor", *arguments)
    assert ended.code == 2
    assert ended.err.startswith(f"qexp: {reason}")


def test_without_a_terminal_nothing_is_submitted(
    command: Command, monkeypatch: pytest.MonkeyPatch, ibm_emulator: IBMEmulator
):
    finds(monkeypatch)
    for arguments in ([], ["--json"]):
        monkeypatch.setattr("sys.stdin", Typed("y\n") if arguments else io.StringIO("y\n"))
        ended = command("doctor", "--live", "--backend", MANILA, *arguments)
        assert ended.code == 2
        assert "nothing was submitted: add --yes" in ended.err
    assert ibm_emulator.session_ids == []


@pytest.mark.parametrize("answer", ["\n", "n\n", "", "yy\n"])
def test_any_answer_but_yes_submits_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch, ibm_emulator: IBMEmulator, answer: str
):
    finds(monkeypatch)
    monkeypatch.setattr("sys.stdin", Typed(answer))
    ended = command("doctor", "--live", "--backend", MANILA)
    assert ended.code == 2
    assert f"backend    {MANILA}, 5 qubits" in ended.out
    assert "QPU time   4 s predicted, at most 9 s" in ended.out
    assert "submit this? [y/N]" in ended.out
    assert ibm_emulator.session_ids == []
    assert list(Path.cwd().iterdir()) == [Path.cwd() / "cache"] or not list(Path.cwd().iterdir())


def test_without_an_account_live_says_how_to_save_one(
    command: Command, monkeypatch: pytest.MonkeyPatch, ibm_emulator: IBMEmulator
):
    finds(monkeypatch)
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    ended = command("doctor", "--live", "--yes")
    assert ended.code == 2
    assert "no IBM account found: save one" in ended.err


def test_a_transcript_that_cannot_be_written_is_refused_before_anything_is_submitted(
    command: Command, monkeypatch: pytest.MonkeyPatch, ibm_emulator: IBMEmulator
):
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "qexp-doctor.jsonl")

    finds(monkeypatch)
    monkeypatch.setattr("qexp.engines.ibm.transcript.Transcript.__init__", refused)
    ended = command("doctor", "--live", "--yes", "--backend", MANILA)
    assert ended.code == 5
    assert "Permission denied" in ended.err
    assert ibm_emulator.session_ids == []
