from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qexp.errors import EngineError, PlanError
from qexp.workers import Workers, available_cores, shared


def scaled(number: int) -> int:
    return number * shared()


def refuse(number: int) -> int:
    raise PlanError(f"circuit {number} is wrong")


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def pool():
    workers = Workers(2, 10)
    yield workers
    workers.close()


def test_results_come_in_the_order_of_the_tasks(pool: Workers):
    assert list(pool.map(scaled, ((number,) for number in range(20)))) == [
        10 * number for number in range(20)
    ]


def test_an_error_of_a_task_is_raised_here(pool: Workers):
    with pytest.raises(PlanError, match="circuit 3 is wrong"):
        list(pool.map(refuse, [(3,)]))
    assert list(pool.map(scaled, [(1,)])) == [10]


def test_a_worker_that_dies_is_told():
    workers = Workers(1, None)
    with pytest.raises(EngineError, match=r"a worker process died.*engine\.workers"):
        list(workers.map(die, [(1,)]))
    workers.close()


def test_what_cannot_be_shared_is_told_at_once():
    with pytest.raises((AttributeError, TypeError)):
        Workers(1, lambda: None)


def test_there_is_a_core():
    assert available_cores() >= 1


KILLED = """
import os, signal
from qexp.workers import Workers
from tests.unit.test_workers import pid
workers = Workers(1, None)
print(next(iter(workers.map(pid, [(0,)]))), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def pid(_: int) -> int:
    return os.getpid()


def test_workers_end_with_a_parent_that_is_killed():
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False
    )
    worker = int(done.stdout)
    deadline = time.monotonic() + 30
    while _is_running(worker):
        assert time.monotonic() < deadline
        os.sched_yield()


def _is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
