"""`doctor` as a user runs it, against the emulator, and its transcript against a replay."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli
from tests.emulator import INSTANCE, MANILA, TOKEN, IBMEmulator
from tests.emulator.discovery import ACCOUNT
from tests.emulator.faults import CANCEL_JOB, CLOSE_SESSION, METRICS, edited, status, then
from tests.emulator.replay import Replay

ROOT = Path(__file__).parents[2]
LIVE = ("doctor", "--live", "--yes", "--backend", MANILA)


@pytest.fixture
def emulator():
    """The first job runs once another one was cancelled."""
    with IBMEmulator() as running:
        running.hold()
        running.faults.append(then(CANCEL_JOB, running.release, times=None))
        yield running


def environment(emulator: IBMEmulator) -> dict[str, str]:
    return {name: value for name, value in emulator.proxy_env.items() if name != "HOME"}


def checks_of(out: str) -> str:
    """The findings about the service, without ids and times."""
    checks = out[out.index("  batch ") :]
    return re.sub(r"asked [0-9.]+ s", "asked T s", checks)


def test_without_an_account_a_machine_is_fit_with_a_warning(cli: Cli):
    done = cli("doctor")
    assert (done.code, done.err) == (0, "")
    assert "IBM account       warning  none: only simulators can be used" in done.out
    assert done.out.endswith("this machine is fit for qexp; warnings: IBM account\n")
    assert list(done.folder.iterdir()) == []


def test_a_live_transcript_has_no_secret_and_its_replay_the_same_findings(
    cli: Cli, emulator: IBMEmulator
):
    done = cli(*LIVE, env=environment(emulator))
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("this machine and IBM's service are fit for qexp\n")
    (transcript,) = done.folder.glob("qexp-doctor-*.jsonl")
    assert f"transcript {transcript.name}" in done.out
    text = transcript.read_text()
    for secret in (TOKEN, INSTANCE, ACCOUNT, "eyJ", "crn:", "Bearer"):
        assert secret not in text + done.out

    with subprocess.Popen(
        [sys.executable, "-m", "tests.emulator", "--replay", str(transcript)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as replay:
        assert replay.stdout is not None
        env = {}
        for line in replay.stdout:
            name, equals, value = line.strip().removeprefix("export ").partition("=")
            if not equals:
                assert line.split()[3:] == list(LIVE)
                break
            env[name] = value.strip("'")
        again = cli(*LIVE, env=env, folder=done.folder / "again")
        replay.send_signal(signal.SIGTERM)
    assert again.code == 0
    assert checks_of(again.out) == checks_of(done.out)


def test_broken_promises_end_with_1_and_leave_nothing_open(cli: Cli, emulator: IBMEmulator):
    emulator.faults.append(status(CLOSE_SESSION, 500, times=None))
    emulator.faults.append(edited(METRICS, lambda text: "{}", times=None))
    done = cli(*LIVE, env=environment(emulator))
    assert (done.code, done.err) == (1, "")
    assert done.out.endswith("problems: closing, usage\n")
    (transcript,) = done.folder.glob("qexp-doctor-*.jsonl")
    states = {finding["name"]: finding for finding in Replay.from_file(transcript).findings}
    assert "Emulated status 500" in states["closing"]["found"]
    assert emulator._queue.session_view(emulator.session_ids[0])["state"] == "closed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_it_waits_cancels_and_closes(
    emulator: IBMEmulator, tmp_path: Path, number: signal.Signals
):
    emulator.faults.clear()
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "qexp", *LIVE],
        cwd=tmp_path,
        env={**os.environ, **environment(emulator), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("waiting for job"):
                process.send_signal(number)
                break
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "the findings so far are in the transcript" in err
    assert "was cancelled" in out
    assert set(emulator.job_states().values()) == {"Cancelled"}
    assert emulator._queue.session_view(emulator.session_ids[0])["state"] == "closed"
    (transcript,) = tmp_path.glob("qexp-doctor-*.jsonl")
    last = json.loads(transcript.read_text().splitlines()[-1])
    assert last["finding"]["name"] == "clock skew"
