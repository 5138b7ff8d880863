from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.errors import ConfigError, PlanError
from qexp.runlog import RunLog, keep_standard_streams, logging_into


def test_warnings_go_to_the_log_and_nothing_else_changes(tmp_path: Path) -> None:
    root, path = logging.getLogger(), tmp_path / "run.log"
    before = root.handlers[:], root.level
    with logging_into(path, "the run failed"):
        assert not path.exists()
        logging.getLogger("elsewhere").warning("take care")
        logging.getLogger("elsewhere").info("never mind")
    assert (root.handlers, root.level) == before
    logging.getLogger("elsewhere").warning("too late")
    (line,) = path.read_text().splitlines()
    assert line.endswith("WARNING elsewhere: take care")


def test_an_error_that_ends_the_run_is_there_with_its_traceback(tmp_path: Path, caplog) -> None:
    path = tmp_path / "run.log"
    with pytest.raises(PlanError), logging_into(path, "the run failed"):
        raise PlanError("too wide")
    text = path.read_text()
    assert "ERROR qexp: the run failed" in text
    assert text.endswith("PlanError: too wide\n")
    # The caller gets it anyway.
    assert not caplog.records


def test_a_mistake_in_the_config_leaves_no_log(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with pytest.raises(ConfigError), logging_into(path, "the run failed"):
        raise ConfigError("seed: got 'x'")
    assert not path.exists()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    with logging_into(tmp_path / "nowhere" / "run.log", "the run failed"):
        logging.getLogger("elsewhere").warning("take care")


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
