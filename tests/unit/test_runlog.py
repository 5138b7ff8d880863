from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.runlog import RunLog, keep_standard_streams


def narrow(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, write_through=True))
    keep_standard_streams()
    return written


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"1.5 +/- 0.1 us, ---, Gr\\xf6\\xdfe, \\U0001f600"),
        ("cp1252", b"1.5 \xb1 0.1 \xb5s, ---, Gr\xf6\xdfe, \\U0001f600"),
    ],
)
def test_a_character_that_the_output_lacks_is_written_in_others(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes
):
    written = narrow(monkeypatch, encoding)
    sys.stdout.write("1.5 ± 0.1 µs, ───, Größe, 😀")
    assert written.getvalue() == expected


@given(text=st.text(st.characters(exclude_categories=[])))
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_any_text_can_be_written(encoding: str, text: str):
    with pytest.MonkeyPatch.context() as monkeypatch:
        written = narrow(monkeypatch, encoding)
        sys.stdout.write(text)
        written.getvalue().decode(encoding)


def test_the_log_is_utf_8_and_takes_any_text(tmp_path: Path):
    log = RunLog(str(tmp_path / "run.log"), delay=True)
    log.emit(logging.LogRecord("x", logging.INFO, "f", 1, "Größe \udcff", None, None))
    log.close()
    assert (tmp_path / "run.log").read_text("utf-8") == "Größe \\udcff\n"
