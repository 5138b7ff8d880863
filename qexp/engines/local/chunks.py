"""Jobs in pieces of about equal predicted work, simulated here or in worker processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from qexp.core.model import JobRequest, Progress
from qexp.core.seeds import as_int, child
from qexp.engines.local.batch import Simulated, joined
from qexp.engines.local.options import is_compiled
from qexp.engines.local.simulation import Simulation
from qexp.errors import EngineError
from qexp.workers import NotShareableError, Shared, Workers

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult

    from qexp.core.model import Pub
    from qexp.simulator.protocols import Prediction

_log = logging.getLogger(__name__)

CHUNK_PUBS = 25
"""PUBs of one chunk, which share a seed; it must not change, or the data would."""

PIECE_S = 0.25
"""Predicted time of a piece, unless a single circuit or block of parameter sets takes longer."""

_PUB_S = 1e-3
"""Least time of a PUB: it is loaded, and its result is sent."""

_AMPLITUDE_S, _MOST_QUBITS = 1e-9, 25
"""Time of a gate for each amplitude, and the largest number of qubits it is taken for."""

_WORTH_WORKERS = 3
"""Chunks of a job from which on starting worker processes costs less than it saves."""

_WORTH_WORKERS_S = 1.0
"""Predicted time of a job of few PUBs from which on it does."""

_AHEAD = 2
"""Pieces of later jobs for each worker that are in flight while a job is simulated."""


class _Chunk(NamedTuple):
    first: int
    stop: int
    seed: int


class Piece(NamedTuple):
    """Consecutive PUBs of a chunk, or some of the parameter sets of one PUB."""

    only: range  # the PUBs
    sets: range | None  # None: all
    seconds: float  # predicted


_Reply: TypeAlias = tuple[list[Piece], Simulated | None]
"""The pieces of a chunk, or one piece and its simulation."""


@dataclass(eq=False)
class _Job:
    """A job that is simulated: what there is of it, and how far it is."""

    request: JobRequest  # kept so that no other object gets its id
    left: int = 0  # pieces and chunks in flight
    error: BaseException | None = None
    _parts: dict[tuple[int, int], Simulated] = field(default_factory=dict)
    _known_pubs: int = 0
    _known_s: float = 0.0
    _done_s: float = 0.0

    @property
    def share(self) -> float:
        """The done share of the predicted work; chunks of which it is not known are average."""
        if not self._known_pubs:
            return 0.0
        return self._done_s / self._known_s * self._known_pubs / self.request.num_pubs

    def know(self, chunk: _Chunk, pieces: Sequence[Piece]) -> None:
        """Add the predicted work of a chunk."""
        self._known_pubs += chunk.stop - chunk.first
        self._known_s += sum(piece.seconds for piece in pieces)

    def add(self, place: tuple[int, int], piece: Piece, simulated: Simulated) -> None:
        """Add what was simulated, by the number of its chunk and its own in the chunk."""
        self._parts[place] = simulated
        self._done_s += piece.seconds

    def whole(self) -> Simulated:
        """Return all of it."""
        return joined([self._parts[place] for place in sorted(self._parts)])


class _Task(NamedTuple):
    """A chunk in a worker, or a piece of one."""

    job: _Job
    member: JobRequest
    chunk: _Chunk
    place: tuple[int, int]
    piece: Piece | None


class ChunkedSimulation:
    """Simulates jobs in chunks of PUBs, here or in worker processes.

    Each chunk has a seed of its own, and the chunks depend on the job alone. So does the data,
    however many workers there are: a worker cuts a chunk with much work into pieces, which get the
    data that they have in the whole.

    Args:
        simulation: Simulates a piece; it is copied to each worker.
        workers: Worker processes. Small jobs are simulated here, and so are all with a count of
            1, except what takes long or Aer runs, which would not let this process listen to
            signals.
    """

    def __init__(self, simulation: Simulation, workers: Workers) -> None:
        self._simulation = simulation
        self._workers = workers
        self._begun: dict[int, _Job] = {}  # by the id of the request
        self._tasks: dict[Future[_Reply], _Task] = {}
        self._ended: SimpleQueue[Future[_Reply]] = SimpleQueue()
        self._done_s = 0.0
        self._small: JobRequest | None = None  # the newest that is not worth the workers
        self._is_closed = False

    @cached_property
    def _shared(self) -> Shared | None:
        try:
            return Shared(self._simulation)
        except NotShareableError as error:
            # A backend of the user's own need not be picklable.
            _log.warning("jobs are simulated without worker processes: %s", error)
            return None

    def progress(self, requests: Sequence[JobRequest]) -> Progress:
        """Return how far some jobs are, and the work of all jobs so far."""
        jobs = (self._begun.get(id(request)) for request in requests)
        return Progress(sum(job.share for job in jobs if job is not None), self._done_s)

    def close(self) -> None:
        """Simulate nothing more; the worker processes end with the pieces they are simulating."""
        self._is_closed = True
        for future in list(self._tasks):
            future.cancel()
        self._workers.retire()
        self._simulation.forget_pubs()

    def prepare(self, request: JobRequest) -> bool:
        """Let the worker processes begin with a job that is run soon, if it is large enough.

        Returns:
            True if they are to begin with the job after it, too.

        Raises:
            EngineError: The batch was abandoned.
        """
        if id(request) not in self._begun and self._is_worth_workers(request):
            self._begin(request)
        if id(request) not in self._begun:
            return False
        first = next(iter(self._begun.values()))
        return len(self._tasks) - first.left < _AHEAD * self._workers.count

    def run(self, request: JobRequest) -> Simulated:
        """Simulate one job.

        Raises:
            EngineError: The simulator reports a failure, or a worker process died.
            ArchiveError: The PUBs cannot be loaded.
        """
        self.prepare(request)
        simulate = self._gather if id(request) in self._begun else self._simulate_here
        job = self._begun.setdefault(id(request), _Job(request))
        try:
            simulate(job)
        finally:
            del self._begun[id(request)]
        from qexp.simulator import SIMULATOR_VERSION

        whole = job.whole()
        used = {"simulator_version": SIMULATOR_VERSION, "simulator_methods": _runs(whole.methods)}
        return replace(
            whole,
            info={**whole.info, **used, **_approximations(whole.result)},
            options=self._simulation.options_in_force(request),
            # One object for all jobs, so that it is neither sent nor written many times.
            backend_properties=self._simulation.properties,
        )

    def _is_worth_workers(self, request: JobRequest) -> bool:
        if self._is_closed:
            raise EngineError("the batch was abandoned; its jobs are not simulated any more")
        if request is self._small:
            return False
        if self._workers.count > 1 and len([*_chunks(request)]) >= _WORTH_WORKERS:
            return True
        is_heavy = self._is_heavy(request)
        self._small = None if is_heavy else request
        return is_heavy

    def _is_heavy(self, request: JobRequest) -> bool:
        """Return whether Aer runs a PUB of a job, or simulating all of them takes long."""
        takes_s = 0.0
        try:
            for member in request.by_partition:
                for one in self._simulation.predict(member, self._simulation.load_pubs(member)):
                    takes_s += one.cost.seconds if one.cost is not None else 0.0
                    if one.on_aer or takes_s > _WORTH_WORKERS_S:
                        return True
        except Exception:
            # It fails again where it is run, and is reported there.
            return False
        return False

    def _begin(self, request: JobRequest) -> None:
        """Let the workers simulate a job, if they can get it."""
        if self._shared is None:
            return
        job = _Job(request)
        with suppress(NotShareableError):
            for number, (member, chunk) in enumerate(_chunks(request)):
                self._submit(_Task(job, member, chunk, (number, 0), None))
            self._begun[id(request)] = job

    def _submit(self, task: _Task) -> None:
        if self._is_closed:
            raise CancelledError
        assert self._shared is not None
        arguments = task.member, task.chunk, task.piece
        future = self._workers.begin(_simulate, self._shared, *arguments)
        self._tasks[future] = task
        task.job.left += 1
        future.add_done_callback(self._ended.put)

    def _gather(self, job: _Job) -> None:
        """Return when a job that was begun is done; meanwhile, others are cut into pieces."""
        try:
            while job.left and job.error is None:
                future = self._ended.get()
                self._take(self._tasks.pop(future), future)
            if isinstance(job.error, CancelledError):
                raise EngineError("the batch was abandoned while this job was simulated")
            if job.error is not None:
                raise job.error
        finally:
            for future, task in list(self._tasks.items()):
                if task.job is job:
                    future.cancel()

    def _take(self, task: _Task, future: Future[_Reply]) -> None:
        """Take the reply of a worker, and let the workers go on with the pieces of a chunk."""
        job = task.job
        job.left -= 1
        if job.error is not None:
            return
        try:
            pieces, simulated = future.result()
            if task.piece is None:
                job.know(task.chunk, pieces)
            if simulated is not None:
                job.add(task.place, pieces[0], simulated)
                self._done_s += pieces[0].seconds
                return
            for number, piece in enumerate(pieces):
                self._submit(task._replace(piece=piece, place=(task.place[0], number)))
        except BaseException as error:
            job.error = error

    def _simulate_here(self, job: _Job) -> None:
        for number, (member, chunk) in enumerate(_chunks(job.request)):
            request, pubs = _part(member, self._simulation.load_pubs(member), chunk)
            pieces = cut(self._simulation, request, pubs)
            job.know(chunk, pieces)
            for place, piece in enumerate(pieces):
                simulated = self._simulation.run(request, pubs, piece.only, piece.sets)
                job.add((number, place), piece, simulated)
                self._done_s += piece.seconds


def _approximations(result: PrimitiveResult[Any]) -> dict[str, Any]:
    """Return the errors that were approximated for a PUB of a job, for its `info`."""
    errors: dict[str, float] = {}
    for one in result:
        errors |= one.metadata.get("approximated_noise", {}).get("errors", {})
    return {"approximated_noise": errors} if errors else {}


def _runs(methods: Sequence[str]) -> list[list[Any]]:
    """Return the methods in the order of the PUBs: each with the number of PUBs in a row."""
    return [[method, len(list(row))] for method, row in groupby(methods)]


def _chunks(request: JobRequest) -> Iterator[tuple[JobRequest, _Chunk]]:
    """Yield the chunks of a job, each with the request of its partition."""
    import numpy as np

    for member in request.by_partition:
        sequence, count = np.random.SeedSequence(member.seed), member.partition.num_pubs
        if is_compiled(member.primitive):
            yield member, _Chunk(0, count, member.seed)  # they share a calibration
            continue
        for first in range(0, count, CHUNK_PUBS):
            seed = as_int(child(sequence, first))
            yield member, _Chunk(first, min(first + CHUNK_PUBS, count), seed)


def _part(
    request: JobRequest, pubs: Sequence[Pub], chunk: _Chunk
) -> tuple[JobRequest, Sequence[Pub]]:
    return replace(request, seed=chunk.seed), pubs[chunk.first : chunk.stop]


def _simulate(
    simulation: Simulation, request: JobRequest, chunk: _Chunk, piece: Piece | None
) -> _Reply:
    """Simulate a piece, in a worker, or cut a chunk: if it is one piece, simulate it at once."""
    request, pubs = _part(request, simulation.load_pubs(request), chunk)
    pieces = cut(simulation, request, pubs) if piece is None else [piece]
    if len(pieces) > 1:
        return pieces, None
    simulated = simulation.run(request, pubs, pieces[0].only, pieces[0].sets)
    return pieces, replace(simulated, backend_properties=None)


def cut(simulation: Simulation, request: JobRequest, pubs: Sequence[Pub]) -> list[Piece]:
    """Cut PUBs that share a seed into pieces, in order, which do not change the data."""
    pieces: list[Piece] = []
    first, sum_s = 0, 0.0
    for index, (pub, one) in enumerate(zip(pubs, simulation.predict(request, pubs), strict=True)):
        seconds = _PUB_S + _seconds(pub, one)
        if first < index and sum_s + seconds > PIECE_S:
            pieces.append(Piece(range(first, index), None, sum_s))
            first, sum_s = index, 0.0
        sum_s += seconds
        if sum_s > PIECE_S:
            size = _num_sets(simulation, request, pub, seconds)
            pieces += _pieces_of_pub(index, pub.parameter_values.size, size, seconds)
            first, sum_s = index + 1, 0.0
    if first < len(pubs):
        pieces.append(Piece(range(first, len(pubs)), None, sum_s))
    return pieces


def _num_sets(simulation: Simulation, request: JobRequest, pub: Pub, seconds: float) -> int:
    """Return the parameter sets of a piece, in whole blocks."""
    block = simulation.block_sets(request, pub)
    block_s = seconds * block / pub.parameter_values.size
    return block * max(1, int(PIECE_S / block_s))


def _pieces_of_pub(index: int, count: int, size: int, seconds: float) -> Iterator[Piece]:
    """Yield the pieces of a PUB by its parameter sets."""
    only = range(index, index + 1)
    if count <= size:
        yield Piece(only, None, seconds)
        return
    for first in range(0, count, size):
        sets = range(first, min(first + size, count))
        yield Piece(only, sets, seconds * len(sets) / count)


def _seconds(pub: Pub, predicted: Prediction) -> float:
    """Return the predicted time of a PUB, a guess with a simulator of the user's own."""
    if predicted.cost is not None:
        return predicted.cost.seconds
    if predicted.method == "own":
        # Not in pieces: it simulates all PUBs that share a seed at once.
        return 0.0
    busy = {qubit for item in pub.circuit.data for qubit in item.qubits}
    width = min(len(busy), _MOST_QUBITS)
    return _AMPLITUDE_S * math.ldexp(len(pub.circuit.data), width) * pub.parameter_values.size
