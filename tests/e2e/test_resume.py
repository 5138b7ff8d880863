"""`python -m qexp resume`, and `run_dir=`, on runs that were made by the real command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import qexp
from qexp.archive.atomic_files import write_with_digest
from qexp.archive.parts import read_json
from tests.e2e.conftest import Cli, Finished
from tests.emulator import INSTANCE, IBMEmulator

SMALL = (
    "experiment=random_sampling",
    "circuits.num_circuits=4",
    "circuits.depth=2",
    "partition.max_circuits=2",
    "primitive.shots=50",
)


def run_dir_of(done: Finished) -> Path:
    (journal,) = (done.folder / "outputs").rglob("journal.jsonl")
    return journal.parent


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a run but its log and lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"run.log", ".lock"}
    }


def cut_journal(folder: Path, last: str) -> None:
    """Leave a run's journal as a process left it that was killed right after an event."""
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    events = [json.loads(line)["event"] for line in lines]
    path.write_bytes(b"".join(lines[: events.index(last) + 1]))


def change_config(folder: Path, old: str, new: str) -> None:
    """Change a run's recorded config, checksum included."""
    path = folder / "parts" / "header.json"
    header = read_json(path)
    assert old in header["config_yaml"]
    header["config_yaml"] = header["config_yaml"].replace(old, new)
    write_with_digest(path, json.dumps(header).encode())


@pytest.fixture
def planned(cli: Cli) -> Finished:
    done = cli(*SMALL, "stop_after=plan")
    assert done.code == 0, done.err
    return done


def test_a_finished_run_is_left_as_it_is(cli: Cli, resume: Cli):
    done = cli(*SMALL)
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    before = content(folder)
    for again in (
        resume(str(folder)),
        resume(str(folder / "run.h5")),
        cli(*SMALL, f"run_dir={folder.relative_to(done.folder)}"),
    ):
        assert (again.code, again.err) == (0, "")
        assert again.out == f"complete, nothing is left to do: {folder / 'run.h5'}\n"
    assert resume("--all", "outputs").out == "outputs: no unfinished run in it (1 runs)\n"
    assert content(folder) == before


def test_a_plan_is_run_from_another_folder_and_gives_the_same_data(
    cli: Cli, resume: Cli, planned: Finished, tmp_path: Path
):
    folder = run_dir_of(planned)
    assert f"python -m qexp resume {folder.relative_to(planned.folder)}" in planned.out
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere / folder.name)
    done = resume(folder.name, folder=elsewhere)
    assert done.code == 0, done.err
    assert f"{folder.name}/run.h5" in done.out
    assert cli(*SMALL, f"run_dir={folder}").code == 0
    with planned.archive() as here, qexp.open_archive(elsewhere / folder.name) as there:
        assert here.status == there.status == "complete"
        assert here.data_sha256 == there.data_sha256
        assert here.run_id == there.run_id == folder.name


def test_a_run_that_was_killed_while_planning_is_planned_again(resume: Cli, planned: Finished):
    folder = run_dir_of(planned)
    cut_journal(folder, "started")
    (folder / "run.h5").unlink()
    listed = resume("--all", ".")
    assert listed.code == 0
    assert "planned, and nothing is submitted; to run it: python -m qexp resume outp" in listed.out
    assert resume(str(folder)).code == 0
    with planned.archive() as run:
        assert run.status == "planned"
        assert "stop_after=plan" in run.overrides
    assert resume(str(folder)).code == 0
    with planned.archive() as run:
        assert run.status == "complete"


def test_all_goes_on_with_what_did_not_end(cli: Cli, resume: Cli, planned: Finished):
    plan = run_dir_of(planned)
    killed, finished = (plan.parent / name for name in ("killed", "finished"))
    # As a run is that was killed once its plan was committed.
    shutil.copytree(plan, killed)
    (killed / "run.h5").unlink()
    cut_journal(killed, "planned")
    change_config(killed, "stop_after: plan", "stop_after: null")
    shutil.copytree(killed, finished)
    assert resume(str(finished)).code == 0
    before = {folder: content(folder) for folder in (plan, finished)}
    done = resume("--all", "outputs")
    assert (done.code, done.err) == (0, "")
    told = f"{plan}: planned, and nothing is submitted; to run it: python -m qexp resume {plan}"
    assert told.replace(f"{planned.folder}/", "") in done.out
    assert str(finished.name) not in done.out
    assert before == {folder: content(folder) for folder in (plan, finished)}
    with qexp.open_archive(killed) as run, qexp.open_archive(finished) as other:
        assert run.status == "complete"
        assert run.data_sha256 == other.data_sha256


def test_another_config_is_refused_and_nothing_changes(cli: Cli, planned: Finished):
    folder = run_dir_of(planned)
    before = content(folder)
    done = cli(*SMALL, "circuits.depth=3", "execution.retries=0", f"run_dir={folder}")
    assert done.code == 2
    assert done.err == (
        f"qexp: run_dir: the run in {folder} has another config: circuits.depth: recorded 2, now 3;"
        f" set it as it was, or leave out run_dir for a new run\n"
    )
    assert cli(*SMALL, "stop_after=plan", f"run_dir={folder}").code == 2
    assert cli("-m", *SMALL, "seed=1,2", f"run_dir={folder}").code == 2
    assert cli(*SMALL, "circuits.dept=3", f"run_dir={folder}").code == 2
    assert content(folder) == before
    assert run_dir_of(planned) == folder


