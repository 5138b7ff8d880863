"""A simulator, a clock and jobs of a local batch, in the hands of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from qexp.core.model import FINAL_STATES, JobRequest, Partition, PrimitiveSpec
from qexp.engines.local.batch import LocalBatch, Simulated
from tests.unit.engines.jobs import go_on

START = 1_700_000_000.0
TIMEOUT_S = 60.0


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Simulator:
    """Simulates by waiting: each job runs until the test lets it go."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.arrived = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def __call__(self, request: JobRequest) -> Simulated:
        pubs = request.load_pubs()
        self.started.append(request.partition.index)
        self.arrived.release()
        assert self.gate.acquire(timeout=TIMEOUT_S)
        return Simulated(
            result=f"result of {len(pubs)}",  # type: ignore[arg-type]
            executions=tuple(10 for _ in pubs),
            options={"default_shots": 10},
            info={"simulator": "none"},
        )

    def wait_until_running(self) -> None:
        assert self.arrived.acquire(timeout=TIMEOUT_S)

    def finish_one(self) -> None:
        self.gate.release()


def job(
    index: int,
    load_pubs: Callable[[], Sequence[Any]] = lambda: ["a", "b"],
    *,
    tags: tuple[str, ...] = ("t",),
    attempt: int = 1,
) -> JobRequest:
    partition = Partition(index, "main", 0, 2, 10, None, 20, 0, 0.0, "end")
    return JobRequest(
        partition, PrimitiveSpec("sampler"), load_pubs, tags, seed=1, attempt=attempt, tag=tags[0]
    )


def wait_for(batch: LocalBatch, *job_ids: str) -> None:
    while not {batch.states()[job_id] for job_id in job_ids} <= FINAL_STATES:
        batch.wait(TIMEOUT_S, go_on)
