from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qexp.errors import EngineError, PlanError
from qexp.workers import Shared, Workers, available_cores, end_workers, workers

TEN = Shared.of([10])


def scaled(factor: list[int], number: int) -> int:
    return number * factor[0]


def raised(factor: list[int], _: int) -> int:
    factor[0] += 1
    return factor[0]


def refuse(_: list[int], number: int) -> int:
    raise PlanError(f"circuit {number} is wrong")


def die(_: list[int], number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def pid(_: object, __: int) -> int:
    return os.getpid()


@pytest.fixture(scope="module")
def pool():
    pool = Workers(2)
    yield pool
    pool.close()


def test_results_come_in_the_order_of_the_tasks(pool: Workers):
    assert list(pool.map(scaled, TEN, ((number,) for number in range(20)))) == [
        10 * number for number in range(20)
    ]


def test_tasks_are_taken_only_a_few_ahead(pool: Workers):
    taken: list[int] = []

    def tasks():
        for number in range(100):
            taken.append(number)
            yield (number,)

    results = pool.map(scaled, TEN, tasks())
    assert next(results) == 0
    assert len(taken) <= 2 * pool.count + 1
    results.close()


def test_an_error_of_a_task_is_raised_here(pool: Workers):
    with pytest.raises(PlanError, match="circuit 3 is wrong"):
        list(pool.map(refuse, TEN, [(3,)]))
    assert list(pool.map(scaled, TEN, [(1,)])) == [10]


def test_a_worker_keeps_a_shared_value_from_task_to_task():
    pool = Workers(1)
    shared = Shared.of([10])
    assert list(pool.map(raised, shared, [(0,)] * 2)) == [11, 12]
    assert list(pool.map(raised, shared, [(0,)])) == [13]
    assert list(pool.map(raised, Shared.of([10]), [(0,)])) == [11]
    pool.close()


def test_a_worker_that_dies_is_told():
    pool = Workers(1)
    with pytest.raises(EngineError, match=r"a worker process died.*engine\.workers"):
        list(pool.map(die, TEN, [(1,)]))
    pool.close()


def test_what_cannot_be_shared_is_told_at_once():
    with pytest.raises((AttributeError, TypeError)):
        Shared.of(lambda: None)


def test_a_process_has_one_pool_until_it_is_ended():
    first = workers(1)
    assert workers(1) is first
    (worker,) = first.map(pid, TEN, [(0,)])
    end_workers()
    assert not first.is_open
    _wait_for_end(worker)
    second = workers(1)
    assert second is not first
    assert workers(2) is not second
    assert not second.is_open
    end_workers()


def test_there_is_a_core():
    assert available_cores() >= 1


KILLED = """
import os, signal
from qexp.workers import Shared, Workers
from tests.unit.test_workers import pid
pool = Workers(1)
print(next(pool.map(pid, Shared.of(None), [(0,)])), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_is_killed():
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False
    )
    _wait_for_end(int(done.stdout))


def _wait_for_end(process: int) -> None:
    deadline = time.monotonic() + 30
    while _is_running(process):
        assert time.monotonic() < deadline
        os.sched_yield()


def _is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
