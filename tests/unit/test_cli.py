from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from qexp import cli
from qexp.config.hydra_setup import open_nodes, register, shipped_root
from qexp.config.load import load
from qexp.errors import (
    ConfigError,
    EngineError,
    Failed,
    GeneratorError,
    JobsFailedError,
    PlanError,
)

TOKEN = "s3cr3t-token-of-the-tests"
RANDOM = "experiment=random_sampling"
MINE = "experiment=mine"
HEAD = "# @package _global_\ndefaults:\n  - override /circuits: random\n"


@pytest.fixture(autouse=True)
def _quiet_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs in a folder of its own; what a command line changes in its process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_failures", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)


def composed(*overrides: str) -> DictConfig:
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(shipped_root() / "conf"), version_base="1.3"):
        config = compose("qexp", overrides=open_nodes(list(overrides)), return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        return config


def message(*overrides: str) -> str | None:
    """What the command line says of a config that cannot be composed or is not valid."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of many kinds, from Hydra to YAML
        load(composed(*overrides))
    if isinstance(caught.value, ConfigError):
        return str(caught.value)
    return cli._compose_problem(caught.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            [RANDOM, "sed=1"],
            "sed: unknown key; did you mean 'seed'? allowed in the config: backend, batch, "
            "circuits, engine, experiment, limits,",
        ),
        # A group is no key of the config, but what one types at the top.
        (["experimnt=x"], "experimnt: unknown key; did you mean 'experiment'? allowed in the con"),
        (["hydra.rum.dir=x"], "hydra.rum: unknown key; did you mean 'run'? allowed in 'hydra': c"),
        (["experiment=nope"], "experiment=nope: no such choice; allowed: chsh, "),
        (["circuits=randm"], "circuits=randm: no such choice; allowed: broadcast_estimator, "),
        ([RANDOM, "seed"], "Error parsing override 'seed' missing EQUAL at '<EOF>'"),
        ([RANDOM, "circuits.depth=["], "no viable alternative at input '['"),
        ([RANDOM, "~nothing"], "Could not delete from config. 'nothing' does not exist."),
        ([RANDOM, "circuits=random,ghz"], "Ambiguous value for argument 'circuits=random,ghz'"),
        (
            [RANDOM, "backend=ibm"],
            "backend.name: a value is needed; set it on the command line (backend.name=...) or in",
        ),
        (
            [RANDOM, "circuits.depth=${circuits.dept}"],
            "circuits.depth: Interpolation key 'circuits.dept' not found; write the full path",
        ),
        ([RANDOM, "seed=${oc.env:QEXP_NOT_SET}"], "seed: KeyError raised while resolving"),
    ],
)
def test_a_mistake_on_the_command_line(overrides: list[str], expected: str):
    found = message(*overrides)
    assert found is not None
    assert found.startswith(expected)
    assert "\n" not in found


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("seed: [1\n", "a config file is not valid YAML in UTF-8: while parsing a flow sequence"),
        ("seed: 1\nseed: 2\n", "found duplicate key seed in"),
        (b"\xff\xfe", "a config file is not valid YAML in UTF-8: 'utf-8' codec"),
        ("defaults: random\n", "Invalid defaults list in 'experiment/mine', defaults must be a l"),
        (HEAD.replace("random", "randm"), "circuits=randm: no such choice; allowed: broadcast_"),
        (HEAD.replace("circuits", "circuit"), "In 'experiment/mine': Could not override 'circuit'"),
        # Both for the forgotten "# @package _global_".
        (
            HEAD.partition("\n")[2],
            "begin the experiment's file with the line '# @package _global_'",
        ),
        ("seed: 3\n", "experiment: unknown key; begin the experiment's file with the line"),
        (HEAD + "circuit:\n  depth: 3\n", "circuit: unknown key; did you mean 'circuits'?"),
        (
            HEAD + "  - override /primitive: sampler\ncircuits:\n  dept: 3\n",
            "circuits.dept: unknown key; did you mean 'depth'? allowed in 'circuits': ",
        ),
        (
            HEAD + "circuits:\n  depth: ${dept}\n",
            "circuits.depth: Interpolation key 'dept' not found; write the full path of a key",
        ),
        (HEAD + "seed: ${seed}\n", "seed: Recursive interpolation detected"),
        (HEAD + "seed: ${sed:1}\n", "seed: Unsupported interpolation type sed"),
        (HEAD + "name: ${title}\n", "Interpolation key 'title' not found"),
    ],
)
def test_a_mistake_in_an_experiments_file(tmp_path: Path, yaml: str | bytes, expected: str):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_bytes(yaml if isinstance(yaml, bytes) else yaml.encode())
    found = message(MINE)
    assert found is not None
    assert expected in found
    assert "\n" not in found
    if "YAML" in found and isinstance(yaml, str):
        assert str(folder / "mine.yaml") in found


def test_an_interpolation_may_be_escaped():
    spec = load(composed(RANDOM, r"metadata.description='costs \${{'"))
    assert spec.metadata["description"] == "costs ${{"
    assert "description: costs ${{" in spec.config_yaml


def test_what_is_no_mistake_in_a_config_is_no_compose_problem():
    assert cli._compose_problem(RuntimeError("x")) is None
    assert cli._compose_problem(ValueError("x")) is None
    assert cli._compose_problem(EngineError("x")) is None


Fail = Callable[..., Failed | None]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "outputs" / "random_sampling" / "r1"
    path.mkdir(parents=True)
    return path


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
        return cli._app.__wrapped__(composed(RANDOM, f"++hydra.runtime.output_dir={run_dir}"))

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
        # A batch was opened: something may have been measured.
        (EngineError("x"), [*EVERYTHING, "parts/batch.json"], [*EVERYTHING, "parts/batch.json"]),
        (JobsFailedError("x"), ["run.log", "run.h5"], ["run.log", "run.h5"]),
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


@pytest.mark.parametrize(
    ("arguments", "ordered"),
    [
        (["experiment=ghz", "-m", "seed=1,2"], ["-m", "experiment=ghz", "seed=1,2"]),
        (
            ["experiment=ghz", "--cfg", "job", "seed=1"],
            ["--cfg", "job", "experiment=ghz", "seed=1"],
        ),
        (["-sc", "install=bash"], ["-sc", "install=bash"]),
        (["~circuits", "seed=1"], ["~circuits", "seed=1"]),
    ],
)
def test_flags_may_stand_anywhere(arguments: list[str], ordered: list[str]):
    assert cli._flags_first(arguments) == ordered


def exit_of_main(monkeypatch: pytest.MonkeyPatch, app: Callable[[], None]) -> int:
    monkeypatch.setattr(cli, "_app", app)
    monkeypatch.setattr(sys, "argv", ["qexp", "circuits.depth=3", "seed=2"])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def raising(error: BaseException) -> Callable[[], None]:
    def app() -> None:
        raise error

    return app


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


def test_the_exit_code_is_that_of_the_failed_run(monkeypatch):
    assert exit_of_main(monkeypatch, lambda: None) == 0
    assert exit_of_main(monkeypatch, lambda: cli._failures.append(Failed("x", 4))) == 4


def test_the_version(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["qexp", "--version"])
    cli.main()
    assert capsys.readouterr().out.startswith("qexp 0.")
