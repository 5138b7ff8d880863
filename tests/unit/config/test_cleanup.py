from __future__ import annotations

from pathlib import Path

import pytest

from qexp.config.cleanup import clean_up
from qexp.errors import EngineError, PointsFailedError
from qexp.journal.events import BatchOpened, Event, Started
from qexp.journal.file import Journal
from qexp.journal.lock import lock_folder


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "outputs" / "random_sampling" / "r1"
    path.mkdir(parents=True)
    return path


STARTED = Started("host", 1, "0.1")
OPENED = BatchOpened("b1", "t0k3n")


@pytest.mark.parametrize(
    ("lines", "is_kept"), [([], False), ([STARTED], False), ([STARTED, OPENED], True)]
)
def test_a_run_that_opened_a_batch_is_kept(run_dir: Path, lines: list[Event], is_kept: bool):
    with Journal(run_dir) as journal:
        for line in lines:
            journal.append(line)
    assert clean_up(run_dir, EngineError("x")) is not is_kept
    assert run_dir.exists() is is_kept


def test_the_plan_of_a_sweep_is_kept_though_a_point_cannot_run(run_dir: Path):
    with Journal(run_dir) as journal:
        journal.append(STARTED)
    assert not clean_up(run_dir, PointsFailedError("x", 2))
    assert (run_dir / "journal.jsonl").exists()


def test_a_damaged_journal_may_tell_of_a_batch(run_dir: Path):
    (run_dir / "journal.jsonl").write_text("rubbish\n")
    assert not clean_up(run_dir, EngineError("x"))
    assert (run_dir / "journal.jsonl").exists()


def test_nothing_of_a_run_in_which_another_process_began_is_removed(run_dir: Path):
    (run_dir / "parts").mkdir()
    with lock_folder(run_dir):
        clean_up(run_dir, EngineError("x"))
        assert (run_dir / "parts").exists()
    clean_up(run_dir, EngineError("x"))
    assert not run_dir.exists()
    assert not run_dir.parent.exists()


def test_folders_outside_of_outputs_are_the_users_own(tmp_path: Path):
    run_dir = tmp_path / "mine" / "r1"
    run_dir.mkdir(parents=True)
    clean_up(run_dir, EngineError("x"))
    assert not run_dir.exists()
    assert run_dir.parent.exists()
