"""A budget that stops a run, on the embedded engine and on the service, and what was charged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import qexp
from tests.e2e.conftest import Cli
from tests.emulator import INSTANCE_NAME, MANILA, OTHER_INSTANCE_NAME, IBMEmulator, faults

SMALL = ("experiment=random_sampling", "circuits.num_circuits=6", "partition.max_circuits=2")
ON_IBM = (*SMALL, "backend=ibm", f"backend.name={MANILA}", "engine.poll_interval_s=0.1")


def folder_of(done_in: Path) -> Path:
    (journal,) = (done_in / "outputs").rglob("journal.jsonl")
    return journal.parent


def words(err: str) -> list[str]:
    """The words after the folder in the command that a message ends with."""
    return err.strip().partition("go on with: python -m qexp resume ")[2].split()[1:]


def test_a_plan_above_its_budget_is_refused_and_leaves_nothing(cli: Cli) -> None:
    done = cli(*SMALL, "budget.qpu=5")
    assert done.code == 2
    assert done.err.startswith("qexp: budget.qpu is 5.0s, but all jobs together are predicted to t")
    assert done.err.count("\n") == 1
    assert not list((done.folder / "outputs").rglob("journal.jsonl"))
    shown = cli(*SMALL, "budget.qpu=5", "stop_after=plan")
    assert shown.code == 2
    assert "over   budget.qpu" in shown.out


def test_a_sweep_has_one_budget(cli: Cli) -> None:
    done = cli("-m", *SMALL, "circuits.depth=2,4,6", "budget.qpu=12", "stop_after=plan")
    assert done.code == 2
    assert "all jobs together are predicted to take" in done.err
    done = cli("-m", *SMALL, "circuits.depth=2,4", "budget.qpu=5m,6m", "stop_after=plan")
    assert done.code == 2
    assert "budget.qpu: the points of a sweep share their jobs, and must have" in done.err


def test_a_budget_stops_a_rehearsal_that_was_killed(cli: Cli, resume: Cli, tmp_path: Path) -> None:
    many = (*SMALL[:1], "circuits.num_circuits=100", "partition.max_circuits=1", "seed=4")
    whole = cli(*many)
    with whole.archive() as run:
        digest = run.data_sha256
    command = [sys.executable, "-m", "qexp", *many, "execution.max_pending=1", "budget.qpu=10m"]
    folder = tmp_path / "killed"
    folder.mkdir()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            while not any(
                '"collected"' in one.read_text() for one in folder.rglob("journal.jsonl")
            ):
                assert process.poll() is None
        finally:
            process.kill()
    killed = folder_of(folder)
    # Each job is predicted to take 3.1 s; what was lost with the process does not count.
    stopped = resume(str(killed), "budget.qpu=200")
    assert stopped.code == 6
    assert "budget.qpu is 3m 20s, of which 3m 18s are used, and the next job" in stopped.err
    assert "; 63 of 100 jobs are kept; go on with: " in stopped.err
    # That budget is in force until another is given; `status` names the one that holds all.
    stopped = resume(str(killed))
    assert (stopped.code, "budget.qpu is 3m 20s, of which" in stopped.err) == (6, True)
    [command] = qexp.status(killed).next
    assert command.split()[-1:] == words(stopped.err) == ["budget.qpu=314"]
    again = resume(str(killed), *words(stopped.err))
    assert again.code == 0, again.err
    with qexp.open_archive(killed) as run:
        assert run.data_sha256 == digest


def test_a_budget_stops_a_run_on_the_service(cli: Cli, resume: Cli) -> None:
    def dearer(text: str) -> str:
        reply = json.loads(text)
        reply["usage"]["qpu_charge_time_seconds"] = 40.0
        return json.dumps(reply)

    with IBMEmulator() as emulator:
        env = {name: value for name, value in emulator.proxy_env.items() if name != "HOME"}
        emulator.faults.append(faults.edited(faults.METRICS, dearer, times=None))
        done = cli(*ON_IBM, "budget.qpu=1m", "execution.max_pending=1", env=env)
        assert done.code == 6, done.err
        assert "budget.qpu is 1m 0s, of which 1m 20s are used, and the next job" in done.err
        assert "; 2 of 3 jobs are kept; go on with: " in done.err
        [higher] = words(done.err)
        assert f"{folder_of(done.folder).name} {higher}\n" in done.out
        # By the run's own command line, too.
        folder = folder_of(done.folder)
        same = cli(*ON_IBM, "budget.qpu=70", f"run_dir={folder}", env=env)
        assert (same.code, words(same.err)) == (6, [higher])
        assert len(emulator.job_ids) == 2
        done = resume(str(folder), higher, env=env)
        assert done.code == 0, done.err
        assert len(emulator.job_ids) == 3


def test_the_usage_of_the_account_stands_beside_the_plan(cli: Cli) -> None:
    with IBMEmulator() as emulator:
        env = {name: value for name, value in emulator.proxy_env.items() if name != "HOME"}
        done = cli(*ON_IBM, "stop_after=plan", env=env)
        assert f"all jobs, instance {INSTANCE_NAME}" in done.out
        assert "10h 0m 0s   ok   the account, 0.0s used" in done.out
        # Its limit is null.
        premium = f"backend.instance={OTHER_INSTANCE_NAME}"
        done = cli(*ON_IBM, premium, env=env)
        assert done.code == 0, done.err
        done = cli(*ON_IBM, premium, "stop_after=plan", env=env)
        assert re.search(r"9h 59m \d+s +ok   the account, [1-9]\S*s used", done.out)
        emulator.faults.append(faults.edited(faults.USAGE, faults.garbled, times=None))
        done = cli(*ON_IBM, "stop_after=plan", env=env)
        assert done.code == 0
        assert "not known   ok   the account" in done.out
        assert "warning: reading the usage of the account: " in done.err
    told = cli("usage", "--json")
    rows = json.loads(told.out)
    assert [(row["instance"], row["runs"]) for row in rows] == [(OTHER_INSTANCE_NAME, 1), ("", 1)]
    assert 0.9 < rows[-1]["ratio"] < 1.1
