"""The plan stage: what will run, cut into jobs, before anything is submitted."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice, starmap
from typing import Any, TypeAlias

from qexp.core.model import Plan
from qexp.core.observer import Observer
from qexp.core.seeds import stream
from qexp.core.spec import Limit, WorkloadSpec
from qexp.errors import GeneratorError, PlanError, QexpError, is_panic
from qexp.planning.chunks import CHUNK_PUBS, PlannedRow, Planner
from qexp.planning.limits import effective_limits
from qexp.planning.partition import cut_into_jobs
from qexp.points import Point
from qexp.text import format_duration, typed_reason
from qexp.workers import NotShareableError, Shared, Workers

_log = logging.getLogger(__name__)

_Chunk: TypeAlias = tuple[str, int, list[Any]]
"""Arguments of `Planner.plan`."""

_PlanChunks: TypeAlias = Callable[[Iterable[_Chunk]], Iterator[list[PlannedRow]]]


def plan_point(
    point: Point, first_index: int, observer: Observer, workers: Workers | None = None
) -> list[str]:
    """Generate, transpile, check, measure, encode and partition all workloads of a point.

    Each partition is on disk as soon as it is full; afterwards its PUBs are forgotten here.

    Args:
        point: The point, with its backend; it gets the partitions, in the order of submission.
        first_index: Index of its first partition in the experiment.
        observer: Is told of each PUB that is transpiled and checked.
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
    spec, parts = point.spec, list[str]()
    assert point.backend is not None
    workloads = {workload.name: workload for workload in spec.workloads}
    planner = Planner(workloads, spec.seed, point.backend, spec.engine, spec.limits)
    plan_chunks = _plan_chunks(planner, workers)
    for workload in spec.workloads:
        bounds, origins = effective_limits(workload.primitive, spec.partition, spec.limits)
        rows = _plan_rows(workload, spec.seed, plan_chunks, observer)
        before, index = len(parts), first_index + len(parts)
        jobs = cut_into_jobs(rows, workload.name, bounds, index, origins, point=point.index)
        for partition, pubs in jobs:
            parts.append(point.store.write_partition(partition, pubs))
            point.partitions += (partition,)
            del pubs  # or two jobs' circuits would be held while the next one fills up
        if len(parts) == before:
            raise PlanError(
                f"workload '{workload.name}': its generator yielded no circuits; "
                f"check the circuits' config"
            )
    return parts


def _plan_chunks(planner: Planner, workers: Workers | None) -> _PlanChunks:
    """Return a function that plans chunks, in worker processes or here."""
    if workers is not None and workers.count > 1:
        try:
            return partial(workers.map, Planner.plan, Shared(planner.without_generators()))
        except NotShareableError as error:
            # A backend or engine of the user's own need not be picklable.
            _log.warning("the plan is made without worker processes: %s", error)
    return partial(starmap, planner.plan)


def _plan_rows(
    workload: WorkloadSpec, seed: int, plan_chunks: _PlanChunks, observer: Observer
) -> Iterator[PlannedRow]:
    """Plan what a workload's generator yields, in order."""
    for rows in plan_chunks(_chunks(workload, seed)):
        for row, footprint in rows:
            observer.pub_planned(workload.name, row.index + 1)
            yield row, footprint


def _chunks(workload: WorkloadSpec, seed: int) -> Iterator[_Chunk]:
    upcoming, first = _generate(workload, seed), 0
    while chunk := list(islice(upcoming, CHUNK_PUBS)):
        yield workload.name, first, chunk
        first += len(chunk)


def _generate(workload: WorkloadSpec, seed: int) -> Iterator[Any]:
    """Yield copies of the generator's PUB-likes; an error of its own becomes a `GeneratorError`.

    A generator may let a circuit grow, or refill an array, that it has yielded.
    """
    index = 0
    try:
        for pub_like in workload.generate(stream(seed, workload.name, "circuits")):
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


def _copied(pub_like: Any) -> Any:
    from qiskit import QuantumCircuit

    if isinstance(pub_like, tuple):
        return tuple(map(_copied, pub_like))
    # Its own method is as deep, and several times faster.
    return pub_like.copy() if isinstance(pub_like, QuantumCircuit) else copy.deepcopy(pub_like)


def check_max_time(plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> list[str]:
    """Compare the prediction with the batch's time to live.

    Args:
        plan: The plan.
        max_time_s: The declared `batch.max_time` in seconds, or None.
        limits: The service's limits; `batch_max_time_s` and `open_plan_batch_max_time_s`.

    Returns:
        Warnings, one line each: the batch may end before its last job.

    Raises:
        PlanError: `max_time_s` cannot even hold the longest job, or is more than the service
            allows.
    """
    longest = max(plan.partitions, key=lambda job: job.qpu_s)
    allowed = limits.get("batch_max_time_s")
    if max_time_s is not None and max_time_s < longest.qpu_s:
        raise PlanError(
            f"batch.max_time is {format_duration(max_time_s)}, but job {longest.index} "
            f"(workload '{longest.workload}', PUBs {longest.first} to {longest.stop - 1}) is "
            f"predicted to take {longest.qpu_s:.1f} QPU seconds; raise batch.max_time or lower "
            f"partition.max_qpu_s"
        )
    if max_time_s is not None and allowed is not None and max_time_s > allowed.value:
        raise PlanError(
            f"batch.max_time is {format_duration(max_time_s)}, more than the "
            f"{format_duration(allowed.value)} that limits.batch_max_time_s allows; lower it or "
            f"set it to null"
        )
    bounds = {
        "batch.max_time": max_time_s,
        "the service's longest batch": allowed.value if allowed else None,
        "the Open plan's longest batch": _value(limits, "open_plan_batch_max_time_s"),
    }
    return [
        f"all jobs together are predicted to take {format_duration(plan.qpu_s)} of QPU time, more "
        f"than {what} of {format_duration(bound)}: jobs still queued at its end will not run"
        for what, bound in bounds.items()
        if bound is not None and plan.qpu_s > bound
    ]


def _value(limits: Mapping[str, Limit], name: str) -> float | None:
    return limits[name].value if name in limits else None
