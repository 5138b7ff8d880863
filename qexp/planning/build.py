"""The plan stage: what will run, cut into jobs, before anything is submitted.

Circuits are generated here; all else is done for some PUBs at a time, here or in worker processes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice, starmap
from typing import TYPE_CHECKING, Any, TypeAlias

from qexp.archive.pubs import PubRow, pub_rows
from qexp.core.bounds import job_bounds
from qexp.core.model import Partition
from qexp.core.observer import Observer
from qexp.core.protocols import ApproximatingEngine, Engine
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

    from qexp.core.model import Pub

_log = logging.getLogger(__name__)

PlannedRow: TypeAlias = tuple[PubRow, Footprint]
"""A PUB ready to be stored, and its cost."""

_Planned: TypeAlias = tuple[PubRow, Footprint, Mapping[str, Any]]
"""The same, and how its noise is approximated."""

_Chunk: TypeAlias = tuple[str, int, list[Any]]
"""Arguments of `Planner.plan`."""

_PlanChunks: TypeAlias = Callable[[Iterable[_Chunk]], Iterator[list[_Planned]]]

_MAX_LISTED = 6

CHUNK_PUBS = 20
"""Few, so that all workers end at about the same time."""


def plan_point(
    point: Point, first_index: int, observer: Observer, workers: Workers | None = None
) -> list[str]:
    """Generate, transpile, check, measure, encode and partition all workloads of a point.

    Each partition is on disk as soon as it is full; afterwards its PUBs are forgotten here.

    Args:
        point: The point, with its backend; it gets the partitions, in the order of submission.
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
    workloads = {one.name: replace(one, generate=_no_generator) for one in spec.workloads}
    planner = Planner(workloads, spec.seed, point.backend, spec.engine, spec.limits)
    plan_chunks = _plan_chunks(planner, workers)
    for workload in spec.workloads:
        bounds = job_bounds(workload.primitive, _blocks(spec), spec.limits)
        rows = _plan_rows(workload, spec.seed, plan_chunks, observer)
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


def _plan_chunks(planner: Planner, workers: Workers | None) -> _PlanChunks:
    """Return a function that plans chunks, in worker processes or here."""
    if workers is not None and workers.count > 1:
        try:
            return partial(workers.map, Planner.plan, Shared(planner))
        except NotShareableError as error:
            # A backend or engine of the user's own need not be picklable.
            _log.warning("the plan is made without worker processes: %s", error)
    return partial(starmap, planner.plan)


def _plan_rows(
    workload: WorkloadSpec, seed: int, plan_chunks: _PlanChunks, observer: Observer
) -> Iterator[PlannedRow]:
    """Plan what a workload's generator yields, in order."""
    upcoming = _generate(workload, seed)
    chunks = iter(lambda: list(islice(upcoming, CHUNK_PUBS)), [])
    approximations = []
    for rows in plan_chunks((workload.name, n * CHUNK_PUBS, c) for n, c in enumerate(chunks)):
        for row, cost, approximation in rows:
            observer.pub_planned(workload.name, row.index + 1)
            approximations += [approximation] * bool(approximation)
            yield row, cost
    if approximations:
        observer.warned(f"workload '{workload.name}': {_describe(approximations)}")


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
    """Makes ISA PUBs; picklable as long as it was not used.

    Args:
        workloads: The workloads by name; their generators are not called.
        seed: The point's seed.
        backend: The backend that the circuits are transpiled for.
        engine: Measures the payload.
        limits: The service's documented limits.
    """

    workloads: Mapping[str, WorkloadSpec]
    seed: int
    backend: BackendV2
    engine: Engine
    limits: Mapping[str, Limit]
    _pass_managers: dict[str, PassManagers] = field(default_factory=dict)

    def plan(self, workload: str, first: int, pub_likes: Sequence[Any]) -> list[_Planned]:
        """Transpile, check, encode and measure consecutive PUBs of a workload.

        Args:
            workload: Its name.
            first: Index of the first PUB.
            pub_likes: PUB-likes of its generator.

        Raises:
            PlanError: A circuit cannot run on the backend, or cannot be stored.
        """
        spec, backend = self.workloads[workload], self.backend
        if workload not in self._pass_managers:
            self._pass_managers[workload] = PassManagers(spec, self.seed, backend)
        pass_managers, pubs, tallies = self._pass_managers[workload], [], []
        for index, pub_like in enumerate(pub_likes, start=first):
            pub = transpile_pub(pub_like, index, pass_managers)
            counts = tally(pub.isa.circuit)
            check_pub(pub, counts, self._hardware, self.limits, self._objection)
            pubs.append(pub)
            tallies.append(counts)
        try:
            rows = pub_rows(workload, pubs, redactor())
        except ArchiveError as error:
            raise PlanError(f"workload '{workload}': {error}") from error
        return [
            (
                row,
                footprint(pub, counts, spec.primitive, backend, self.engine, row.isa_qpy),
                self._approximation(pub.isa),
            )
            for pub, counts, row in zip(pubs, tallies, rows, strict=True)
        ]

    @cached_property
    def _hardware(self) -> Hardware:
        return Hardware.of(self.backend)

    @cached_property
    def _objection(self) -> Callable[[Pub], str | None]:
        return self.engine.pub_objection(self.backend)

    @cached_property
    def _approximation(self) -> Callable[[Pub], Mapping[str, Any]]:
        if isinstance(self.engine, ApproximatingEngine):
            return self.engine.approximated_noise(self.backend)
        return lambda _pub: {}
