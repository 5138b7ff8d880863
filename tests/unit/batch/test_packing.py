"""Which partitions share a job, and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qexp.batch.packing import by_lane, gather_plan, in_order, jobs_of
from qexp.core.spec import Limit, PartitionLimits, SharingPolicy
from qexp.journal.events import BatchOpened, Cut, NotSubmitted, Submitting
from qexp.journal.ledger import Piece
from qexp.points import Experiment
from tests.unit.batch.service import Service
from tests.unit.batch.sweeps import Disk, SweepProcess

THREE = ((1, 1), (1, 1), (1, 1))
TREX = {"resilience": {"measure_mitigation": True}}


def sweep(folder: Path, sizes: tuple[tuple[int, ...], ...] = THREE, **settings: Any) -> Experiment:
    process = SweepProcess(folder, Service(), Disk.of(len(sizes)), sizes=sizes, **settings)
    experiment = process.experiment()
    experiment.journal.__exit__()
    return experiment


def packed(experiment: Experiment) -> list[tuple[int, ...]]:
    """The partitions of each job."""
    pieces = [Piece(index) for index in range(experiment.ledger.num_partitions)]
    return [tuple(piece.partition for piece in job) for job in jobs_of(experiment, pieces)]


def ordered(experiment: Experiment) -> list[int]:
    pieces = [Piece(index) for index in reversed(range(experiment.ledger.num_partitions))]
    return [piece.partition for piece in in_order(experiment, pieces)]


def with_limits(experiment: Experiment, **changes: Any) -> Experiment:
    for point in experiment.points:
        point.spec = replace(point.spec, **changes)
    return experiment


def test_points_take_turns(tmp_path: Path):
    experiment = sweep(tmp_path, ((1, 1), (1,), (1, 1, 1)))
    assert ordered(experiment) == [0, 2, 3, 1, 4, 5]


def test_points_in_the_declared_order(tmp_path: Path):
    experiment = sweep(tmp_path, sharing=SharingPolicy(order="declared"))
    assert ordered(experiment) == [0, 1, 2, 3, 4, 5]


def test_points_in_another_order_each_turn_which_the_seed_decides(tmp_path: Path):
    sizes = tuple([(1, 1)] * 6)
    experiment = sweep(tmp_path, sizes, sharing=SharingPolicy(order="random"))
    found = ordered(experiment)
    turns = [[index // 2 for index in found[:6]], [index // 2 for index in found[6:]]]
    assert [index % 2 for index in found] == [0] * 6 + [1] * 6
    assert [sorted(turn) for turn in turns] == [[*range(6)]] * 2
    assert turns[0] != turns[1] != [*range(6)]
    assert ordered(experiment) == found
    assert ordered(with_limits(experiment, seed=1)) != found


@pytest.mark.parametrize(
    ("most", "jobs"),
    [
        (6, [(0, 2, 4, 1, 3, 5)]),
        (4, [(0, 2, 4, 1), (3, 5)]),
        (2, [(0, 2), (4, 1), (3, 5)]),
        (1, [(0,), (2,), (4,), (1,), (3,), (5,)]),
    ],
)
def test_a_job_holds_no_more_circuits_than_allowed(
    tmp_path: Path, most: int, jobs: list[tuple[int, ...]]
):
    assert packed(sweep(tmp_path, most=most)) == jobs


def test_a_job_holds_no_more_executions_or_bytes_than_allowed(tmp_path: Path):
    experiment = sweep(tmp_path)
    bounds = replace(experiment.points[0].spec.partition, max_executions=20)
    assert packed(with_limits(experiment, partition=bounds)) == [(0, 2), (4, 1), (3, 5)]
    bounds = replace(bounds, max_executions=None)
    limit = Limit(301, "https://example.org", "2026-11-22")
    experiment = with_limits(experiment, partition=bounds, limits={"payload_bytes_per_job": limit})
    assert packed(experiment) == [(0, 2, 4), (1, 3, 5)]


@pytest.mark.parametrize(("pack_s", "jobs"), [(3.5, 2), (3.0, 3), (2.5, 6), (60.0, 1), (None, 6)])
def test_a_job_is_filled_up_to_a_time_that_has_the_overhead_once(
    tmp_path: Path, pack_s: float | None, jobs: int
):
    """Each partition is 0.5 s on the QPU and 2 s of overhead."""
    experiment = sweep(tmp_path, most=100, sharing=SharingPolicy(pack_s=pack_s))
    for point in experiment.points:
        point.partitions = tuple(replace(one, qpu_s=2.5) for one in point.partitions)
    gather_plan(experiment)
    assert len(packed(experiment)) == jobs
    assert experiment.plan.num_jobs == jobs
    alone_s = sum(partition.qpu_s for partition in experiment.plan.partitions)
    assert alone_s - experiment.plan.qpu_s == pytest.approx(2.0 * (6 - jobs))


def test_points_take_turns_with_those_that_share_no_jobs_where_blocks_are_declared(tmp_path: Path):
    for order in ("interleaved", "random"):
        (folder := tmp_path / order).mkdir()
        sharing = SharingPolicy(block=1, order=order)
        experiment = sweep(
            folder, ((1, 1), (1, 1), (1,)), most=100, options={1: TREX}, sharing=sharing
        )
        turns = [{index % 2 for index in job} for job in packed(experiment)]
        assert turns == [{0}, {0}, {1}, {1}]
        assert sorted(map(sorted, packed(experiment))) == [[0, 4], [1], [2], [3]]


def test_blocks_in_the_declared_order_take_no_turns(tmp_path: Path):
    sharing = SharingPolicy(block=1, order="declared")
    assert packed(sweep(tmp_path, most=100, sharing=sharing)) == [(0, 1, 2, 3, 4, 5)]


def test_points_that_are_calibrated_with_their_job_have_jobs_of_their_own(tmp_path: Path):
    experiment = sweep(tmp_path, most=100, options={1: TREX})
    assert packed(experiment) == [(0, 4, 1, 5), (2,), (3,)]


@pytest.mark.parametrize("change", [{"shots": 20}, {"shots": None, "precision": 0.1}])
def test_jobs_have_one_number_of_shots_or_one_precision(tmp_path: Path, change: dict[str, Any]):
    experiment = sweep(tmp_path)
    point = experiment.points[1]
    point.partitions = tuple(replace(one, **change) for one in point.partitions)
    gather_plan(experiment)
    assert packed(experiment) == [(0, 4, 1, 5), (2, 3)]


def test_jobs_have_one_backend_and_one_set_of_options(tmp_path: Path):
    other = {"dynamical_decoupling": {"enable": True}}
    lanes = ("one", "other", "one")
    experiment = sweep(tmp_path, lanes=lanes, options={2: other})
    jobs = jobs_of(experiment, [Piece(index) for index in range(6)])
    by_point = {lane: [[one.partition for one in job] for job in own]
                for lane, own in by_lane(experiment, jobs)}  # fmt: skip
    assert by_point == {0: [[0, 1], [4, 5]], 1: [[2, 3]]}


@pytest.mark.parametrize(
    ("failure", "is_alone"),
    [("shared", True), ("refused", True), ("too_large", True), ("transient", False),
     ("expired", False), ("lost", False)],
)  # fmt: skip
def test_what_a_job_was_refused_for_is_tried_alone(tmp_path: Path, failure: Any, is_alone: bool):
    process = SweepProcess(tmp_path, Service(), Disk.of(3), most=100)
    experiment = process.experiment()
    with experiment.journal as journal:
        journal.append(BatchOpened("b", "t"))
        journal.append(Submitting(2, 1, "b", "tag"))
        journal.append(NotSubmitted(2, 1, "because", failure))
        jobs = [(0, 4, 1, 3, 5), (2,)] if is_alone else [(0, 2, 4, 1, 3, 5)]
        assert sorted(packed(experiment)) == sorted(jobs)


def test_pieces_of_a_partition_share_no_job(tmp_path: Path):
    process = SweepProcess(tmp_path, Service(), Disk.of(2), sizes=((4,), (1, 1)), most=100)
    experiment = process.experiment()
    with experiment.journal as journal:
        journal.append(Cut(0, (0, 2, 4)))
        jobs = jobs_of(experiment, experiment.ledger.wanted(experiment.policy))
    assert jobs == [(Piece(0, 0, 2),), (Piece(0, 2, 4),), (Piece(1), Piece(2))]


def test_a_single_run_shares_nothing(tmp_path: Path):
    from tests.unit.batch.service import MemoryStore, Process

    experiment = Process(tmp_path, Service(), MemoryStore()).experiment()
    with experiment.journal:
        assert packed(experiment) == [(0,), (1,), (2,)]


def test_points_with_other_bounds_of_a_job_share_none(tmp_path: Path):
    experiment = sweep(tmp_path)
    first = experiment.points[0]
    first.spec = replace(first.spec, partition=PartitionLimits(max_circuits=2))
    assert packed(experiment) == [(0, 1), (2, 4, 3, 5)]


def test_a_job_is_no_longer_than_its_batch(tmp_path: Path):
    overhead = {"job_overhead_s": Limit(1.0, "here", "2026-01-01")}
    experiment = with_limits(sweep(tmp_path), max_time_s=3, limits=overhead)
    assert max(map(len, packed(experiment))) == 2
