from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import qexp.experiment
from qexp.archive import parts
from qexp.cli.main import main as command
from qexp.config.load import load
from qexp.core.spec import RunSpec
from qexp.errors import ArchiveError, EngineError, JobsFailedError, RunLockedError
from qexp.experiment import RunReport
from qexp.journal.events import BatchOpened, Ended, Event, Planned, Started
from qexp.journal.file import Journal
from tests.unit.config.conftest import composed

TOKEN = "s3cr3t-token-of-the-tests"
RANDOM = ("experiment=random_sampling",)
STARTED = Started("host", 1, "0.1")
PLANNED = Planned(("0" * 64,))
OPENED = BatchOpened("b1", "t0k3n")


pytestmark = pytest.mark.usefixtures("own_process")


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)


@dataclass
class Resumed:
    """What `qexp.experiment.resume` was called with, and how it is to end, by the folder's name."""

    calls: list[tuple[RunSpec, str]] = field(default_factory=list)
    errors: dict[str, BaseException] = field(default_factory=dict)

    def names(self) -> list[str]:
        return [name for _, name in self.calls]


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> Resumed:
    record = Resumed()

    def fake(spec: RunSpec, run_dir: Path, _observer: object) -> RunReport:
        record.calls.append((spec, run_dir.name))
        if run_dir.name in record.errors:
            raise record.errors[run_dir.name]
        return RunReport(run_dir / "run.h5", "complete", None)

    monkeypatch.setattr(qexp.experiment, "resume", fake)
    return record


Run = Callable[..., Path]


@pytest.fixture
def a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Make a run's folder with a journal and a recorded config."""
    configs: dict[str, str] = {}

    def read_config_yaml(folder: Path) -> str:
        if folder.name not in configs:
            raise ArchiveError("no header")
        return configs[folder.name]

    monkeypatch.setattr(parts, "read_config_yaml", read_config_yaml)

    def make(name: str, *events: Event, overrides: tuple[str, ...] | None = RANDOM) -> Path:
        folder = tmp_path / "outputs" / "e" / name
        (folder / "parts").mkdir(parents=True)
        with Journal(folder) as journal:
            for event in (STARTED, *events):
                journal.append(event)
        if overrides is not None:
            configs[name] = load(composed(*overrides)).config_yaml
        return folder

    return make


