from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig

from qexp.cli import job as cli
from qexp.cli.main import main as command
from qexp.cli.output import print_error
from qexp.config import hydra_internals
from qexp.config.launching import Ends
from qexp.errors import (
    ConfigError,
    EngineError,
    Failed,
    GeneratorError,
    JobsFailedError,
    PlanError,
    RunLockedError,
    UnfinishedError,
)
from tests.unit.config.conftest import composed

TOKEN = "s3cr3t-token-of-the-tests"
RANDOM = "experiment=random_sampling"


@pytest.fixture(autouse=True)
def _quiet_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs in a folder of its own; what a command line changes in its process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["qexp"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)


Fail = Callable[..., Failed | None]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "outputs" / "random_sampling" / "r1"
    path.mkdir(parents=True)
    return path


def run_point(config: DictConfig) -> Failed | None:
    ends = Ends(print_error)
    failed = cli.run_point(config, ends)
    assert ends.failed == ([] if failed is None else [failed])
    return failed


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch, run_dir: Path) -> Fail:
    """One run, of which everything after composing is to write files and `raise error`."""

    def _fail(error: BaseException, made: Sequence[str] = ()) -> Failed | None:
        def _raise(*_: object) -> None:
            for name in made:
                (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
                (run_dir / name).write_text("x")
            raise error

        monkeypatch.setattr(cli, "_run", _raise)
        return run_point(composed(RANDOM, f"++hydra.runtime.output_dir={run_dir}"))

    return _fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x is\nwrong"), 2),
        (PlanError("x is\nwrong"), 2),
        (EngineError("x is\nwrong"), 3),
        (JobsFailedError("x is\nwrong"), 4),
    ],
)
def test_an_error_for_the_user_is_one_line(fail: Fail, capsys, error: Exception, code: int):
    assert fail(error) == Failed("x is wrong", code)
    assert capsys.readouterr().err == "qexp: x is wrong\n"


def test_an_internal_error_names_the_log_and_no_secret(fail: Fail, capsys, run_dir: Path):
    failed = fail(KeyError(f"no {TOKEN}"))
    assert failed == Failed(
        "internal error, please report it: KeyError: 'no [redacted]'; the traceback is in "
        f"{run_dir / 'run.log'}",
        70,
    )
    assert TOKEN not in capsys.readouterr().err


def test_an_interruption_is_left_to_stop_a_sweep(fail: Fail):
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())


EVERYTHING = ["run.log", "parts/header.json"]


@pytest.mark.parametrize(
    ("error", "made", "kept"),
    [
        (ConfigError("x"), ["run.log"], []),
        (PlanError("x"), EVERYTHING, []),
        (EngineError("x"), EVERYTHING, []),
        # The user's generator failed, or qexp did: the traceback is in the log.
        (GeneratorError("x"), EVERYTHING, ["run.log"]),
        (ZeroDivisionError("x"), EVERYTHING, ["run.log"]),
        (SystemExit(0), EVERYTHING, ["run.log"]),
        (JobsFailedError("x"), ["run.log", "run.h5"], ["run.log", "run.h5"]),
        # It can be resumed, or is another process's.
        (UnfinishedError("x"), EVERYTHING, EVERYTHING),
        (RunLockedError("x"), EVERYTHING, EVERYTHING),
    ],
)
def test_what_a_run_that_never_came_to_a_batch_leaves(
    fail: Fail, run_dir: Path, error: BaseException, made: list[str], kept: list[str]
):
    assert fail(error, made) is not None
    left = [str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(kept)
    assert run_dir.parent.exists() is bool(kept)
    assert run_dir.parents[1].exists()


def test_nothing_of_a_run_that_is_gone_on_with_is_removed(run_dir: Path, monkeypatch):
    (run_dir / "journal.jsonl").touch()
    before = sorted(run_dir.iterdir())
    other = run_dir.parent / "r2"
    other.mkdir()
    for output_dir in (run_dir, other):
        config = composed(
            RANDOM, f"run_dir={run_dir}", "+sede=3", f"++hydra.runtime.output_dir={output_dir}"
        )
        assert run_point(config).exit_code == 2
    assert sorted(run_dir.iterdir()) == before


def test_only_the_folder_of_the_run_is_gone_on_in(run_dir: Path):
    (run_dir / "journal.jsonl").touch()
    other = run_dir.parent / "r2"
    other.mkdir()
    config = composed(RANDOM, f"run_dir={run_dir}", f"++hydra.runtime.output_dir={other}")
    failed = run_point(config)
    assert failed.exit_code == 2
    assert failed.message.startswith(f"hydra.run.dir: {other} is not the folder of the run that ")


@pytest.mark.parametrize("before", ["other/r0/run.h5", "notes.txt", "parts/job-000000.h5"])
def test_nothing_that_was_there_before_is_removed(fail: Fail, run_dir: Path, before: str):
    path = run_dir / before
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    fail(ConfigError("x"))
    assert path.read_text() == "x"


def test_an_interruption_before_the_batch_says_so_and_leaves_nothing(fail: Fail, run_dir: Path):
    with pytest.raises(KeyboardInterrupt, match="before anything was submitted"):
        fail(KeyboardInterrupt(), EVERYTHING)
    assert not run_dir.exists()


def exit_of_main(monkeypatch: pytest.MonkeyPatch, main: Callable[..., None]) -> int:
    """Exit code of a command line whose composing and running is `main`."""
    monkeypatch.setattr(hydra_internals.hydra, "main", lambda **_: main)
    with pytest.raises(SystemExit) as ended:
        command(["circuits.depth=3", "seed=2"])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def raising(error: BaseException) -> Callable[..., Callable[[], None]]:
    def app() -> None:
        raise error

    return lambda _task: app


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "qexp: interrupted; what was measured is kept"),
        (EngineError(f"no {TOKEN}"), 3, "qexp: no [redacted]"),
        (RuntimeError("x\ny"), 70, "qexp: internal error, please report it: RuntimeError: x y"),
        (
            PermissionError(13, "Permission denied", "outputs/x"),
            2,
            "qexp: outputs/x: Permission denied; choose a folder that you can write to",
        ),
    ],
)
def test_what_ends_the_program(monkeypatch, capsys, error: BaseException, code: int, line: str):
    assert exit_of_main(monkeypatch, raising(error)) == code
    assert capsys.readouterr().err == f"{line}\n"
    # Or Hydra would print errors in its own way, whatever the environment says.
    assert os.environ["HYDRA_FULL_ERROR"] == "1"
    assert sys.argv[1:] == ["++circuits.depth=3", "seed=2"]


def test_the_exit_code_is_that_of_the_failed_run(monkeypatch, capsys, run_dir: Path):
    def fail(_config: object, _run_dir: Path) -> None:
        raise JobsFailedError("x")

    config = composed(RANDOM, f"++hydra.runtime.output_dir={run_dir}")
    assert exit_of_main(monkeypatch, lambda _task: lambda: None) == 0
    monkeypatch.setattr(cli, "_run", fail)
    assert exit_of_main(monkeypatch, lambda task: lambda: task(config)) == 4
    assert capsys.readouterr().err == "qexp: x\n"
