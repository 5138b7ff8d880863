"""An experiment of two points: they share journal and batches, and each has its own data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from qexp.batch.execute import execute
from qexp.batch.packing import gather_plan
from qexp.batch.recover import note_stored_outcomes
from qexp.core.spec import ExecutionPolicy, common_value
from qexp.errors import ArchiveError, ConfigError, RunLockedError
from qexp.journal.events import Planned, Resumed
from qexp.journal.file import Journal
from qexp.points import Experiment, Point, open_experiment
from qexp.resumption import finished_archive
from tests.unit.batch.service import (
    FakeRemoteEngine,
    Life,
    MemoryStore,
    Service,
    declared,
    partition,
    submit_only,
)

POLICY = ExecutionPolicy(retries=0)


def two_points(folder: Path, service: Service, stores: list[MemoryStore]) -> Experiment:
    """Partitions 0 and 1 are of the first point, 2 is of the second."""
    engine = FakeRemoteEngine(service, Life())
    points = [Point(declared(engine, POLICY), folder / str(index), index) for index in range(2)]
    backend = SimpleNamespace(name="scripted", num_qubits=5)
    for point, store, indices in zip(points, stores, ([0, 1], [2]), strict=True):
        point.partitions = tuple(replace(partition(k), point=point.index) for k in indices)
        point.store, point.run_id, point.backend = store, f"run{point.index}", backend
    experiment = Experiment(folder, tuple(points), Journal(folder), clock=service.time.clock())
    gather_plan(experiment)
    if not experiment.ledger.planned:
        experiment.journal.append(Planned(("a" * 64, "b" * 64)))
        experiment.journal.append(Planned(("c" * 64,), point=1, first=2))
    return experiment


def test_points_share_a_batch_and_each_keeps_its_own_outcomes(tmp_path: Path):
    service, stores = Service(ends={1: ["internal"]}), [MemoryStore(), MemoryStore()]
    experiment = two_points(tmp_path, service, stores)
    with experiment.journal:
        execute(experiment)
    assert service.batches == ["batch0"]
    assert all("qexp-run:run0" in job.tags for job in service.jobs.values())
    # Each numbers its own from 0.
    assert [sorted(store.outcomes) for store in stores] == [[(0, 1), (1, 1)], [(0, 1)]]
    assert [each["id"] for each in experiment.store.read_batches()] == ["batch0"]
    first, second = experiment.points
    assert (experiment.status(first), experiment.status(second)) == ("partial", "complete")
    assert experiment.status() == "partial"


def test_points_go_on_together(tmp_path: Path):
    service, stores = Service(held=True), [MemoryStore(), MemoryStore()]
    experiment = two_points(tmp_path, service, stores)
    with experiment.journal:
        submit_only(experiment)
    service.held = False
    resumed = two_points(tmp_path, service, stores)
    with resumed.journal:
        resumed.journal.append(Resumed("host", 1, "0"))
        note_stored_outcomes(resumed)
        execute(resumed)
    assert service.runs == {0: 1, 1: 1, 2: 1}
    assert resumed.status() == "complete"
    assert not resumed.has_work


def test_points_that_do_not_agree_share_no_batch(tmp_path: Path):
    experiment = two_points(tmp_path, Service(), [MemoryStore(), MemoryStore()])
    with experiment.journal:
        spec = experiment.points[1].spec
        other = Point(replace(spec, policy=ExecutionPolicy(retries=7)), tmp_path / "2", 2)
        with pytest.raises(ConfigError, match=r"execution: the points of a sweep .*launcher=basic"):
            experiment.add_points([other])
    assert common_value("seed", iter([3, 3])) == 3


def test_points_on_another_backend_or_with_another_max_time_are_a_lane_of_their_own(
    tmp_path: Path,
):
    experiment = two_points(tmp_path, Service(), [MemoryStore(), MemoryStore()])
    with experiment.journal:
        spec = experiment.points[1].spec
        more = [replace(spec, place="elsewhere"), replace(spec, max_time_s=60), spec]
        experiment.add_points(
            [Point(one, tmp_path / str(k), k) for k, one in enumerate(more, start=2)]
        )
        assert [point.lane for point in experiment.points] == [0, 0, 2, 3, 0]
        assert experiment.lanes == [0, 2, 3]


def test_one_process_at_a_time_works_on_an_experiment_and_leaves_no_worker(tmp_path: Path):
    engine = FakeRemoteEngine(Service(), Life())
    point = Point(declared(engine, POLICY), tmp_path)
    with (
        open_experiment(tmp_path, [point], None, None) as experiment,
        pytest.raises(RunLockedError),
        open_experiment(tmp_path, [point], None, None),
    ):
        pass
    assert experiment.workers.count == 1
    assert experiment.id == tmp_path.name


def test_a_run_without_an_archive_or_with_parts_is_not_finished(tmp_path: Path):
    assert finished_archive(tmp_path) is None
    (tmp_path / "run.h5").write_text("x")
    (tmp_path / "parts").mkdir()
    assert finished_archive(tmp_path) is None


def test_an_archive_that_cannot_be_read_is_no_finished_run(tmp_path: Path):
    (tmp_path / "run.h5").write_text("x")
    with pytest.raises(ArchiveError):
        finished_archive(tmp_path)
