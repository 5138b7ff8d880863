"""A job in chunks of PUBs, each with a seed of its own, so that any number of workers can share it.

The chunks depend on the job alone. So does the data, however many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from qexp.core.model import JobRequest
from qexp.core.seeds import as_int, child
from qexp.engines.local.job import Simulated
from qexp.engines.local.simulation import Simulation
from qexp.workers import Workers, shared

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
        self._pool: Workers | None = None

    @cached_property
    def _simulation(self) -> Simulation:
        return self._make()

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def run(self, request: JobRequest) -> Simulated:
        """Simulate one job.

        Raises:
            EngineError: The simulator reports a failure, or a worker process died.
            ArchiveError: The PUBs cannot be loaded.
        """
        chunks = _chunks(request)
        if self._num_workers > 1 and len(chunks) >= _WORTH_A_POOL:
            # Made afresh, because what was used here already may not be picklable.
            self._pool = self._pool or Workers(self._num_workers, self._make())
            parts = list(self._pool.map(_simulate, ((request, chunk) for chunk in chunks)))
        else:
            pubs = request.load_pubs()
            parts = [self._simulation.run(*_part(request, pubs, chunk)) for chunk in chunks]
        return replace(_joined(parts), options=self._simulation.options_in_force(request))


def _simulate(request: JobRequest, chunk: _Chunk) -> Simulated:
    """In a worker: its part of a job."""
    simulation: Simulation = shared()
    return simulation.run(*_part(request, request.load_pubs(), chunk))


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
