from __future__ import annotations

import logging
from pathlib import Path

import pytest

from qexp.errors import ConfigError, PlanError
from qexp.runlog import logging_into


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