def main(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        command(["resume", *map(str, arguments)])
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder of a run, or --all and a folder with runs in it"),
        (["--al"], "argument --all: expected one argument"),
        (["--nope"], "unrecognized arguments: --nope"),
        (["--trust"], "argument --trust: expected one argument"),
        (["nowhere"], "nowhere does not exist; name the folder of a run"),
        (["."], ". holds no run: there is neither journal.jsonl nor run.h5 in it"),
        (["--all", "nowhere"], "--all: nowhere does not exist; name a folder with runs in it"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, arguments: list[str], message: str):
    assert main(*arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"qexp: {message}")
    assert err.count("\n") == 1


def test_a_run_goes_on_with_its_recorded_config(monkeypatch, resumed, a_run):
    folder = a_run("r1", PLANNED, OPENED, overrides=(*RANDOM, "seed=7"))
    assert main(folder) == 0
    assert main("outputs/e/r1/run.h5") == 0
    assert resumed.names() == ["r1", "r1"]
    ((spec,), _) = resumed.calls[0]
    assert spec.seed == 7
    assert spec.workloads[0].primitive.kind == "sampler"


@pytest.mark.parametrize("stop_after", ["plan", "submit"])
def test_where_a_run_was_to_stop_it_goes_on(monkeypatch, resumed, a_run, stop_after: str):
    told = (*RANDOM, f"stop_after={stop_after}", "backend=least_busy")
    folder = a_run("r1", PLANNED, OPENED, overrides=told)
    assert main(folder) == 0
    assert resumed.calls[0][0][0].stop_after is None


def test_the_exit_code_is_the_worst_and_no_error_stops_the_others(
    monkeypatch, capsys, resumed, a_run
):
    resumed.errors = {
        "r1": RunLockedError("x is locked by process 2"),
        "r2": JobsFailedError(f"2 jobs\nfailed {TOKEN}"),
    }
    folders = [a_run(name, PLANNED, OPENED) for name in ("r1", "r2", "r3")]
    assert main(*folders, "nowhere") == 7
    assert resumed.names() == ["r1", "r2", "r3"]
    assert capsys.readouterr().err.splitlines() == [
        f"qexp: {folders[0]}: x is locked by process 2",
        f"qexp: {folders[1]}: 2 jobs failed [redacted]",
        "qexp: nowhere does not exist; name the folder of a run",
    ]


def test_the_traceback_is_in_the_runs_own_log_without_secrets(monkeypatch, capsys, resumed, a_run):
    resumed.errors = {"r1": ZeroDivisionError(f"x {TOKEN}"), "r2": EngineError("gone")}
    first, second = a_run("r1", PLANNED, OPENED), a_run("r2", PLANNED, OPENED)
    assert main(first, second) == 70
    assert f"the traceback is in {first / 'run.log'}" in capsys.readouterr().err
    log = (first / "run.log").read_text()
    assert "ERROR qexp: the run was not resumed to its end" in log
    assert "ZeroDivisionError: x [redacted]" in log
    assert "gone" not in log
    assert "EngineError: gone" in (second / "run.log").read_text()


def test_what_is_not_planned_yet_needs_trust_in_its_generator(monkeypatch, capsys, resumed, a_run):
    chsh = ("experiment=chsh",)
    planned, unplanned = a_run("r1", PLANNED, overrides=chsh), a_run("r2", overrides=chsh)
    assert main(planned, unplanned) == 2
    assert resumed.names() == ["r1"]
    err = capsys.readouterr().err
    assert err.startswith(f"qexp: {unplanned}: circuits._target_: the run's recorded config names ")
    assert "--trust experiments.chsh\n" in err
    # A refusal is no news for the log.
    assert not (unplanned / "run.log").exists()


def test_all_resumes_what_has_not_ended(monkeypatch, capsys, resumed, a_run):
    for name, events in {
        "r1": (PLANNED,),
        "r2": (PLANNED, OPENED),
        "r3": (PLANNED, OPENED, Ended("partial")),
        "r4": (PLANNED, OPENED, Ended("failed")),
        "r5": (PLANNED, Ended("planned")),
        # Killed before it was sealed.
        "r6": (PLANNED, OPENED, Ended("complete")),
    }.items():
        a_run(name, *events)
    a_run("r7", PLANNED, overrides=(*RANDOM, "stop_after=plan"))
    a_run("r8", overrides=None)
    assert main("--all", "outputs") == 0
    assert resumed.names() == ["r1", "r2", "r6"]
    assert capsys.readouterr().out.splitlines() == [
        "outputs/e/r3: ended partial; to try again what failed: python -m qexp resume outputs/e/r3",
        "outputs/e/r4: ended failed; to try again what failed: python -m qexp resume outputs/e/r4",
        "outputs/e/r5: planned, and nothing is submitted; to run it: "
        "python -m qexp resume outputs/e/r5",
        "outputs/e/r7: planned, and nothing is submitted; to run it: "
        "python -m qexp resume outputs/e/r7",
        "outputs/e/r8: stopped before its config was on disk, and nothing was submitted; run its "
        "own command line with run_dir=outputs/e/r8 added, or remove the folder",
    ]


@pytest.mark.parametrize(
    ("events", "code", "message"),
    [((), 2, "r1: stopped before its config was on disk"), ((PLANNED,), 5, "no header")],
)
def test_a_run_without_a_config(monkeypatch, capsys, resumed, a_run, events, code, message):
    assert main(a_run("r1", *events, overrides=None)) == code
    assert message in capsys.readouterr().err
    assert resumed.names() == []


def test_all_names_what_cannot_be_resumed(monkeypatch, capsys, resumed, a_run):
    damaged = a_run("r1", PLANNED, OPENED)
    journal = damaged / "journal.jsonl"
    journal.write_text(f"rubbish\n{journal.read_text()}")
    a_run("r2", PLANNED, OPENED)
    resumed.errors = {"r2": RunLockedError("outputs/e/r2 is locked by process 3")}
    a_run("r3", PLANNED, OPENED)
    assert main("--all", "outputs") == 7
    assert resumed.names() == ["r2", "r3"]
    first, second = capsys.readouterr().err.splitlines()
    assert "r1/journal.jsonl, line 1: checksum mismatch" in first
    assert second == "qexp: outputs/e/r2 is locked by process 3"


def test_outcomes_as_json(monkeypatch, capsys, tmp_path, resumed, a_run):
    a_run("r1", PLANNED)
    a_run("r2", PLANNED, Ended("planned"))
    a_run("r3", PLANNED)
    resumed.errors = {"r3": JobsFailedError(f"no {TOKEN}")}
    assert main("--all", "outputs", "nowhere", "--json") == 4
    assert json.loads(capsys.readouterr().out) == [
        {
            "path": "nowhere",
            "status": None,
            "archive": None,
            "exit_code": 2,
            "message": "nowhere does not exist; name the folder of a run",
        },
        {
            "path": "outputs/e/r1",
            "status": "complete",
            "archive": str(tmp_path / "outputs" / "e" / "r1" / "run.h5"),
            "exit_code": 0,
            "message": None,
        },
        {
            "path": "outputs/e/r2",
            "status": None,
            "archive": None,
            "exit_code": 0,
            "message": "outputs/e/r2: planned, and nothing is submitted; to run it: "
            "python -m qexp resume outputs/e/r2",
        },
        {
            "path": "outputs/e/r3",
            "status": None,
            "archive": None,
            "exit_code": 4,
            "message": "outputs/e/r3: no [redacted]",
        },
    ]


def test_outcomes_before_an_interruption_are_told(monkeypatch, capsys, resumed, a_run):
    resumed.errors = {"r2": KeyboardInterrupt()}
    folders = [a_run(name, PLANNED, OPENED) for name in ("r1", "r2", "r3")]
    assert main("--json", *folders) == 130
    printed = capsys.readouterr()
    assert [outcome["path"] for outcome in json.loads(printed.out)] == [str(folders[0])]
    assert printed.err == "qexp: interrupted; what was measured is kept\n"


def test_all_finds_nothing(monkeypatch, capsys, tmp_path, resumed):
    assert main("--all", tmp_path) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no unfinished run in it (0 runs)\n"


def test_an_interruption_stops_everything(monkeypatch, capsys, resumed, a_run):
    resumed.errors = {"r1": KeyboardInterrupt("interrupted; 1 of 2 jobs are kept")}
    folders = [a_run(name, PLANNED, OPENED) for name in ("r1", "r2")]
    assert main(*folders) == 130
    assert resumed.names() == ["r1"]
    assert capsys.readouterr().err == "qexp: interrupted; 1 of 2 jobs are kept\n"
