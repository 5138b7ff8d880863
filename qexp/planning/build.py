"""The plan stage: what will run, cut into jobs, before anything is submitted.

Circuits are generated here; all else is done for some PUBs at a time, here or in worker processes.
"""

from __future__ import annotations

import copy
import gc
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import chain, islice, starmap
from typing import TYPE_CHECKING, Any, TypeAlias

from qexp.archive.circuit_digest import Reading
from qexp.archive.pubs import PubRow, pub_rows
from qexp.core.bounds import job_bounds, smallest_bound
from qexp.core.mitigation import describe_bounds
from qexp.core.model import Forecast, Partition, PrimitiveSpec
from qexp.core.observer import Observer
from qexp.core.protocols import Engine, SimulatingEngine
from qexp.core.seeds import stream
from qexp.core.spec import Limit, PartitionLimits, RunSpec, WorkloadSpec
from qexp.errors import ArchiveError, GeneratorError, PlanError, QexpError, is_panic
from qexp.planning.checks import Hardware, check_pub, tally
from qexp.planning.cost import Footprint, footprint
from qexp.planning.partition import cut_into_jobs
from qexp.planning.transpile import PassManagers, transpile_pub
from qexp.points import Point
from qexp.redact import redactor
from qexp.text import typed_reason
from qexp.workers import NotShareableError, Shared, Workers

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

_log = logging.getLogger(__name__)

PlannedRow: TypeAlias = tuple[PubRow, Footprint]
"""A PUB ready to be stored, and its cost."""

_Planned: TypeAlias = tuple[PubRow, Footprint, Forecast | None]
"""The same, and the forecast of its simulation."""

_Chunk: TypeAlias = tuple[str, int, list[Any]]
"""Arguments of `Planner.plan`."""

_Checks: TypeAlias = tuple[Callable[[Any], str | None], Callable[[Any], Forecast | None]]
"""Says why an ISA PUB cannot run, and predicts its simulation."""

_PlanChunks: TypeAlias = Callable[[Iterable[_Chunk]], Iterator[list[_Planned]]]

_MAX_LISTED = 6

CHUNK_PUBS = 20
"""Few, so that all workers end at about the same time."""

_CHUNK_INSTRUCTIONS = 4000
"""Instructions of the circuits of a chunk, unless it is a single circuit."""


def plan_point(
    point: Point, first_index: int, observer: Observer, workers: Workers | None = None
) -> list[str]:
    """Generate, transpile, check, measure, encode and partition all workloads of a point.

    Each partition is on disk as soon as it is full; afterwards its PUBs are forgotten here.

    Args:
        point: The point, with its backend; it gets the partitions, in the order of submission,
            and the forecast.
        first_index: Index of its first partition in the experiment.
        observer: Receives an event for each PUB.
        workers: Worker processes that do all of it but generate; None: everything is done here.
            The plan is the same for any number.

    Returns:
        The SHA-256 of each partition's part.

    Raises:
        PlanError: A generator fails or yields nothing, a circuit cannot run on the backend, or
            a single PUB exceeds a limit.
        ArchiveError: A part cannot be written.
        EngineError: A worker process died.
    """
    spec, parts, partitions = point.spec, list[str](), list[Partition]()
    assert point.backend is not None
    for workload in spec.workloads:
        if reason := describe_bounds(workload.primitive):
            observer.warned(f"workload '{workload.name}': {reason}")
    workloads = {one.name: replace(one, generate=_no_generator) for one in spec.workloads}
    make_planner = partial(
        Planner, workloads, spec.seed, point.backend, spec.engine, spec.limits, spec.partition
    )
    plan_chunks = _plan_chunks(make_planner, workers)
    for workload in spec.workloads:
        bounds = job_bounds(workload.primitive, _blocks(spec), spec.limits)
        rows = _plan_rows(workload, point, plan_chunks, observer)
        before = len(parts)
        for partition, pubs in cut_into_jobs(rows, workload.name, bounds, before):
            parts.append(point.store.write_partition(partition, pubs))
            partitions.append(partition)
            del pubs  # or two jobs' circuits would be held while the next one fills up
        if len(parts) == before:
            raise PlanError(
                f"workload '{workload.name}': its generator yielded no circuits; "
                f"check the circuits' config"
            )
    point.number(partitions, first_index)
    return parts


