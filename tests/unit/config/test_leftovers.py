from __future__ import annotations

from pathlib import Path

import pytest

from qexp.config.leftovers import is_worth_keeping, remove
from qexp.errors import EngineError
from qexp.journal.file import Journal
from qexp.journal.ledger import BatchOpened, Event, Started
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
    assert is_worth_keeping(run_dir, EngineError("x")) is is_kept


def test_a_damaged_journal_may_tell_of_a_batch(run_dir: Path):
    (run_dir / "journal.jsonl").write_text("rubbish\n")
    assert is_worth_keeping(run_dir, EngineError("x"))


def test_nothing_of_a_run_in_which_another_process_began_is_removed(run_dir: Path):
    (run_dir / "parts").mkdir()
    with lock_folder(run_dir):
        remove(run_dir)
        assert (run_dir / "parts").exists()
    remove(run_dir)
    assert not run_dir.exists()
