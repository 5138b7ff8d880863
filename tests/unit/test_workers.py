from __future__ import annotations

import gc
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qexp.errors import EngineError, PlanError
from qexp.fork_server import PRELOADED
from qexp.workers import NotShareableError, Shared, Workers, available_cores

TEN = Shared([10])
ROOT = Path(__file__).parents[2]


def scaled(factor: list[int], number: int) -> int:
    return number * factor[0]


def raised(factor: list[int], _: int) -> int:
    factor[0] += 1
    return factor[0]


def refuse(_: list[int], number: int) -> int:
    raise PlanError(f"circuit {number} is wrong")


def stumble(_: list[int], number: int) -> float:
    return number / 0


def die(_: list[int], number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def pid(_: object, __: int) -> int:
    return os.getpid()


def num_frozen(_: object) -> int:
    return gc.get_freeze_count()


def sleep(_: object, pipe: str) -> None:
    Path(pipe).write_text("begun")
    time.sleep(1000)


@pytest.fixture(scope="module")
def pool():
    with Workers(2) as pool:
        yield pool


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


def test_an_unforeseen_error_has_the_traceback_of_the_worker(pool: Workers):
    error = pool.begin(stumble, TEN, 3).exception()
    assert isinstance(error, ZeroDivisionError)
    assert "in stumble" in error.__notes__[0]


def test_a_worker_keeps_a_shared_value_from_task_to_task():
    shared = Shared([10])
    with Workers(1) as pool:
        assert list(pool.map(raised, shared, [(0,)] * 2)) == [11, 12]
        assert list(pool.map(raised, shared, [(0,)])) == [13]
        assert list(pool.map(raised, Shared([10]), [(0,)])) == [11]
        assert list(pool.map(raised, shared, [(0,)])) == [14]


def test_a_worker_collects_no_garbage_among_what_the_server_imported(pool: Workers):
    assert pool.begin(num_frozen, TEN).result() > 10_000


def test_a_worker_that_dies_costs_its_task_and_is_replaced():
    with Workers(1) as pool:
        doomed, next_one = pool.begin(die, TEN, 1), pool.begin(scaled, TEN, 1)
        with pytest.raises(EngineError, match=r"a worker process died.*engine\.workers"):
            doomed.result()
        assert next_one.result() == 10


def test_values_that_cannot_be_shared_are_refused_at_once():
    with pytest.raises(NotShareableError, match="cannot be pickled"):
        Shared(lambda: None)


def test_a_task_that_cannot_be_shared_is_done_here(pool: Workers):
    lock = threading.Lock()
    here, there = pool.map(pid, TEN, [(lock,), (0,)])
    assert here == os.getpid() != there


def test_retired_workers_end_once_they_are_done_and_later_tasks_have_new_ones():
    with Workers(1) as pool:
        first = pool.begin(pid, TEN, 0).result()
        pool.retire()
        _wait_for_end(first)
        assert pool.begin(pid, TEN, 0).result() != first


def test_ended_workers_are_gone_whatever_they_are_doing(tmp_path: Path):
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    with Workers(1) as pool:
        worker = pool.begin(pid, TEN, 0).result()
        endless, waiting = pool.begin(sleep, TEN, str(begun)), pool.begin(pid, TEN, 0)
        assert begun.read_text() == "begun"
    _wait_for_end(worker)
    for future in (endless, waiting):
        assert isinstance(future.exception(), EngineError)
    with pytest.raises(EngineError):
        pool.begin(pid, TEN, 0)


def test_there_is_a_core():
    assert available_cores() >= 1


def test_everything_that_is_preloaded_exists():
    assert [name for name in PRELOADED if importlib.util.find_spec(name) is None] == []


KILLED = """
import os, signal
from qexp.workers import Shared, Workers
from tests.unit.test_workers import pid
pool = Workers(1)
print(next(pool.map(pid, Shared(None), [(0,)])), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_is_killed():
    done = _run("-c", KILLED)
    _wait_for_end(int(done.stdout))


UNGUARDED = """
import threading
from qexp.workers import NotShareableError, Shared, Workers

class Own:
    pass

def work():
    with Workers(2) as workers:
        try:
            Shared(Own())
        except NotShareableError as error:
            print(error)
        print(list(workers.map(isinstance, Shared(3), ((int,), (Own,)))))

print("running", __name__)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path):
    """In a thread, too; what it defines itself is not sent to workers."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    assert _run(str(script)).stdout.splitlines() == [
        "running __main__",
        "it is defined in __main__",
        "[True, False]",
    ]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


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