def _blocks(spec: RunSpec) -> PartitionLimits:
    """Return the bounds of a partition, which takes its turn with those of other points."""
    given = [one for one in (spec.sharing.block, spec.partition.max_circuits) if one is not None]
    return replace(spec.partition, max_circuits=min(given, default=None))


def _no_generator(_sequence: Any) -> Iterable[Any]:
    """Stand in for a generator, which may not be picklable."""
    raise AssertionError("workers do not generate circuits")


def _plan_chunks(make_planner: Callable[[], Planner], workers: Workers | None) -> _PlanChunks:
    """Return a function that plans chunks: several in worker processes, a single one here.

    A single one would wait for the workers to know the planner.
    """
    here = make_planner()

    @cache
    def in_workers() -> _PlanChunks | None:
        if workers is None or workers.count < 2:
            return None
        try:
            return partial(workers.map, Planner.plan, Shared(make_planner()))
        except NotShareableError as error:
            # A backend or engine of the user's own need not be picklable.
            _log.warning("the plan is made without worker processes: %s", error)
            return None

    def plan(chunks: Iterable[_Chunk]) -> Iterator[list[_Planned]]:
        left = iter(chunks)
        first = list(islice(left, 2))
        divided = in_workers() if len(first) > 1 else None
        return (divided or partial(starmap, here.plan))(chain(first, left))

    return plan


def _plan_rows(
    workload: WorkloadSpec, point: Point, plan_chunks: _PlanChunks, observer: Observer
) -> Iterator[PlannedRow]:
    """Plan what a workload's generator yields, in order; add to the point's forecast."""
    forecast = None
    for rows in plan_chunks(_chunks(workload.name, _generate(workload, point.spec.seed))):
        for row, cost, predicted in rows:
            observer.pub_planned(workload.name, row.index + 1)
            if predicted is not None:
                forecast = (forecast or Forecast()) + predicted
            yield row, cost
    if forecast is None:
        return
    point.forecast = (point.forecast or Forecast()) + forecast
    if forecast.approximated:
        observer.warned(f"workload '{workload.name}': {_describe(forecast.approximated)}")


def _describe(approximations: Sequence[Mapping[str, Any]]) -> str:
    """Describe how the noise of some PUBs is approximated, the worst errors first."""
    errors = {name: off for each in approximations for name, off in each["errors"].items()}
    worst = sorted(errors, key=errors.__getitem__, reverse=True)
    listed = ", ".join(f"{name} by {errors[name]:.1e}" for name in worst[:_MAX_LISTED])
    more = f" and {len(worst) - _MAX_LISTED} others" if len(worst) > _MAX_LISTED else ""
    count = f"{len(approximations)} circuit{'s' if len(approximations) > 1 else ''}"
    return (
        f"noise is approximated in {count}, as engine.approximate_noise allows: {listed}{more}; no "
        f"probability of a circuit is off by more than "
        f"{max(each['deviation'] for each in approximations):.1e}"
    )


def _chunks(workload: str, pub_likes: Iterable[Any]) -> Iterator[_Chunk]:
    """Yield consecutive PUB-likes as chunks; large circuits are chunks of their own."""
    first, chunk, size = 0, list[Any](), 0
    for pub_like in pub_likes:
        circuit = pub_like[0] if isinstance(pub_like, tuple) and pub_like else pub_like
        added = len(getattr(circuit, "data", ()))
        if chunk and (len(chunk) == CHUNK_PUBS or size + added > _CHUNK_INSTRUCTIONS):
            yield workload, first, chunk
            first, chunk, size = first + len(chunk), [], 0
        chunk.append(pub_like)
        size += added
    if chunk:
        yield workload, first, chunk


def _generate(workload: WorkloadSpec, seed: int) -> Iterator[Any]:
    """Yield copies of the generator's PUB-likes; an error of its own becomes a `GeneratorError`.

    A generator may let a circuit grow, or refill an array, that it has yielded.
    """
    index = 0
    try:
        for pub_like in _pub_likes(workload, seed):
            yield _copied(pub_like)
            index += 1
    except QexpError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception | SystemExit) and not is_panic(error):
            raise
        raise GeneratorError(
            f"workload '{workload.name}': its circuit generator failed at PUB {index}: "
            f"{typed_reason(error)}; correct the generator or its config"
        ) from error


