from __future__ import annotations

import subprocess
import sys

import pytest

from qexp.archive.isolated import IsolatedError, IsolatedReader, read_isolated
from qexp.errors import ArchiveError

GLOB = "glob:iglob"  # A function of one text that yields.


def answering(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let another program than the real one answer requests."""
    start = subprocess.Popen

    def other(command: list[str], **options: object) -> object:
        program = f"import os, sys; sys.stdin.readline(); {code}"
        return start([sys.executable, "-S", "-c", program], **options)  # type: ignore[call-overload]

    monkeypatch.setattr("subprocess.Popen", other)


def test_one_process_answers_many_times() -> None:
    with IsolatedReader(GLOB) as reader:
        assert list(reader.read("/", 60)) == ["/"]
        process = reader._process
        assert list(reader.read("/absent*", 60)) == []
        assert reader._process is process


def test_errors_are_one_line_and_the_process_goes_on() -> None:
    with IsolatedReader("qexp.archive.verify:problems") as reader:
        ((kind, line),) = reader.read("/absent", 60)
        assert kind == "result"
        assert "/absent" in line
    with IsolatedReader("builtins:int") as reader:
        for _ in range(2):
            with pytest.raises(ArchiveError, match="no number is damaged"):
                list(reader.read("no number", 60))


def test_an_archive_error_is_raised_in_the_calling_process() -> None:
    with pytest.raises(ArchiveError, match="/absent"):
        read_isolated("qexp.cli.show:render", "/absent", 60, "json", "80")


def test_a_call_that_never_ends_is_stopped_and_its_values_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, "print('[\"value\", 1]', flush=True); sys.stdin.readline()")
    found = []
    with IsolatedReader(GLOB) as reader, pytest.raises(IsolatedError, match="took more than 0 s"):
        found.extend(reader.read("x", 0.4))
    assert reader._process is None


def test_a_process_that_dies_is_reported_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        answering(patched, "os.abort()")
        reader = IsolatedReader(GLOB)
        with pytest.raises(IsolatedError, match="ended the process"):
            list(reader.read("/", 60))
    with reader:
        assert list(reader.read("/", 60)) == ["/"]


def test_the_rest_of_an_abandoned_reply_does_not_answer_the_next_call() -> None:
    with IsolatedReader(GLOB) as reader:
        answer = reader.read("/*", 60)
        assert next(answer)
        answer.close()
        assert list(reader.read("/", 60)) == ["/"]
