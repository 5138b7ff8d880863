from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from qexp.core.model import Progress
from qexp.engines.local.batch import LocalBatch
from tests.unit.engines.jobs import go_on
from tests.unit.engines.local.stand_ins import TIMEOUT_S, Simulator, job


def wait_in_a_thread(batch: LocalBatch, is_stopped: Callable[[], bool]) -> threading.Event:
    """Set once `wait` has returned; it is given no timeout that could end it."""
    finished = threading.Event()

    def wait() -> None:
        batch.wait(1e6, is_stopped)
        finished.set()

    threading.Thread(target=wait, daemon=True).start()
    return finished


def test_wait_returns_at_once_for_a_change_that_was_not_seen(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    batch.submit(job(0))
    batch.states()
    simulator.wait_until_running()
    # Without a timeout of its own, a missed change would hang here.
    finished = wait_in_a_thread(batch, go_on)
    simulator.finish_one()
    assert finished.wait(TIMEOUT_S)


def test_wait_returns_at_once_when_nothing_can_change(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    finished = wait_in_a_thread(batch, go_on)
    assert finished.wait(TIMEOUT_S)


def test_wait_returns_when_a_job_has_moved(simulator: Simulator) -> None:
    share = [0.25]
    batch = LocalBatch(
        backend_name="b",
        simulate=simulator,
        progress=lambda requests: Progress(share[0] * len(requests), 3.0),
    )
    batch.submit(job(0))
    simulator.wait_until_running()
    batch.states()
    assert batch.progress() == Progress(0.25, 3.0)
    share[0] = 0.5
    finished = wait_in_a_thread(batch, go_on)
    assert finished.wait(TIMEOUT_S)
    assert batch.states().popitem()[1] == "RUNNING"
    simulator.finish_one()
    batch.close()
    while batch.progress() != Progress(1, 3.0):
        batch.wait(TIMEOUT_S, go_on)


def test_wait_gives_up_after_its_timeout(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    batch.submit(job(0))
    simulator.wait_until_running()
    batch.states()
    batch.wait(0.001, go_on)
    assert set(batch.states().values()) == {"RUNNING"}


def test_wait_calls_is_stopped_again_and_again(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    batch.submit(job(0))
    simulator.wait_until_running()
    batch.states()
    answers = iter([False, False, True])
    finished = wait_in_a_thread(batch, lambda: next(answers))
    assert finished.wait(TIMEOUT_S)
    assert list(answers) == []


def test_a_change_during_a_stopped_wait_ends_the_next_one(
    simulator: Simulator,
) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    batch.submit(job(0))
    simulator.wait_until_running()
    batch.wait(1e6, lambda: True)
    finished = wait_in_a_thread(batch, go_on)
    assert finished.wait(TIMEOUT_S)


def test_a_flag_that_a_signal_sets_ends_the_wait(simulator: Simulator) -> None:
    batch = LocalBatch(backend_name="b", simulate=simulator)
    batch.submit(job(0))
    simulator.wait_until_running()
    batch.states()
    waiting = threading.Event()
    stopped: list[bool] = []
    answers: list[bool] = []

    def is_stopped() -> bool:
        waiting.set()
        answers.append(bool(stopped))
        return answers[-1]

    def interrupt() -> None:
        waiting.wait()
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: stopped.append(True))
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        batch.wait(TIMEOUT_S, is_stopped)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers.count(True) == 1
    assert set(batch.states().values()) == {"RUNNING"}
