"""The jobs that partitions share, and the order in which they are submitted.

Each job costs about two QPU seconds, whatever it holds, and a batch runs its jobs in their order.
So points of a sweep share jobs, and their partitions take turns, so that drift of the device is no
difference between points. Neither changes the data of a point.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from qexp.batch.request import fits_tags, planned_piece
from qexp.core.bounds import JobBounds, Load, job_bounds, overhead_s
from qexp.core.mitigation import is_calibrated_per_job
from qexp.core.model import Forecast, Partition, Plan, PlannedJob, PrimitiveSpec
from qexp.errors import ArchiveError
from qexp.journal.ledger import Piece
from qexp.points import Experiment

_ALONE_AFTER = ("shared", "too_large", "refused")
"""Failures after which PUBs share a job no more."""


@dataclass
class _Job:
    """A job that takes more pieces."""

    bounds: JobBounds
    primitive: PrimitiveSpec
    max_time_s: int | None
    pieces: list[Piece] = field(default_factory=list)
    partitions: list[Partition] = field(default_factory=list)

    def has_room(self, experiment: Experiment, piece: Piece) -> bool:
        partitions = [*self.partitions, planned_piece(experiment, piece)]
        overhead_s = self.bounds.overhead_s
        # Control instructions are not known here: a job with too many is refused, and divided.
        load = Load(
            sum(each.executions for each in partitions),
            sum(each.payload_bytes for each in partitions),
            sum(each.qpu_s - overhead_s for each in partitions),
        )
        # A job that is longer than its batch would never run.
        bounds_s = experiment.sharing.pack_s, self.max_time_s
        longest_s = min((bound for bound in bounds_s if bound is not None), default=math.inf)
        return (
            load.qpu_s + overhead_s <= longest_s
            and self.bounds.exceeded(sum(each.num_pubs for each in partitions), load) is None
            and fits_tags(experiment, [*self.pieces, piece], self.primitive)
        )

    def add(self, experiment: Experiment, piece: Piece) -> None:
        self.pieces.append(piece)
        self.partitions.append(planned_piece(experiment, piece))


def jobs_of(experiment: Experiment, pieces: Iterable[Piece]) -> list[tuple[Piece, ...]]:
    """Return the pieces of each job that runs some without one, in the order of submission."""
    jobs: list[_Job] = []
    open_jobs: dict[Hashable, _Job] = {}
    for piece in in_order(experiment, pieces):
        kind = _kind(experiment, piece)
        job = open_jobs.get(kind)
        if job is None or not job.has_room(experiment, piece):
            spec = experiment.point_of(piece.partition).spec
            primitive = spec.primitive_of(planned_piece(experiment, piece).workload)
            bounds = job_bounds(primitive, spec.partition, spec.limits)
            job = _Job(bounds, primitive, spec.max_time_s)
            jobs.append(job)
            open_jobs[kind] = job
        job.add(experiment, piece)
    return [tuple(job.pieces) for job in jobs]


def read_plan(experiment: Experiment) -> None:
    """Read the committed plan; of a sealed point whose archive is damaged, nothing is known.

    Raises:
        ArchiveError: A part is damaged, or missing.
    """
    ledger = experiment.ledger
    for index in ledger.planned:
        point, own = experiment.points[index], ledger.partitions_of(index)
        if point.partitions:
            continue
        try:
            partitions = point.store.read_partitions()
        except ArchiveError as error:
            if not point.is_sealed:
                raise
            experiment.observer.warned(f"{error}; the other points go on")
            unknown = Partition(0, "damaged", 0, 0, None, None, 0, 0, 0.0, "end")
            partitions = (unknown,) * len(own)
        point.number(partitions, own.start)
        if len(point.partitions) != len(own):
            raise ArchiveError(
                f"{point.folder} has parts of {len(point.partitions)} partitions, but "
                f"{len(own)} were planned; restore them from a copy"
            )
    if ledger.planned:
        gather_plan(experiment)


def gather_plan(experiment: Experiment) -> None:
    """Combine the partitions of all points into the plan, with the jobs that they share."""
    unordered = (partition for point in experiment.points for partition in point.partitions)
    partitions = tuple(sorted(unordered, key=lambda partition: partition.index))
    forecasts = [point.forecast for point in experiment.points if point.forecast is not None]
    forecast = sum(forecasts, Forecast()) if forecasts else None
    experiment.plan = Plan(partitions, forecast=forecast)
    if not experiment.is_sweep:
        return
    jobs = jobs_of(experiment, [Piece(partition.index) for partition in partitions])
    planned = []
    for job in jobs:
        spec = experiment.point_of(job[0].partition).spec
        saved_s = overhead_s(spec.partition, spec.limits) * (len(job) - 1)
        planned.append(PlannedJob(tuple(piece.partition for piece in job), saved_s))
    experiment.plan = replace(experiment.plan, jobs=tuple(planned))


def in_order(experiment: Experiment, pieces: Iterable[Piece]) -> list[Piece]:
    """Return pieces in the order that `sweep.order` declares.

    Interleaved: the first partition of each point, then the second of each, and so on. Random: the
    same, with the points in another order each time, which the seed decides.
    """
    order, points = experiment.sharing.order, experiment.points

    def key(piece: Piece) -> tuple[object, ...]:
        index, point = piece.partition, experiment.point_of(piece.partition)
        turn, first = _turn(experiment, piece), piece.first or 0
        if order == "declared":
            return (point.index, index, first)
        if order == "interleaved":
            return (turn, point.index, first)
        text = f"{points[0].spec.seed} {turn} {point.index}"
        return (turn, hashlib.sha256(text.encode()).digest(), first)

    return sorted(pieces, key=key)


def _turn(experiment: Experiment, piece: Piece) -> int:
    return piece.partition - experiment.point_of(piece.partition).own_indices.start


def _kind(experiment: Experiment, piece: Piece) -> Hashable:
    """Return what pieces of one job agree in."""
    partition, point = planned_piece(experiment, piece), experiment.point_of(piece.partition)
    primitive = point.spec.primitive_of(partition.workload)
    last = [kind for _, kind in experiment.ledger.failures_of(piece)][-1:]
    is_alone = (
        not experiment.is_sweep
        or experiment.sharing.pack_s is None
        or piece.first is not None
        or any(kind in _ALONE_AFTER for kind in last)
        or is_calibrated_per_job(primitive)
        # The result of a private job can be fetched once: one point is enough to lose.
        or (primitive.options.get("environment") or {}).get("private")
    )
    if is_alone:
        return piece
    agreed = repr((primitive, point.spec.partition))
    # Blocks are declared so that points take turns: those that share no jobs do, too.
    has_turns = experiment.sharing.block is not None and experiment.sharing.order != "declared"
    turn = _turn(experiment, piece) if has_turns else None
    return point.lane, turn, agreed, partition.shots, partition.precision


def by_lane(
    experiment: Experiment, jobs: Iterable[tuple[Piece, ...]]
) -> Iterator[tuple[int, list[tuple[Piece, ...]]]]:
    """Yield the lanes that have jobs to submit, with these jobs."""
    lanes: dict[int, list[tuple[Piece, ...]]] = {}
    for job in jobs:
        lanes.setdefault(experiment.point_of(job[0].partition).lane, []).append(job)
    yield from sorted(lanes.items())
