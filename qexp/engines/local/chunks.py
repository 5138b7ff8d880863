"""A job in chunks of PUBs, each with a seed of its own, so that any number of workers can share it.

The chunks depend on the job alone. So does the data, however many workers there are.
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
"""Chunks of a job from which on starting worker processes costs less than it saves."""


@dataclass(frozen=True)
class _Chunk:
    first: int
    stop: int
    seed: int


@dataclass(frozen=True)
class _Begun:
    """A job that workers have begun with. It holds the request, so that its id stays its own."""

    request: JobRequest
    pool: Workers
    futures: list[Future[Simulated]]

    def results(self) -> list[Simulated]:
        return [self.pool.result(future) for future in self.futures]


class ChunkedSimulation:
    """Simulates jobs chunk by chunk, here or in worker processes.

    Args:
        make: Makes what simulates one chunk, here and in each worker.
        num_workers: Number of worker processes; 1: everything is simulated here.
    """

    def __init__(self, make: Callable[[], Simulation], num_workers: int = 1) -> None:
        self._make = make
        self._num_workers = num_workers
        self._pool: Workers | None = None
        self._begun: dict[int, _Begun] = {}
        self._is_closed = False

    @cached_property
    def _simulation(self) -> Simulation:
        return self._make()

    @cached_property
    def _shared(self) -> Shared | None:
        try:
            return Shared.of(self._simulation)
        except Exception:
            # A backend of the user's own need not be picklable.
            _log.warning("jobs are simulated without worker processes", exc_info=True)
            return None

    def close(self) -> None:
        """End the worker processes, whatever they are simulating; nothing can be run any more."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.close()

    def prepare(self, request: JobRequest) -> None:
        """Let the worker processes begin with a job that is to be run soon, where it is for them.

        Raises:
            EngineError: A worker process died.
        """
        begun = self._begun.get(id(request))
        if begun is None or not begun.pool.is_open:
            self._begin(request)

    def _begin(self, request: JobRequest) -> None:
        self._begun.pop(id(request), None)
        if self._is_closed:
            raise EngineError("the batch was abandoned; its jobs are not simulated any more")
        chunks = _chunks(request)
        if self._num_workers == 1 or len(chunks) < _WORTH_A_POOL or self._shared is None:
            return
        pool = self._pool = workers(self._num_workers)
        futures = [pool.begin(_simulate, self._shared, request, chunk) for chunk in chunks]
        self._begun[id(request)] = _Begun(request, pool, futures)

    def run(self, request: JobRequest) -> Simulated:
        """Simulate one job.

        Raises:
            EngineError: The simulator reports a failure, or a worker process died.
            ArchiveError: The PUBs cannot be loaded.
        """
        self.prepare(request)
        if id(request) in self._begun:
            parts = self._gathered(request)
        else:
            pubs = request.load_pubs()
            parts = [
                self._simulation.run(*_part(request, pubs, chunk)) for chunk in _chunks(request)
            ]
        return replace(
            _joined(parts),
            options=self._simulation.options_in_force(request),
            # One object for all jobs, so that it is neither sent nor written down many times.
            backend_properties=self._simulation.properties,
        )

    def _gathered(self, request: JobRequest) -> list[Simulated]:
        begun = self._begun.pop(id(request))
        try:
            return begun.results()
        except EngineError:
            if begun.pool.is_open or self._is_closed or not self._begun:
                raise
        # A worker died, perhaps of another job's chunk: this one is begun once more, alone.
        self._begun.clear()
        self._begin(request)
        return self._begun.pop(id(request)).results()


def _simulate(simulation: Simulation, request: JobRequest, chunk: _Chunk) -> Simulated:
    """In a worker: its part of a job."""
    pubs = simulation.load_pubs(request)
    return replace(simulation.run(*_part(request, pubs, chunk)), backend_properties=None)


def _chunks(request: JobRequest) -> list[_Chunk]:
    sequence, count = np.random.SeedSequence(request.seed), request.partition.num_pubs
    return [
        _Chunk(first, min(first + CHUNK_PUBS, count), as_int(child(sequence, first)))
        for first in range(0, count, CHUNK_PUBS)
    ]


def _part(
    request: JobRequest, pubs: Sequence[Any], chunk: _Chunk
) -> tuple[JobRequest, Sequence[Any]]:
    return replace(request, seed=chunk.seed), pubs[chunk.first : chunk.stop]


def _joined(parts: Sequence[Simulated]) -> Simulated:
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
