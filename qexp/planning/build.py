"""The plan stage: what will run, cut into jobs, before anything is submitted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any

from qexp.archive.pubs import PubRow
from qexp.core.model import Partition, Plan
from qexp.core.protocols import Engine
from qexp.core.seeds import stream
from qexp.core.spec import Limit, PartitionLimits, WorkloadSpec
from qexp.errors import GeneratorError, PlanError, QexpError
from qexp.planning.chunks import PlanChunks, PlannedRow, Planner, planned_pubs, unused_planner
from qexp.planning.limits import effective_limits
from qexp.planning.partition import partition as cut
from qexp.text import format_duration, typed_reason
from qexp.workers import NotShareableError, Shared, Workers

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

_log = logging.getLogger(__name__)


def build_plan(
    workloads: Sequence[WorkloadSpec],
    *,
    seed: int,
    backend: BackendV2,
    engine: Engine,
    partition: PartitionLimits,
    limits: Mapping[str, Limit],
    on_partition: Callable[[Partition, list[PubRow]], None],
    on_pub: Callable[[str, int], None],
    workers: Workers | None = None,
) -> Plan:
    """Generate, transpile, check, measure, encode and partition all workloads.

    Args:
        workloads: In the order of submission.
        seed: The experiment's seed.
        backend: What the circuits are transpiled for.
        engine: Measures the payload.
        partition: The user's bounds of one job.
        limits: The service's documented limits by name; one that is missing does not bind.
        on_partition: Takes each partition with its PUBs, as soon as it is full; afterwards
            they are forgotten here.
        on_pub: Called with the workload's name and how many of its PUBs are transpiled and
            checked.
        workers: Worker processes that do all of it but generate; None: everything is done here.
            The plan is the same for any number.

    Returns:
        The partitions in the order of submission.

    Raises:
        PlanError: A generator fails or yields nothing, a circuit cannot run on the backend, or
            a single PUB exceeds a limit.
        EngineError: A worker process died.
    """
    specs = {workload.name: workload for workload in workloads}
    planner = Planner(specs, seed, backend, engine, limits)
    partitions: list[Partition] = []
    plan_chunks = _plan_chunks(planner, workers)
    for workload in workloads:
        bounds, origins = effective_limits(workload.primitive, partition, limits)
        generated = _generated(workload, seed)
        rows = planned_pubs(workload.name, generated, plan_chunks)
        pubs = _reported(rows, partial(on_pub, workload.name))
        before = len(partitions)
        for job, members in cut(pubs, workload.name, bounds, before, origins):
            on_partition(job, members)
            del members  # or two jobs' circuits would be held while the next one fills up
            partitions.append(job)
        if len(partitions) == before:
            raise PlanError(
                f"workload '{workload.name}': its generator yielded no circuits; "
                f"check the circuits' config"
            )
    return Plan(tuple(partitions))


def _plan_chunks(planner: Planner, workers: Workers | None) -> PlanChunks:
    """Return a function that plans chunks, in worker processes or here."""
    if workers is not None and workers.count > 1:
        try:
            return partial(workers.map, Planner.plan, Shared(unused_planner(planner)))
        except NotShareableError as error:
            # A backend or engine of the user's own need not be picklable.
            _log.warning("the plan is made without worker processes: %s", error)
    return partial(starmap, planner.plan)


def _reported(rows: Iterable[PlannedRow], on_pub: Callable[[int], None]) -> Iterator[PlannedRow]:
    """Yield the rows, and report after each how many there were."""
    for row, footprint in rows:
        on_pub(row.index + 1)
        yield row, footprint


def _generated(workload: WorkloadSpec, seed: int) -> Iterator[Any]:
    """The generator's PUB-likes, its own errors told as what they are."""
    index = 0
    try:
        for pub_like in workload.generate(stream(seed, workload.name, "circuits")):
            yield pub_like
            index += 1
    except QexpError:
        raise
    except (Exception, SystemExit) as error:
        raise GeneratorError(
            f"workload '{workload.name}': its circuit generator failed at PUB {index}: "
            f"{typed_reason(error)}; correct the generator or its config"
        ) from error


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
