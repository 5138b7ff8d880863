"""A job in chunks of PUBs, each with a seed of its own, so that any number of workers can share it.

The chunks depend on the job alone. So does the data, however many workers there are.
"""

from __future__ import annotations

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
from qexp.workers import Shared, Workers, end_workers, workers

CHUNK_PUBS = 25

_WORTH_A_POOL = 3
"""Chunks of a job from which on starting worker processes costs less than it saves."""


@dataclass(frozen=True)
class _Chunk:
    first: int
    stop: int
    seed: int


class ChunkedSimulation:
    """Simulates jobs chunk by chunk, here or in worker processes.

    Args:
        make: Makes what simulates one chunk, here and in each worker.
        num_workers: Number of worker processes; 1: everything is simulated here.
    """

    def __init__(self, make: Callable[[], Simulation], num_workers: int = 1) -> None:
        self._make = make
        self._num_workers = num_workers
        self._begun: dict[int, tuple[JobRequest, Workers, list[Future[Simulated]]]] = {}

    @cached_property
    def _simulation(self) -> Simulation:
        return self._make()

    @cached_property
    def _shared(self) -> Shared:
        return Shared.of(self._simulation)

    def close(self) -> None:
        """End the worker processes, whatever they are simulating."""
        end_workers()

    def prepare(self, request: JobRequest) -> None:
        """Let the worker processes begin with a job that is to be run soon, where it is for them.

        Raises:
            EngineError: A worker process died.
        """
        chunks = _chunks(request)
        if id(request) in self._begun or self._num_workers == 1 or len(chunks) < _WORTH_A_POOL:
            return
        pool = workers(self._num_workers)
        futures = [pool.begin(_simulate, self._shared, request, chunk) for chunk in chunks]
        # With the request itself, so that its id stays its own.
        self._begun[id(request)] = (request, pool, futures)

    def run(self, request: JobRequest) -> Simulated:
        """Simulate one job.

        Raises:
            EngineError: The simulator reports a failure, or a worker process died.
            ArchiveError: The PUBs cannot be loaded.
        """
        self.prepare(request)
        if id(request) in self._begun:
            _, pool, futures = self._begun.pop(id(request))
            parts = [pool.result(future) for future in futures]
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


def _simulate(simulation: Simulation, request: JobRequest, chunk: _Chunk) -> Simulated:
    """In a worker: its part of a job."""
    simulated = simulation.run(*_part(request, _pubs(request), chunk))
    return replace(simulated, backend_properties=None)


_loaded: dict[str, Sequence[Any]] = {}


def _pubs(request: JobRequest) -> Sequence[Any]:
    """In a worker: the PUBs of a job. Those of the newest are kept for its other chunks."""
    if request.tag not in _loaded or not request.tag:
        _loaded.clear()
        _loaded[request.tag] = request.load_pubs()
    return _loaded[request.tag]


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
