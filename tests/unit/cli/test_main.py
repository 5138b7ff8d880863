from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from qexp.cli.verbs import VERBS
from qexp.errors import ConfigError, EngineError
from tests.unit.cli.conftest import Command

TOKEN = "s3cr3t-token-of-the-tests"
NEITHER = "no verb, no flag and no override (key=value);"


@pytest.fixture(autouse=True)
def _quiet_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs in a folder of its own; what a command line changes in its process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_one_screen_with_verbs_and_choices(
    command: Command, tmp_path: Path, flag: str
) -> None:
    mine = tmp_path / "conf" / "experiment" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.touch()
    ended = command("experiment=mine", flag)
    assert (ended.code, ended.err) == (0, "")
    assert all(f"\n  {name} " in ended.out for name in VERBS)
    assert ended.out.count("\n") <= 50
    assert max(map(len, ended.out.splitlines())) <= 100
    for named in ("  experiment  ", "random_sampling", " mine,", "least_busy", "--cfg job"):
        assert named in ended.out


def test_every_verb_explains_itself(command: Command) -> None:
    for verb in VERBS:
        ended = command(verb, "--help")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith(f"usage: python -m qexp {verb}")


@pytest.mark.parametrize("arguments", [["--version"], ["experiment=ghz", "--version"]])
def test_the_version(command: Command, arguments: list[str]) -> None:
    assert command(*arguments).out.startswith("qexp 0.")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["shwo", "x"], f"shwo: {NEITHER} did you mean 'python -m qexp show ...'? "),
        (["ghz"], f"ghz: {NEITHER} did you mean 'experiment=ghz'? 'python -m qexp --help' expl"),
        (["-m", "ghz", "seed=1,2"], f"ghz: {NEITHER} did you mean 'experiment=ghz'? "),
        (["gzh"], f"gzh: {NEITHER} did you mean 'experiment=ghz'? "),
        (["seed=3", "resume", "x"], f"resume: {NEITHER} did you mean 'python -m qexp resume ...'"),
        (["experiment=ghz", "sede"], f"sede: {NEITHER} did you mean 'seed=...'? "),
        (["xyzzy"], f"xyzzy: {NEITHER} 'python -m qexp --help' explains"),
        (["--experiment", "ghz"], f"--experiment: {NEITHER} did you mean 'experiment=ghz'? "),
        (["--experiment=ghz"], f"--experiment=ghz: {NEITHER} did you mean 'experiment=ghz'? "),
        (["-seed", "3"], f"-seed: {NEITHER} did you mean 'seed=3'? "),
        (["--circuits.depth", "seed=3"], f"--circuits.depth: {NEITHER} did you mean 'circuits.dep"),
        (["--multirum"], f"--multirum: {NEITHER} did you mean '--multirun'? "),
        (["--experimnt=ghz"], f"--experimnt=ghz: {NEITHER} did you mean 'experiment=ghz'? "),
        (["--frobnicate"], f"--frobnicate: {NEITHER} 'python -m qexp --help' explains"),
        (["experiment=gzh"], "experiment=gzh: no such choice; did you mean 'ghz'? allowed: "),
        (["--cfg", "jobs"], "argument --cfg/-c: invalid choice: 'jobs' "),
        (["resume"], "name the folder of a run, or --all and a folder with runs in it"),
        (["resume", "--nope"], "unrecognized arguments: --nope; 'python -m qexp resume --help' "),
    ],
)
def test_what_to_type_instead_is_said_in_one_line(
    command: Command, arguments: list[str], line: str
) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert ended.err.startswith(f"qexp: {line}")
    assert ended.err.count("\n") == 1
    assert ended.out == ""


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["experiment=ghz", "--cfg", "job"], "_target_: qexp.circuits.ghz.ghz_circuits"),
        (["--hydra-help"], "--multirun"),
        (["experiment=ghz", "--info", "defaults"], "experiment/ghz"),
    ],
)
def test_hydra_s_own_flags_work(tmp_path: Path, arguments: list[str], printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qexp", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert printed in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("x is\nwrong"), 2, "x is wrong"),
        (EngineError(f"no {TOKEN}"), 3, "no [redacted]"),
        (RuntimeError("x\ny"), 70, "internal error, please report it: RuntimeError: x y"),
        (SystemExit(0), 70, "internal error, please report it: SystemExit: 0"),
        (KeyboardInterrupt(), 130, "interrupted; what was measured is kept"),
        (PermissionError(13, "Permission denied", "x"), 5, "[Errno 13] Permission denied: 'x'"),
        (ConfigError("\x1b[2J"), 2, r"\x1b[2J"),
    ],
)
def test_an_error_is_printed_in_one_place(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def raise_error(_given: object) -> int:
        raise error

    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    monkeypatch.setattr("qexp.cli.ls.run", raise_error)
    ended = command("ls")
    assert (ended.code, ended.err) == (code, f"qexp: {line}\n")


@pytest.mark.parametrize("name", ["ls", "show", "verify"])
def test_a_reader_that_has_seen_enough_is_no_error(name: str, runs: Path) -> None:
    command = [sys.executable, "-m", "qexp", name, str(runs / "e" / "r0-complete")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("show", ()),
        ("verify", ()),
        ("diff", ("sound",)),
        ("analyse", ("ideal",)),
        ("report", ()),
        ("export", ("--to", "csv")),
        ("reproduce", ()),
    ],
)
@pytest.mark.usefixtures("own_process")
def test_a_file_that_lost_its_digest_is_damaged_for_every_command(
    command: Command, runs: Path, tmp_path: Path, name: str, more: tuple[str, ...]
) -> None:
    for folder in ("sound", "edited"):
        (tmp_path / folder).mkdir()
        shutil.copy(runs / "e" / "r0-complete" / "run.h5", tmp_path / folder)
    # As an editor of HDF5 files would do, to which the digest is a dataset like any other.
    with h5py.File(tmp_path / "edited" / "run.h5", "r+") as file:
        del file["file_sha256"]
    before = (tmp_path / "edited" / "run.h5").read_bytes()
    ended = command(name, "edited", *more)
    assert ended.code == 5
    assert ("DAMAGED" if name == "show" else "edited/run.h5") in ended.out + ended.err
    assert (tmp_path / "edited" / "run.h5").read_bytes() == before
    assert [path.name for path in (tmp_path / "edited").iterdir()] == ["run.h5"]
