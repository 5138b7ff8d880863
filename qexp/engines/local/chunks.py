"""Jobs in chunks of PUBs, each with a seed of its own, so that any number of workers can share one.

Chunks depend on the job alone, and so does the data, however many workers there are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from qexp.core.model import JobRequest
from qexp.core.seeds import as_int, child
from qexp.engines.local.job import Simulated
from qexp.engines.local.simulation import Simulation
from qexp.errors import EngineError
from qexp.workers import Shared, Workers, workers

_log = logging.getLogger(__name__)

CHUNK_PUBS = 25

_WORTH_A_POOL = 3
"""Chunks of a job from which on worker processes save more time than their start costs."""


@dataclass(frozen=True)
class _Chunk:
    """PUBs `first <= index < stop` of a job."""

    first: int
    stop: int
    seed: int

    def run(self, simulation: Simulation, request: JobRequest, pubs: Sequence[Any]) -> Simulated:
        part = replace(request, seed=self.seed)
        return simulation.run(part, pubs[self.first : self.stop])


@dataclass(frozen=True)
class _StartedJob:
    """A job that workers are simulating. It keeps the request alive, and so its `id()`."""

    request: JobRequest
    pool: Workers
    futures: list[Future[Simulated]]

    def results(self) -> list[Simulated]:
        return [self.pool.result(future) for future in self.futures]


class ChunkedSimulation:
    """Simulates jobs chunk by chunk, here or in worker processes.

    Args:
        make: Makes the simulation when it is first needed.
        num_workers: Number of worker processes; 1: everything is simulated here.
    """

    def __init__(self, make: Callable[[], Simulation], num_workers: int = 1) -> None:
        self._make = make
        self._num_workers = num_workers
        self._pool: Workers | None = None
        self._started: dict[int, _StartedJob] = {}
        self._is_closed = False

    @cached_property
    def _simulation(self) -> Simulation:
        return self._make()

    @cached_property
    def _shared(self) -> Shared | None:
        try:
            return Shared.of(self._simulation)
        except Exception:
            # A user's own backend need not be picklable.
            _log.warning("jobs are simulated without worker processes", exc_info=True)
            return None

    def close(self) -> None:
        """Stop the worker processes, whatever they are simulating; no job can be run any more."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.close()

    def prepare(self, request: JobRequest) -> None:
        """Let worker processes start with a job that will be run soon, if it is large enough.

        Raises:
            EngineError: A worker process died.
        """
        started = self._started.get(id(request))
        if started is None or not started.pool.is_open:
            self._start(request)

    def _start(self, request: JobRequest) -> None:
        self._started.pop(id(request), None)
        if self._is_closed:
            raise EngineError("the batch was abandoned; its jobs are not simulated any more")
        chunks = _chunks(request)
        if self._num_workers == 1 or len(chunks) < _WORTH_A_POOL or self._shared is None:
            return
        pool = self._pool = workers(self._num_workers)
        futures = [pool.begin(_simulate, self._shared, request, chunk) for chunk in chunks]
        self._started[id(request)] = _StartedJob(request, pool, futures)

    def run(self, request: JobRequest) -> Simulated:
        """Simulate one job.

        Raises:
            EngineError: The simulator reports a failure, or a worker process died.
            ArchiveError: The PUBs cannot be loaded.
        """
        self.prepare(request)
        if id(request) in self._started:
            parts = self._results(request)
        else:
            pubs = request.load_pubs()
            parts = [chunk.run(self._simulation, request, pubs) for chunk in _chunks(request)]
        return replace(
            _join(parts),
            options=self._simulation.options_in_force(request),
            # One object for all jobs, so that it is neither sent nor written many times.
            backend_properties=self._simulation.properties,
        )

    def _results(self, request: JobRequest) -> list[Simulated]:
        started = self._started.pop(id(request))
        try:
            return started.results()
        except EngineError:
            if started.pool.is_open or self._is_closed or not self._started:
                raise
        # A worker died, perhaps of another job's chunk: start this job once more, alone.
        self._started.clear()
        self._start(request)
        return self._started.pop(id(request)).results()


def _simulate(simulation: Simulation, request: JobRequest, chunk: _Chunk) -> Simulated:
    """Simulate a part of a job in a worker."""
    simulated = chunk.run(simulation, request, simulation.load_pubs(request))
    return replace(simulated, backend_properties=None)


def _chunks(request: JobRequest) -> list[_Chunk]:
    sequence, count = np.random.SeedSequence(request.seed), request.partition.num_pubs
    return [
        _Chunk(first, min(first + CHUNK_PUBS, count), as_int(child(sequence, first)))
        for first in range(0, count, CHUNK_PUBS)
    ]


def _join(parts: Sequence[Simulated]) -> Simulated:
    from qiskit.primitives import PrimitiveResult

    first = parts[0]
    if len(parts) == 1:
        return first
    results = [pub for part in parts for pub in part.result]
    return replace(
        first,
        result=PrimitiveResult(results, metadata=first.result.metadata),
        executions=tuple(number for part in parts for number in part.executions),
    )
