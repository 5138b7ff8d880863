"""A job in chunks of PUBs, each with a seed of its own, so that any number of workers can share it.

The chunks depend on the job alone. So does the data, however many workers there are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from qexp.core.model import JobRequest
from qexp.core.seeds import as_int, child
from qexp.engines.local.job import Simulated
from qexp.engines.local.simulation import Simulation
from qexp.errors import EngineError
from qexp.workers import NotShareableError, Shared, Workers

_log = logging.getLogger(__name__)

CHUNK_PUBS = 25

_WORTH_WORKERS = 3
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
        workers: Worker processes; those of a count of 1 simulate nothing.
    """

    def __init__(self, make: Callable[[], Simulation], workers: Workers) -> None:
        self._make = make
        self._workers = workers
        # With its request, so that the id of it stays its own.
        self._begun: dict[int, tuple[JobRequest, list[Future[Simulated]]]] = {}
        self._is_closed = False

    @cached_property
    def _simulation(self) -> Simulation:
        return self._make()

    @cached_property
    def _shared(self) -> Shared | None:
        try:
            return Shared(self._simulation)
        except NotShareableError as error:
            # A backend of the user's own need not be picklable.
            _log.warning("jobs are simulated without worker processes: %s", error)
            return None

    def close(self) -> None:
        """Let the worker processes end with what they are simulating; nothing more is run."""
        self._is_closed = True
        for _, futures in list(self._begun.values()):
            _cancel(futures)
        self._workers.retire()

    def prepare(self, request: JobRequest) -> None:
        """Let the worker processes begin with a job that is to be run soon, where it is for them.

        Raises:
            EngineError: The batch was abandoned.
        """
        if self._is_closed:
            raise EngineError("the batch was abandoned; its jobs are not simulated any more")
        if id(request) in self._begun:
            return
        chunks = _chunks(request)
        if self._workers.count == 1 or len(chunks) < _WORTH_WORKERS or self._shared is None:
            return
        with suppress(NotShareableError):
            futures = [
                self._workers.begin(_simulate, self._shared, request, chunk) for chunk in chunks
            ]
            self._begun[id(request)] = (request, futures)

    def run(self, request: JobRequest) -> Simulated:
        """Simulate one job.

        Raises:
            EngineError: The simulator reports a failure, or a worker process died.
            ArchiveError: The PUBs cannot be loaded.
        """
        self.prepare(request)
        if id(request) in self._begun:
            parts = self._gather(request)
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

    def _gather(self, request: JobRequest) -> list[Simulated]:
        _, futures = self._begun[id(request)]
        try:
            return [future.result() for future in futures]
        except CancelledError:
            raise EngineError("the batch was abandoned while this job was simulated") from None
        finally:
            del self._begun[id(request)]
            _cancel(futures)


def _cancel(futures: Sequence[Future[Simulated]]) -> None:
    for future in futures:
        future.cancel()


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
