"""The terminal of a sweep, at each of its ends."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Cli
from tests.emulator import IBMEmulator

SWEEP = ("-m", "experiment=ghz", "circuits.num_qubits=2,3", "primitive.shots=100,200")


@pytest.fixture
def emulator():
    with IBMEmulator() as running:
        yield running


def folder_of(out: str) -> str:
    (folder,) = re.findall(r"^sweep +(outputs/\S+)$", out, flags=re.MULTILINE)
    return str(folder)


def test_a_plan_of_which_a_point_cannot_run_and_what_it_says_is_next(cli: Cli, resume: Cli):
    wide = [item.replace("=2,3", "=2,9") for item in SWEEP]
    done = cli(*wide, "stop_after=plan")
    assert done.code == 2
    assert done.err.count(" cannot run: ") == 2
    assert "point 0003 (circuits.num_qubits=9 primitive.shots=200) cannot run: PUB 0" in done.err
    # Two points of different shots, which share no job.
    assert re.search(r"^ +main +2 +2 +2 +300 ", done.out, flags=re.MULTILINE)
    folder = folder_of(done.out)
    assert f"next     python -m qexp resume {folder}\n" in done.out
    typed = " ".join(wide[1:])
    assert f"or       python -m qexp -m {typed}\n" in done.out
    again = resume(folder)
    assert again.code == 2
    once_more = resume(folder)
    assert once_more.code == 2
    assert "points   2 of 4 done, 2 failed\n" in once_more.out
    assert "point 0000 (circuits.num_qubits=2 primitive.shots=100): done; ghz: " in again.out
    assert "point 0003 (circuits.num_qubits=9 primitive.shots=200): failed: PUB 0" in again.out
    assert "points   2 of 4 done, 2 failed\n" in again.out


def test_a_sweep_on_ibms_service_that_is_left_and_collected(
    cli: Cli, resume: Cli, emulator: IBMEmulator
):
    env = {name: value for name, value in emulator.env.items() if name != "HOME"}
    sent = cli(
        *SWEEP, "backend=least_busy", "engine.poll_interval_s=0.1", "stop_after=submit", env=env
    )
    assert sent.code == 0, sent.err
    folder = folder_of(sent.out)
    # The points of equal shots share a job.
    assert "points   0 of 4 done\njobs     2 are out, none is waited for\n" in sent.out
    assert f"status   python -m qexp status {folder}\n" in sent.out
    done = resume(folder, env=env)
    assert done.code == 0, done.err
    assert done.err == ""
    assert done.out.count("points that agree in that") == 1
    assert re.findall(r"^point (\d+) .*: done; ghz: ", done.out, flags=re.MULTILINE) == [
        f"{number:04d}" for number in range(4)
    ]
    assert "points   4 of 4 done\n" in done.out
    assert "jobs     2 planned, 4 PUBs\n" in done.out
    assert re.search(rf"qexp\.open_sweep\('.*{folder}'\)", done.out)
