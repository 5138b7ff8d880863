"""Ctrl-C in a run that was started from Python: what is left, and that the process goes on."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qexp
from qexp.archive.schema import JOURNAL_NAME
from tests.emulator import MANILA, faults
from tests.faults.conftest import Scenario

JOBS = 3


@pytest.fixture
def folder(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which nothing is but what the runs make."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def run(**changes: Any) -> qexp.Archive:
    keys = {
        "backend.name": MANILA,
        "circuits.num_circuits": 5,
        "partition.max_circuits": 2,
        "engine.poll_interval_s": 0.02,
    }
    return qexp.run("random_sampling", backend="ibm", shots=20, **keys, **changes)


def runs_in(folder: Path) -> list[Path]:
    return [path.parent for path in folder.rglob(JOURNAL_NAME)]


def interrupt_with(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_what_was_measured_is_kept_and_goes_on(
    scenario: Scenario, folder: Path, number: signal.Signals
) -> None:
    emulator, before = scenario.emulator, signal.getsignal(number)
    emulator.hold()
    scenario.inject(faults.then(faults.POST_JOB, interrupt_with(number), nth=2))
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted; 0 of 3 jobs are kept; go on") as e:
        run()
    assert signal.getsignal(number) is before
    (run_folder,) = runs_in(folder)
    assert str(e.value).endswith(f"python -m qexp resume {run_folder.relative_to(folder)}")
    with qexp.open_archive(run_folder) as partial:
        assert partial.status == "partial"
    emulator.release()
    with qexp.resume(run_folder) as archive:
        assert archive.status == "complete"
    assert scenario.posts() == JOBS


def test_the_second_ctrl_c_leaves_at_once_and_the_process_goes_on(
    scenario: Scenario, folder: Path
) -> None:
    scenario.emulator.hold()

    def twice() -> None:
        # Two of the same kind could reach the process as one.
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)

    scenario.inject(faults.then(faults.LIST_JOBS, twice))
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted; what was measured is kept: python"):
        run()
    (run_folder,) = runs_in(folder)
    scenario.emulator.release()
    with qexp.resume(run_folder) as archive:
        assert archive.status == "complete"
    assert scenario.posts() == JOBS


def test_an_interrupted_thread_leaves_what_the_main_thread_leaves(
    scenario: Scenario, folder: Path
) -> None:
    scenario.emulator.hold()
    raised: list[BaseException] = []

    def call() -> None:
        try:
            run()
        except KeyboardInterrupt as error:
            raised.append(error)

    thread = threading.Thread(target=call)

    def interrupt() -> None:
        # As frontends of notebooks do that run cells in threads.
        ident, error = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, error) == 1

    scenario.inject(faults.then(faults.LIST_JOBS, interrupt))
    thread.start()
    thread.join()
    (error,) = raised
    assert re.match(r"interrupted; 0 of 3 jobs are kept; go on with: python -m qexp", str(error))
    (run_folder,) = runs_in(folder)
    assert qexp.open_archive(run_folder).status == "partial"
    scenario.emulator.release()
    with qexp.resume(run_folder) as archive:
        assert archive.status == "complete"
    assert scenario.posts() == JOBS


def test_nothing_is_left_before_the_first_submission(scenario: Scenario, folder: Path) -> None:
    scenario.inject(faults.then(faults.CONFIGURATION, interrupt_with(signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted before anything was submitted$"):
        run()
    assert list(folder.rglob("*")) in ([], [folder / "outputs"])
    assert scenario.posts() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_stop_during_the_last_collection_is_raised(
    scenario: Scenario, folder: Path, number: signal.Signals
) -> None:
    scenario.inject(faults.then(faults.RESULTS, interrupt_with(number), nth=JOBS))
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted; all 3 jobs are kept: .*run\.h5$"):
        run()
    (run_folder,) = runs_in(folder)
    with qexp.open_archive(run_folder) as archive:
        assert archive.status == "complete"
    assert scenario.posts() == JOBS


def test_a_stop_that_python_drops_submits_nothing(
    scenario: Scenario, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop_one(*_: object) -> list[str]:
        ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()
        return []

    # While the plan is committed.
    monkeypatch.setattr("qexp.preparation.check_max_time", drop_one)
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted before anything was submitted$"):
        run()
    assert runs_in(folder) == []
    assert scenario.posts() == 0


def test_jobs_that_are_left_out_are_collected_later(scenario: Scenario, folder: Path) -> None:
    scenario.emulator.hold()
    left = run(stop_after="submit")
    assert isinstance(left, Path)
    assert runs_in(folder) == [left]
    assert scenario.posts() == JOBS
    scenario.emulator.release()
    with qexp.resume(left) as archive:
        assert archive.status == "complete"
    assert scenario.posts() == JOBS
