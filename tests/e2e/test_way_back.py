"""`cancel`, `status` and `resume --collect-only`, by the real command line against the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import qexp
from qexp.errors import JobsFailedError, UnfinishedError
from qexp.journal.lock import lock_folder
from tests.e2e.conftest import Cli, Finished, _command
from tests.e2e.test_resume import content, environment, run_dir_of
from tests.emulator import (
    INSTANCE,
    INSTANCE_NAME,
    MANILA,
    OTHER_INSTANCE,
    OTHER_INSTANCE_NAME,
    IBMEmulator,
    faults,
)

SMALL = (
    "experiment=random_sampling",
    "circuits.num_circuits=6",
    "circuits.depth=2",
    "partition.max_circuits=2",
    "primitive.shots=50",
)
IBM = (*SMALL, "backend=ibm", f"backend.name={MANILA}", "engine.poll_interval_s=0.1")


@pytest.fixture
def emulator() -> Iterator[IBMEmulator]:
    with IBMEmulator() as running:
        yield running


@pytest.fixture
def verb(tmp_path: Path) -> Cli:
    """Run `python -m qexp VERB ...` in the folder of `cli`."""
    return _command(tmp_path)


def discovering(emulator: IBMEmulator) -> dict[str, str]:
    return {name: value for name, value in emulator.proxy_env.items() if name != "HOME"}


def changes(emulator: IBMEmulator) -> list[str]:
    """Requests that changed something on the service."""
    return [
        f"{record.method} {record.path}"
        for record in emulator.journal
        if record.method != "GET" and not record.path.endswith(("/token", "/search"))
    ]


def posts(emulator: IBMEmulator) -> int:
    return len(emulator.journal.find("POST", "/jobs"))


def one_job_runs(cli: Cli, emulator: IBMEmulator, *more: str) -> Path:
    """Leave a run whose first job is running, the other two queued."""
    emulator.stall_next_job()
    done = cli(*IBM, "stop_after=submit", *more, env=environment(emulator))
    assert done.code == 0, done.err
    emulator.wait_until_running()
    return run_dir_of(done)


def status_of(done: Finished) -> str:
    with done.archive() as run:
        return str(run.status)


def test_status_asks_and_changes_nothing_beside_another_process(
    cli: Cli, verb: Cli, emulator: IBMEmulator
):
    folder = one_job_runs(cli, emulator)
    before, requests = content(folder), changes(emulator)
    with lock_folder(folder):
        holder = content(folder)
        done = verb("status", str(folder), env=environment(emulator))
        assert content(folder) == holder
        as_json = verb("status", "--json", "--all", ".", env=environment(emulator))
    assert (done.code, done.err) == (0, "")
    assert "partitions  3: 0 done, 1 running, 2 queued, 0 failed, 0 never submitted" in done.out
    (session_id,) = emulator.session_ids
    assert f"batches     {session_id} (active)" in done.out
    assert "0.0s so far, 1 charge pending" in done.out
    for command in ("resume", "cancel"):
        assert f"python -m qexp {command} {folder.relative_to(done.folder)}" in done.out
    (listed,) = json.loads(as_json.out)
    assert listed["run"]["state"] == "out"
    assert listed["run"]["usage_pending"] == 1
    assert {key: listed["run"][key] for key in ("partitions", "running", "queued", "done")} == {
        "partitions": 3,
        "running": 1,
        "queued": 2,
        "done": 0,
    }
    assert changes(emulator) == requests
    assert content(folder) == before
    emulator.end_stall()


def test_cancel_keeps_what_runs_and_only_its_user_submits_again(
    cli: Cli, resume: Cli, verb: Cli, emulator: IBMEmulator
):
    env = environment(emulator)
    folder = one_job_runs(cli, emulator)
    (session_id,) = emulator.session_ids
    done = verb("cancel", str(folder), env=env)
    assert done.code == 6
    assert "1 job is still out; 0 of 3 jobs are kept" in done.err
    assert done.err.count("\n") == 1
    for text in (done.out, done.err):
        assert f"resume {folder.relative_to(done.folder)} --collect-only" in text
    assert list(emulator.job_states().values()) == ["Running", "Cancelled", "Cancelled"]
    assert f"DELETE /sessions/{session_id}/close" in changes(emulator)
    # With a job that runs, and no result yet, it has not failed.
    assert status_of(done) == "partial"
    # To cancel it again is harmless, and nobody submits anything by himself.
    assert verb("cancel", "--all", ".", env=env).code == 6
    assert resume("--all", ".", env=env).code == 6
    assert posts(emulator) == 3
    emulator.end_stall()
    emulator.wait_until_idle()
    collected = resume("--all", ".", env=env)
    assert collected.code == 4
    assert "2 of 3 jobs have no result" in collected.err
    with done.archive() as run:
        assert run.status == "partial"
        assert [job.state for job in run.jobs] == ["DONE", "CANCELLED", "CANCELLED"]
        assert [job.failure for job in run.jobs[1:3]] == ["cancelled", "cancelled"]
    left = resume("--all", ".", env=env)
    assert left.code == 0
    assert "cancelled; to submit again what was cancelled: python -m qexp resume" in left.out
    told = verb("status", str(folder), env=env)
    assert ": cancelled on" in told.out
    assert "1 done, 0 running, 0 queued, 2 failed" in told.out
    assert posts(emulator) == 3
    again = resume(str(folder), env=env)
    assert again.code == 0, again.err
    assert "2 partitions are tried again, none of them charged before" in again.err
    assert posts(emulator) == 5
    assert status_of(done) == "complete"


def test_collect_only_takes_what_is_finished(
    cli: Cli, resume: Cli, verb: Cli, emulator: IBMEmulator
):
    env = environment(emulator)
    emulator.fail_next_job("the fridge is warm", 9999, at="end")
    emulator.hold()
    done = cli(*IBM, "stop_after=submit", env=env)
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    waiting = resume(str(folder), "--collect-only", env=env)
    assert waiting.code == 6
    assert "3 jobs are still out; 0 of 3 jobs are kept; go on with: python" in waiting.err
    assert status_of(done) == "partial"
    emulator.release()
    emulator.wait_until_idle()
    requests = changes(emulator)
    taken = resume("--all", ".", "--collect-only", env=env)
    assert taken.code == 6
    assert "1 is to be submitted; 2 of 3 jobs are kept" in taken.err
    assert changes(emulator) == requests
    told = verb("status", str(folder), env=env)
    assert "2 done, 0 running, 0 queued, 1 failed" in told.out
    again = resume(str(folder), env=env)
    assert again.code == 0, again.err
    # It ran before it failed, and was charged.
    assert "1 partition is tried again, 1 of them charged before (2.0s); predicted" in again.err
    assert posts(emulator) == 4
    complete = resume(str(folder), "--collect-only", env=env)
    assert (complete.code, complete.err) == (0, "")
    assert "complete, nothing is left to do" in complete.out


def test_what_the_service_refused_is_tried_again_on_demand(
    cli: Cli, resume: Cli, emulator: IBMEmulator
):
    env = environment(emulator)
    refusal = faults.status(faults.POST_JOB.tagged(r"qexp-job:1\..*"), 413)
    emulator.faults.append(refusal)
    done = cli(*IBM, env=env)
    assert done.code == 4
    folder = run_dir_of(done)
    command = f"python -m qexp resume {folder.relative_to(done.folder)} --retry-refused"
    assert command in done.err
    sent = posts(emulator)
    assert resume(str(folder), env=env).code == 4
    assert posts(emulator) == sent
    again = resume(str(folder), "--retry-refused", env=env)
    assert again.code == 0, again.err
    # It was too large, and has two circuits: each is sent alone.
    assert posts(emulator) == sent + 2
    assert status_of(done) == "complete"


def test_an_instance_that_was_renamed_is_named_anew(
    cli: Cli, resume: Cli, verb: Cli, emulator: IBMEmulator
):
    env = discovering(emulator)
    declared = (*IBM, f"backend.instance={INSTANCE_NAME}")
    done = cli(*declared, "stop_after=submit", env=env)
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    emulator.rename_instance(INSTANCE, "our-instance")
    for lost in (resume(str(folder), env=env), verb("status", str(folder), env=env)):
        assert lost.code == 2
        assert lost.err.count("\n") == 1
        assert "if it was renamed, name it anew: backend.instance=NAME" in lost.err
    told = verb("status", str(folder), "backend.instance=our-instance", env=env)
    assert told.code == 0, told.err
    assert f"resume {folder.relative_to(done.folder)} backend.instance=our-instance" in told.out
    again = resume(str(folder), "backend.instance=our-instance", env=env)
    assert again.code == 0, again.err
    assert posts(emulator) == 3
    assert status_of(done) == "complete"


def test_jobs_that_moved_to_another_instance_are_found_there(
    cli: Cli, verb: Cli, emulator: IBMEmulator
):
    env = discovering(emulator)
    declared = (*IBM, f"backend.instance={INSTANCE_NAME}")
    done = cli(*declared, "stop_after=submit", env=env)
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    emulator.wait_until_idle()
    emulator.move_instance(INSTANCE, OTHER_INSTANCE)
    lost = verb("resume", str(folder), env=env)
    assert lost.code == 6
    assert "knows none of this run's jobs" in lost.err
    assert "backend.instance=NAME" in lost.err
    told = verb("status", str(folder), env=env)
    assert told.code == 3
    assert "knows none of this run's jobs" in told.err
    anew = f"backend.instance={OTHER_INSTANCE_NAME}"
    other = cli(*declared[:-1], anew, "circuits.depth=3", f"run_dir={folder}", env=env)
    assert other.code == 2
    assert "another config: circuits.depth: recorded 2, now 3; " in other.err
    again = cli(*declared[:-1], anew, f"run_dir={folder}", env=env)
    assert again.code == 0, again.err
    assert posts(emulator) == 3
    assert status_of(done) == "complete"


def test_an_instance_that_was_not_recorded_is_given_anew(
    cli: Cli, resume: Cli, emulator: IBMEmulator
):
    env = environment(emulator)
    done = cli(*IBM, f"backend.instance='{INSTANCE}'", "stop_after=submit", env=env)
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    refused = resume(str(folder), env=env)
    assert refused.code == 2
    assert "or give anew backend.instance=..." in refused.err
    again = resume(str(folder), f"backend.instance='{INSTANCE}'", env=env)
    assert again.code == 0, again.err
    assert INSTANCE not in again.out + again.err + (folder / "journal.jsonl").read_text()


def test_pending_charges_are_marked(cli: Cli, verb: Cli, emulator: IBMEmulator):
    def pending(text: str) -> str:
        return text.replace('"complete"', '"pending"')

    env = environment(emulator)
    emulator.faults.append(faults.edited(faults.METRICS, pending, times=2))
    done = cli(*IBM, env=env)
    assert done.code == 0, done.err
    assert "of which 2 charges are pending" in done.out
    folder = run_dir_of(done)
    shown = verb("show", str(folder))
    assert "2 of 3 charges pending" in shown.out
    told = verb("status", str(folder), env=env)
    assert "so far, 2 charges pending" in told.out
    with done.archive() as run:
        assert run.usage_pending == 2


@pytest.mark.parametrize("name", ["cancel", "status", "resume"])
def test_wrong_input_is_one_line(cli: Cli, verb: Cli, name: str):
    done = cli(*SMALL, "stop_after=plan")
    assert done.code == 0, done.err
    folder = run_dir_of(done)
    before = content(folder)
    for words, code, text in (
        ((), 2, "name the folder of a run, or --all"),
        (("nowhere",), 2, "nowhere does not exist"),
        (("--all", "nowhere"), 2, "--all: nowhere does not exist"),
        ((str(folder), "circuits.depth=3"), 2, "circuits.depth=3: a recorded run keeps its"),
        ((str(folder), "backend.instanc=x"), 2, "did you mean backend.instance?"),
        ((str(folder), "backend.instance=x,y"), 2, "only one value each of"),
        ((str(folder), "backend.instance=x"), 2, "backend.instance: unknown key"),
        ((str(folder), "execution.retries=no"), 2, "execution.retries: "),
    ):
        refused = verb(name, *words)
        assert refused.code == code, (words, refused)
        assert text in refused.err
        assert refused.err.count("\n") == 1
        assert refused.out == ""
    assert content(folder) == before


def test_of_a_local_run_nothing_is_out(cli: Cli, resume: Cli, verb: Cli):
    done = cli(*SMALL, "stop_after=plan")
    folder = run_dir_of(done)
    before = content(folder)
    cancelled = verb("cancel", str(folder))
    assert (cancelled.code, cancelled.err) == (0, "")
    assert "the jobs of engine 'local' end with the process that runs them" in cancelled.out
    told = verb("status", str(folder))
    assert (told.code, told.err) == (0, "")
    assert "not submitted on fake_manila" in told.out
    assert "3: 0 done, 0 running, 0 queued, 0 failed, 3 never submitted" in told.out
    collected = resume(str(folder), "--collect-only")
    assert collected.code == 6
    assert "nothing was submitted, so that there is nothing to collect" in collected.err
    assert resume("--all", ".", "--collect-only").code == 0
    assert content(folder).keys() == before.keys()
    with lock_folder(folder):
        locked = verb("cancel", str(folder))
    assert locked.code == 7
    assert "is locked by process" in locked.err
    assert resume(str(folder)).code == 0
    finished = verb("cancel", str(folder))
    assert (finished.code, finished.err) == (0, "")
    assert "complete, nothing is left to cancel" in finished.out
    assert ": complete on fake_manila" in verb("status", str(folder)).out
    assert verb("cancel", "--all", ".").out == ".: no unfinished run in it (1 runs)\n"
    refused = cli(*SMALL, "stop_after=collect")
    assert refused.code == 2
    assert "stop_after" in refused.err


def test_from_python(cli: Cli, emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch):
    folder = one_job_runs(cli, emulator)
    for name, value in environment(emulator).items():
        monkeypatch.setenv(name, value)
    state = qexp.status(folder)
    assert (state.state, state.running, state.queued) == ("out", 1, 2)
    assert "1 running, 2 queued" in str(state)
    with pytest.raises(UnfinishedError, match="1 job is still out"):
        qexp.cancel(folder)
    emulator.end_stall()
    emulator.wait_until_idle()
    with pytest.raises(JobsFailedError, match="2 of 3 jobs have no result"):
        qexp.resume(folder, collect_only=True)
    assert qexp.status(folder).state == "cancelled"
    archive = qexp.cancel(folder)
    assert archive is not None
    assert archive.status == "partial"
    run = qexp.resume(folder, "execution.retries=0")
    assert run.status == "complete"
    assert posts(emulator) == 5
