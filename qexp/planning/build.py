"""The plan stage: what will run, cut into jobs, before anything is submitted.

Circuits are generated here; all else is done for some PUBs at a time, here or in worker processes.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import chain, islice, starmap
from typing import TYPE_CHECKING, Any, TypeAlias

from qexp.archive.circuit_digest import Reading
from qexp.archive.pubs import PubRow, pub_rows
from qexp.core.bounds import smallest_bound
from qexp.core.mitigation import describe_bounds
from qexp.core.model import Forecast, PlannedPub, PrimitiveSpec
from qexp.core.observer import Observer
from qexp.core.protocols import Engine, SimulatingEngine
from qexp.core.seeds import stream
from qexp.core.spec import Limit, PartitionLimits, WorkloadSpec
from qexp.errors import ArchiveError, GeneratorError, PlanError, QexpError, is_panic
from qexp.planning.checks import Hardware, Tally, check_pub, tally
from qexp.planning.cost import delays_of, footprint
from qexp.planning.partition import PlannedPubs, PointPlan
from qexp.planning.transpile import PassManagers, transpile_pub, with_accuracy
from qexp.points import Point
from qexp.redact import redactor
from qexp.text import typed_reason
from qexp.workers import NotShareableError, Shared, Workers, without_collector

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

_log = logging.getLogger(__name__)

_Chunk: TypeAlias = tuple[str, int, list[Any]]
"""Arguments of `Planner.plan`."""

_Checks: TypeAlias = tuple[Callable[[Any], str | None], Callable[[Any], Forecast | None]]
"""Says why an ISA PUB cannot run, and predicts its simulation."""

_PlanChunks: TypeAlias = Callable[[Iterable[_Chunk]], Iterator[list[PlannedPubs]]]
"""Plans chunks, each for all points."""

CHUNK_PUBS = 20
"""Few, so that all workers end at about the same time."""

_CHUNK_INSTRUCTIONS = 4000
"""Instructions of the circuits of a chunk, unless it is a single circuit."""


def plan_points(
    points: Sequence[Point], observer: Observer, workers: Workers | None = None
) -> list[PointPlan]:
    """Generate, transpile, check, measure, encode and partition all workloads of some points.

    They have the same circuits on the same backend, which are generated, transpiled and encoded
    once. Each partition is on disk as soon as it is full; afterwards its PUBs are forgotten here.

    Args:
        points: The points, with their backend; they differ in what runs their circuits, if at all.
        observer: Receives an event for each PUB.
        workers: Worker processes that do all of it but generate; None: everything is done here.
            The plan is the same for any number.

    Returns:
        The plan of each point, with an error if a generator fails or yields nothing, a circuit
        cannot run on the backend, or a single PUB exceeds a limit.

    Raises:
        ArchiveError: A part cannot be written.
        EngineError: A worker process died.
    """
    spec, plans = points[0].spec, [PointPlan(point) for point in points]
    for workload in (each for point in points for each in point.spec.workloads):
        if reason := describe_bounds(workload.primitive):
            observer.warned(f"workload '{workload.name}': {reason}")
    plan_chunks = _plan_chunks(partial(_planner, points), workers)
    try:
        for workload in spec.workloads:
            _plan_workload(workload, spec.seed, plans, plan_chunks, observer)
    except PlanError as error:
        for plan in plans:
            plan.error = plan.error or error
    return plans


def _plan_workload(
    workload: WorkloadSpec,
    seed: int,
    plans: Sequence[PointPlan],
    plan_chunks: _PlanChunks,
    observer: Observer,
) -> None:
    """Add a workload to the plans.

    Raises:
        PlanError: None of the points can run.
    """
    count = 0
    for plan in plans:
        plan.begin(workload.name)
    for of_points in plan_chunks(_chunks(workload.name, _generate(workload, seed))):
        for plan, planned in zip(plans, of_points, strict=True):
            plan.add(planned)
        errors = [plan.error for plan in plans if plan.error is not None]
        if len(errors) == len(plans):
            raise errors[0]
        for _ in next(each for each in of_points if not isinstance(each, PlanError)):
            count += 1
            observer.pub_planned(workload.name, count)
    if not count:
        raise PlanError(
            f"workload '{workload.name}': its generator yielded no circuits; check the circuits' "
            f"config"
        )
    for plan in plans:
        plan.end(observer)


def _planner(points: Sequence[Point]) -> Planner:
    """Return what plans the circuits of some points."""
    point, spec, workloads = points[0], points[0].spec, {}
    assert point.backend is not None
    for each in spec.workloads:
        of_any = PrimitiveSpec(each.primitive.kind)
        workloads[each.name] = replace(each, generate=_no_generator, primitive=of_any)
    primitives = {name: [one.spec.primitive_of(name) for one in points] for name in workloads}
    return Planner(
        workloads, primitives, spec.seed, point.backend, spec.engine, spec.limits, spec.partition
    )


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

    def plan(chunks: Iterable[_Chunk]) -> Iterator[list[PlannedPubs]]:
        left = iter(chunks)
        first = list(islice(left, 2))
        divided = in_workers() if len(first) > 1 else None
        return (divided or partial(starmap, here.plan))(chain(first, left))

    return plan


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


@dataclass
class Planner:
    """Makes ISA PUBs for points with the same circuits; picklable as long as it was not used."""

    workloads: Mapping[str, WorkloadSpec]  # by name; their generators are not called
    primitives: Mapping[str, Sequence[PrimitiveSpec]]  # by workload, of each point
    seed: int  # of the points
    backend: BackendV2
    engine: Engine  # measures the payload
    limits: Mapping[str, Limit]
    partition: PartitionLimits = field(default_factory=PartitionLimits)
    _pass_managers: dict[str, PassManagers] = field(default_factory=dict)
    _checks: dict[str, list[_Checks]] = field(default_factory=dict)

    def plan(self, workload: str, first: int, pub_likes: Sequence[Any]) -> list[PlannedPubs]:
        """Transpile, check, encode and measure consecutive PUBs of a workload for each point.

        `first` is the index of the first one.

        Raises:
            PlanError: A circuit cannot be transpiled, so that no point can run.
        """
        with without_collector():
            return self._plan(workload, first, pub_likes)

    def _plan(self, workload: str, first: int, pub_likes: Sequence[Any]) -> list[PlannedPubs]:
        primitives = self.primitives[workload]
        if workload not in self._pass_managers:
            spec = self.workloads[workload]
            self._pass_managers[workload] = PassManagers(spec, self.seed, self.backend)
            self._checks[workload] = [self._checks_of(each) for each in primitives]
        pubs, readings, tallies = [], {}, []
        for index, pub_like in enumerate(pub_likes, start=first):
            pub = transpile_pub(pub_like, index, self._pass_managers[workload])
            readings[index] = Reading(pub.isa.circuit)
            pubs.append(pub)
            tallies.append(tally(pub.isa.circuit, readings[index]))

        @cache
        def rows() -> list[PubRow]:
            try:
                return pub_rows(workload, pubs, redactor(), readings)
            except ArchiveError as error:
                raise PlanError(f"workload '{workload}': {error}") from error

        checks = self._checks[workload]
        return [
            self._plan_for(primitive, of_primitive, pubs, tallies, rows)
            for primitive, of_primitive in zip(primitives, checks, strict=True)
        ]

    def _plan_for(
        self,
        primitive: PrimitiveSpec,
        checks: _Checks,
        transpiled: Sequence[PlannedPub],
        tallies: Sequence[Tally],
        rows: Callable[[], Sequence[PubRow]],
    ) -> PlannedPubs:
        """Plan PUBs for one point; `rows` encodes them, which is done once they are checked."""
        objection, forecast = checks
        backend, delays = self.backend, delays_of(primitive, self.backend)
        bound = smallest_bound("max_payload_bytes", self.partition, self.limits)
        limit = math.inf if bound is None else bound.value
        planned = []
        try:
            pubs = [with_accuracy(pub, primitive) for pub in transpiled]
            for pub, counts in zip(pubs, tallies, strict=True):
                check_pub(pub, counts, self._hardware, self.limits, objection)
            for pub, counts, row in zip(pubs, tallies, rows(), strict=True):
                cost = footprint(
                    pub, counts, primitive, backend, delays, self.engine, row.isa_qpy, limit
                )
                own = row.with_accuracy(pub.workload, cost.shots, cost.precision)
                planned.append((own, cost, forecast(pub.isa)))
        except PlanError as error:
            return error
        return planned

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
