from __future__ import annotations

import subprocess
import sys

import pytest

from qexp.archive.apart import Apart, ApartError, call_apart
from qexp.errors import ArchiveError

GLOB = "glob:iglob"  # A function of one text that yields.


def answering(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Another process than the real one answers, once it is asked."""
    start = subprocess.Popen

    def other(command: list[str], **options: object) -> object:
        program = f"import os, sys; sys.stdin.readline(); {code}"
        return start([sys.executable, "-S", "-c", program], **options)  # type: ignore[call-overload]

    monkeypatch.setattr("subprocess.Popen", other)


def test_one_process_answers_many_times() -> None:
    with Apart(GLOB) as apart:
        assert list(apart.each("/", 60)) == ["/"]
        process = apart._process
        assert list(apart.each("/absent*", 60)) == []
        assert apart._process is process


def test_errors_are_one_line_and_end_nothing() -> None:
    with Apart("qexp.archive.verify:problems") as apart:
        ((kind, line),) = apart.each("/absent", 60)
        assert kind == "result"
        assert "/absent" in line
    with Apart("builtins:int") as apart:
        for _ in range(2):
            with pytest.raises(ArchiveError, match="no number is damaged"):
                list(apart.each("no number", 60))


def test_the_error_of_an_archive_is_raised_here() -> None:
    with pytest.raises(ArchiveError, match="/absent"):
        call_apart("qexp.cli.show:render", "/absent", 60, "json", "80")


def test_what_never_ends_is_stopped_and_what_it_said_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, "print('[\"value\", 1]', flush=True); sys.stdin.readline()")
    found = []
    with Apart(GLOB) as apart, pytest.raises(ApartError, match="took more than 0 s"):
        found.extend(apart.each("x", 0.4))
    assert apart._process is None


def test_a_process_that_dies_is_told_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        answering(patched, "os.abort()")
        apart = Apart(GLOB)
        with pytest.raises(ApartError, match="ended the process"):
            list(apart.each("/", 60))
    with apart:
        assert list(apart.each("/", 60)) == ["/"]


def test_an_answer_that_was_not_heard_to_its_end_is_not_that_to_the_next_call() -> None:
    with Apart(GLOB) as apart:
        answer = apart.each("/*", 60)
        assert next(answer)
        answer.close()
        assert list(apart.each("/", 60)) == ["/"]