@pytest.mark.parametrize("command", ["cli", "resume"])
def test_a_folder_without_a_run_is_refused_and_left_alone(
    request: pytest.FixtureRequest, command: str, tmp_path: Path
):
    run: Callable[..., Finished] = request.getfixturevalue(command)
    folder = tmp_path / "work" / "mine"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("x")
    for name, message in (("mine", "holds no run"), ("min/typo", "does not exist")):
        done = run(*SMALL, f"run_dir={name}") if command == "cli" else run(name)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert message in done.err
    assert [str(path.relative_to(done.folder)) for path in done.folder.rglob("*")] == [
        "mine",
        "mine/notes.txt",
    ]


EVIL = "import pathlib\npathlib.Path('evil.txt').write_text('x')\n"


def test_a_tampered_header_imports_nothing(resume: Cli, planned: Finished):
    folder = run_dir_of(planned)
    (planned.folder / "evil_module.py").write_text(EVIL)
    change_config(folder, "qexp.engines.local.backends.fake", "evil_module.run")
    done = resume(str(folder))
    assert done.code == 2
    assert "backend._target_: the run's recorded config names 'evil_module.run'" in done.err
    assert "--trust evil_module" in done.err
    assert not (planned.folder / "evil.txt").exists()
    # With trust it is imported, and found to be no backend's selector.
    done = resume(str(folder), "--trust", "evil_module")
    assert done.code == 2
    assert (planned.folder / "evil.txt").exists()


def test_a_damaged_journal_is_reported_with_its_line(cli: Cli, resume: Cli, planned: Finished):
    folder = run_dir_of(planned)
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"planned", b"plunned") + b"".join(lines[2:]))
    before = content(folder)
    for done in (resume(str(folder)), resume("--all", "outputs"), cli(*SMALL, f"run_dir={folder}")):
        assert done.code == 5
        assert "journal.jsonl, line 2: " in done.err
        assert done.err.count("\n") == 1
    assert content(folder) == before


@pytest.fixture
def emulator() -> Iterator[IBMEmulator]:
    with IBMEmulator() as running:
        yield running


def environment(emulator: IBMEmulator) -> dict[str, str]:
    return {name: value for name, value in emulator.env.items() if name != "HOME"}


IBM = (*SMALL, "backend=least_busy", "engine.poll_interval_s=0.1")


def test_a_run_that_is_left_to_itself_is_collected_elsewhere(
    cli: Cli, resume: Cli, emulator: IBMEmulator, tmp_path: Path
):
    env = environment(emulator)
    done = cli(*IBM, "stop_after=submit", env=env)
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    assert not (folder / "run.h5").exists()
    assert "2 of 2 are out, none is waited for" in done.out
    assert f"python -m qexp resume {folder.relative_to(done.folder)}" in done.out
    (session_id,) = emulator.session_ids
    assert session_id in done.out
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere / folder.name)
    done = resume("--all", ".", env=env, folder=elsewhere)
    assert done.code == 0, done.err
    with qexp.open_archive(elsewhere / folder.name) as run:
        assert run.status == "complete"
        assert sorted(job.job_id for job in run.jobs) == sorted(emulator.job_ids)
    # Nothing was submitted again.
    assert emulator.session_ids == [session_id]
    assert len(emulator.journal.find("POST", "/jobs")) == 2


def test_a_damaged_journal_is_repaired_by_the_command_that_is_named(
    cli: Cli, resume: Cli, emulator: IBMEmulator
):
    env = environment(emulator)
    done = cli(*IBM, "stop_after=submit", env=env)
    folder = run_dir_of(done)
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    (opened,) = (line for line in lines if b'"batch_opened"' in line)
    damaged = b"".join(b"foreign\n" if line == opened else line for line in lines)
    path.write_bytes(damaged)
    refused = resume(str(folder), env=env)
    assert refused.code == 5
    assert refused.err.count("\n") == 1
    command = f"python -m qexp resume {folder.relative_to(done.folder)} --repair-journal"
    assert refused.err.endswith(f"{command}\n")
    done = resume(*command.split()[4:], env=env)
    assert (done.code, done.err) == (0, "")
    assert f"{path} is repaired; lines that could not be read: 1, " in done.out
    assert "no token; the damaged journal is kept as journal.jsonl.damaged\n" in done.out
    assert (folder / "journal.jsonl.damaged").read_bytes() == damaged
    with qexp.open_archive(folder) as run:
        assert run.status == "complete"
    assert len(emulator.journal.find("POST", "/jobs")) == 2
    assert len(emulator.session_ids) == 1


def test_what_was_not_recorded_takes_the_original_command_line(
    cli: Cli, resume: Cli, emulator: IBMEmulator
):
    env = environment(emulator)
    declared = (*IBM, f"backend.instance='{INSTANCE}'")
    done = cli(*declared, "stop_after=submit", env=env)
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    refused = resume(str(folder), env=env)
    assert refused.code == 2
    assert "backend.instance: recorded as [redacted]" in refused.err
    assert "run_dir=RUN_DIR" in refused.err
    done = cli(*declared, f"run_dir={folder}", env=env)
    assert done.code == 0, done.err
    with done.archive() as run:
        assert run.status == "complete"
    assert len(emulator.journal.find("POST", "/jobs")) == 2
    for text in (refused.err, done.out, (folder / "journal.jsonl").read_text()):
        assert INSTANCE not in text