def _pub_likes(workload: WorkloadSpec, seed: int) -> Iterable[Any]:
    from qiskit import QuantumCircuit

    made: Any = workload.generate(stream(seed, workload.name, "circuits"))
    # A circuit can be iterated over, too: its instructions.
    if isinstance(made, Iterable) and not isinstance(made, QuantumCircuit | str | bytes):
        return made
    got = "one circuit" if isinstance(made, QuantumCircuit) else repr(made)
    raise PlanError(
        f"workload '{workload.name}': its circuit generator returned {got}; it must yield its "
        f"circuits (is a 'yield' missing?) or return a list of them"
    )


def _copied(pub_like: Any) -> Any:
    from qiskit import QuantumCircuit

    if isinstance(pub_like, tuple):
        return tuple(map(_copied, pub_like))
    # Its own method is as deep, and several times faster.
    return pub_like.copy() if isinstance(pub_like, QuantumCircuit) else copy.deepcopy(pub_like)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python from looking for cycles of garbage, which circuits hardly make, for a chunk.

    Each look passes over all circuits that are held: a tenth of the time of a plan.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass
class Planner:
    """Makes ISA PUBs; picklable as long as it was not used."""

    workloads: Mapping[str, WorkloadSpec]  # by name; their generators are not called
    seed: int  # of the point
    backend: BackendV2
    engine: Engine  # measures the payload
    limits: Mapping[str, Limit]
    partition: PartitionLimits = field(default_factory=PartitionLimits)
    _pass_managers: dict[str, PassManagers] = field(default_factory=dict)
    _checks: dict[str, _Checks] = field(default_factory=dict)

    def plan(self, workload: str, first: int, pub_likes: Sequence[Any]) -> list[_Planned]:
        """Transpile, check, encode and measure consecutive PUBs of a workload; `first` is an index.

        Raises:
            PlanError: A circuit cannot run on the backend, or cannot be stored.
        """
        with _without_collector():
            return self._plan(workload, first, pub_likes)

    def _plan(self, workload: str, first: int, pub_likes: Sequence[Any]) -> list[_Planned]:
        spec, backend = self.workloads[workload], self.backend
        if workload not in self._pass_managers:
            self._pass_managers[workload] = PassManagers(spec, self.seed, backend)
            self._checks[workload] = self._checks_of(spec.primitive)
        pass_managers, pubs, tallies = self._pass_managers[workload], [], []
        objection, forecast = self._checks[workload]
        readings = {}
        for index, pub_like in enumerate(pub_likes, start=first):
            pub = transpile_pub(pub_like, index, pass_managers)
            readings[index] = Reading(pub.isa.circuit)
            counts = tally(pub.isa.circuit, readings[index])
            check_pub(pub, counts, self._hardware, self.limits, objection)
            pubs.append(pub)
            tallies.append(counts)
        try:
            rows = pub_rows(workload, pubs, redactor(), readings)
        except ArchiveError as error:
            raise PlanError(f"workload '{workload}': {error}") from error
        bound = smallest_bound("max_payload_bytes", self.partition, self.limits)
        limit = math.inf if bound is None else bound.value
        return [
            (
                row,
                footprint(pub, counts, spec.primitive, backend, self.engine, row.isa_qpy, limit),
                forecast(pub.isa),
            )
            for pub, counts, row in zip(pubs, tallies, rows, strict=True)
        ]

    @cached_property
    def _hardware(self) -> Hardware:
        return Hardware.of(self.backend)

    def _checks_of(self, primitive: PrimitiveSpec) -> _Checks:
        """Return what the engine objects to, and what it predicts, for a primitive."""
        engine = self.engine
        objection = engine.pub_objection(self.backend, primitive)
        if isinstance(engine, SimulatingEngine):
            return objection, engine.forecast(self.backend, primitive)
        return objection, lambda _pub: None
