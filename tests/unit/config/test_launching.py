from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from qexp.config import launching
from qexp.config.launching import Ends, WatchedLauncher, watched
from qexp.errors import ConfigError, EngineError, Failed, PointsFailedError
from tests.unit.config.conftest import composed

TOO_LARGE, TOO_WARM = Failed("a: too large", 2), Failed("b: too warm", 4)


class StubLauncher(Launcher):
    """Returns what it is given, or raises it."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def setup(self, **_: object) -> None:
        pass

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        if isinstance(self.values[0], BaseException):
            raise self.values[0]
        return [
            JobReturn(overrides=[], status=JobStatus.COMPLETED, _return_value=value)
            for value in self.values
        ]


def unused(*_: object) -> list[None]:
    """Stand in for what runs the points of qexp's own launcher."""
    raise AssertionError


class PluginLauncher(StubLauncher):
    __module__ = "hydra_plugins.stub"


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def ends(told: list[str]) -> Ends:
    return Ends(told.append)


def launch(launcher: Launcher, ends: Ends, *overrides: str) -> Sequence[JobReturn]:
    config = composed("experiment=ghz", "hydra/launcher=basic", *overrides)
    with pytest.MonkeyPatch.context() as patch:
        # Points are declared in tests/e2e/test_sweep_together.py.
        patch.setattr(launching, "write_declaration", lambda *_: None)
        patch.setattr(WatchedLauncher, "launched", lambda *_: None)
        watching = WatchedLauncher(launcher, ends)
        watching.config = config
        return watching.launch([[]], 0)


def test_failures_of_other_processes_are_told_once_and_counted(ends: Ends, told: list[str]):
    here = Failed("here", 3)
    ends.add(here)
    returns = launch(StubLauncher(None, here, TOO_WARM, 0.5, TOO_LARGE), ends)
    assert [one.return_value for one in returns] == [None, here, TOO_WARM, 0.5, TOO_LARGE]
    assert told == ["here", "b: too warm", "a: too large"]
    assert ends.exit_code == 4
    with pytest.raises(PointsFailedError, match=r"^3 of 5 points failed; ") as caught:
        ends.check()
    assert caught.value.exit_code == 4


def test_equal_failures_are_two(ends: Ends, told: list[str]):
    launch(StubLauncher(Failed("x", 2), Failed("x", 2)), ends)
    assert told == ["x", "x"]


def test_another_process_prints_nothing_and_notes_nothing(ends: Ends, told: list[str]):
    child = os.fork()
    if not child:
        ends.add(TOO_LARGE)
        os._exit(len(told) + len(ends.failed))
    assert os.waitpid(child, 0)[1] == 0


def test_a_single_run_that_failed_is_no_sweep(ends: Ends):
    ends.check()
    ends.add(TOO_WARM)
    ends.check()
    assert ends.exit_code == 4


def test_it_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(Ends(print))).exit_code == 0


def test_a_plugin_whose_process_died_is_no_bug(ends: Ends):
    died = RuntimeError("a worker was killed\n" + "x" * 1000)
    with pytest.raises(EngineError) as caught:
        launch(PluginLauncher(died), ends)
    line = str(caught.value)
    assert line.startswith("hydra/launcher=basic: the launcher failed, most likely because one of ")
    assert "(RuntimeError: a worker was killed xxx" in line
    assert "python -m qexp resume outputs/ghz/sweep-" in line
    assert len(line) < 800
    with pytest.raises(RuntimeError):
        launch(StubLauncher(died), ends)


def test_what_a_plugin_has_started_may_go_on_after_an_interruption(ends: Ends):
    with pytest.raises(KeyboardInterrupt, match=r"may go on: .* status outputs/ghz/sweep-"):
        launch(PluginLauncher(KeyboardInterrupt()), ends)
    with pytest.raises(KeyboardInterrupt, match=r"^mine$"):
        launch(StubLauncher(KeyboardInterrupt("mine")), ends)


@pytest.mark.parametrize("error", [ConfigError("x"), FileNotFoundError(2, "No such", "outputs")])
def test_mistakes_stay_what_they_are(ends: Ends, error: Exception):
    with pytest.raises(type(error)):
        launch(PluginLauncher(error), ends)


def test_an_optimiser_goes_no_further_where_no_point_has_a_value(ends: Ends):
    value = "sweep.value=ghz.pooled_population"
    launch(StubLauncher(TOO_LARGE, 0.5), ends, value)
    launch(StubLauncher(TOO_LARGE), ends)
    with pytest.raises(PointsFailedError):
        launch(StubLauncher(TOO_LARGE, TOO_LARGE), ends, value)


def test_hydra_is_as_before_afterwards(ends: Ends):
    before = Plugins.instantiate_sweeper, Plugins.instantiate_launcher
    with pytest.raises(ZeroDivisionError), watched(ends, unused):
        raise ZeroDivisionError
    assert (Plugins.instantiate_sweeper, Plugins.instantiate_launcher) == before


def test_an_optimiser_needs_a_value_before_anything_is_paid_for(ends: Ends, monkeypatch):
    monkeypatch.setattr(Plugins, "instantiate_sweeper", lambda *_, **__: "sweeper")
    config = composed("experiment=ghz", "+hydra.sweeper.direction=minimize")
    HydraConfig.instance().cfg = None
    with watched(ends, unused):
        make = Plugins.instantiate_sweeper
        with pytest.raises(ConfigError, match=r"^hydra/sweeper=qexp: chooses points by their "):
            make(Plugins.instance(), None, print, config)
        config.sweep.value = "ghz.pooled_population"
        assert make(Plugins.instance(), None, print, config) == "sweeper"
    assert HydraConfig.get().sweep.dir.startswith("outputs/ghz/sweep-")
