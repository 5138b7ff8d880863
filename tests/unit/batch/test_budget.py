"""`budget.qpu` against a service that charges what a test says; each partition is predicted 2 s."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qexp.archive.sweep_file import SweepPoint, read_sweep, write_sweep
from qexp.batch.budget import Budget
from qexp.batch.execute import execute
from qexp.batch.recover import note_stored_outcomes
from qexp.core.spec import ExecutionPolicy
from qexp.errors import PlanError, UnfinishedError
from qexp.journal.events import Resumed
from qexp.points import Experiment
from tests.unit.batch.service import Killed, Life, MemoryStore, Process, Service
from tests.unit.batch.sweeps import Disk, SweepProcess
from tests.unit.batch.sweeps import go as go_sweep

CHARGED = dict.fromkeys(range(3), (2.0, "complete"))
ONE_BY_ONE = ExecutionPolicy(max_pending=1)


class Run:
    """A run of three partitions that survives its processes."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.folder, self.service, self.store = folder, service, MemoryStore()
        self.experiment: Experiment | None = None

    def go(self, budget_s: int | None, **settings: Any) -> None:
        process = Process(self.folder, self.service, self.store, budget_s=budget_s, **settings)
        self.experiment = process.experiment()
        with self.experiment.journal as journal:
            if journal.ledger.batches:
                journal.append(Resumed("host", 1, "0"))
            note_stored_outcomes(self.experiment)
            execute(self.experiment)

    def stops(self, budget_s: int, match: str, **settings: Any) -> tuple[str, ...]:
        """Run until the budget is used up; return the words with which it would go on."""
        with pytest.raises(UnfinishedError, match=match):
            self.go(budget_s, **settings)
        assert self.experiment is not None
        return self.experiment.next_words


def done(run: Run) -> set[int]:
    return {partition for (partition, _), one in run.store.outcomes.items() if one.state == "DONE"}


def test_a_budget_that_is_enough_changes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, Service(usages=dict(CHARGED)))
    run.go(6)
    assert done(run) == {0, 1, 2}
    assert run.service.calls.count("submit") == 3


def test_charges_above_the_prediction_use_it_up(tmp_path: Path) -> None:
    run = Run(tmp_path, Service(usages=dict.fromkeys(range(3), (3.0, "complete"))))
    words = run.stops(
        7,
        r"^budget\.qpu is 7\.0s, of which 6\.0s are used, and the next job is predicted to take "
        r"2\.0s; raise it to go on$",
        policy=ONE_BY_ONE,
    )
    assert (done(run), words) == ({0, 1}, ("budget.qpu=8",))
    # Nothing is opened or submitted for the same budget, and what is missing for the next.
    assert run.stops(7, "of which 6.0s are used") == words
    assert (run.service.created, len(run.service.batches)) == (2, 1)
    run.go(8)
    assert (done(run), run.service.created) == ({0, 1, 2}, 3)


def test_jobs_in_flight_may_be_charged_less_than_was_predicted(tmp_path: Path) -> None:
    run = Run(tmp_path, Service(usages=dict.fromkeys(range(3), (1.0, "complete"))))
    run.go(4)
    assert done(run) == {0, 1, 2}


@pytest.mark.parametrize("usage", [(1.0, "pending"), (0.0, "pending"), None])
def test_a_charge_that_is_not_known_counts_as_predicted(tmp_path: Path, usage: Any) -> None:
    usages = {} if usage is None else dict.fromkeys(range(3), usage)
    run = Run(tmp_path, Service(usages=usages))
    assert run.stops(5, "of which 4.0s are used") == ("budget.qpu=6",)
    assert done(run) == {0, 1}


def test_a_failed_attempt_that_was_charged_counts(tmp_path: Path) -> None:
    run = Run(tmp_path, Service(ends={0: ["transient", None]}, usages=dict(CHARGED)))
    assert run.stops(6, "of which 6.0s are used") == ("budget.qpu=8",)
    assert done(run) == {1, 2}
    run.go(8)
    assert done(run) == {0, 1, 2}


@pytest.mark.parametrize(("failure", "is_counted"), [("transient", False), ("undelivered", True)])
def test_a_failed_attempt_without_a_charge(tmp_path: Path, failure: Any, is_counted: bool) -> None:
    run = Run(tmp_path, Service(ends={0: [failure, None]}, usages={1: CHARGED[1], 2: CHARGED[2]}))
    policy = ExecutionPolicy(outage_s=0.0)
    if is_counted:
        run.stops(6, "of which 6.0s are used", policy=policy)
    else:
        run.go(6, policy=policy)


def test_a_job_that_exists_twice_counts_twice(tmp_path: Path) -> None:
    """A proxy sends the first one twice."""
    service = Service(
        usages=dict(CHARGED),
        on_submit=[lambda its, request, batch: its.create(request, batch)],
    )
    run = Run(tmp_path, service)
    run.stops(6, "are used", policy=ONE_BY_ONE)
    assert len(done(run)) == 2
    run.go(8)
    assert done(run) == {0, 1, 2}


def test_a_simulation_counts_as_predicted_and_what_ended_with_its_process_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.batch.service.FakeEngine.uses_qpu", False)
    run = Run(tmp_path, Service(usages=dict.fromkeys(range(3), (50.0, "complete"))))
    local: dict[str, Any] = {"jobs_outlive_process": False}
    with pytest.raises(Killed):
        # After the second job was submitted.
        run.go(6, life=Life(dies_at=17), **local)
    assert run.service.created == 2
    run.stops(4, "of which 4.0s are used", **local)
    run.go(6, **local)
    assert done(run) == {0, 1, 2}


def test_wherever_a_process_is_killed_no_more_is_submitted_than_the_budget_holds(
    tmp_path: Path,
) -> None:
    for dies_at in range(1, 60):
        run, life = Run(tmp_path / str(dies_at), Service(usages=dict(CHARGED))), Life(dies_at)
        run.folder.mkdir()
        try:
            run.stops(4, "are used", life=life)
        except Killed:
            run.stops(4, "are used")
        assert run.service.created == 2, dies_at
        run.go(6)
        assert (done(run), run.service.created) == ({0, 1, 2}, 3), dies_at
        if not life.is_dead:
            break
    else:
        raise AssertionError("every process was killed")


def test_a_sweep_has_one_budget_and_a_shared_job_one_overhead(tmp_path: Path) -> None:
    """Six partitions of 2 s, all of it the overhead, in two jobs of four and two: 4 s."""
    service = Service()
    experiment = go_sweep(tmp_path, service, Disk.of(3), budget_s=4)
    assert (experiment.plan.qpu_s, service.created) == (4.0, 2)


def test_a_sweep_whose_budget_is_used_up(tmp_path: Path) -> None:
    service, disk = Service(), Disk.of(3)
    with pytest.raises(UnfinishedError, match=r"of which 2\.0s are used"):
        go_sweep(tmp_path, service, disk, budget_s=3)
    assert service.created == 1
    # The next process counts what the jobs were charged from the parts of all points.
    with pytest.raises(UnfinishedError, match=r"of which 2\.0s are used"):
        go_sweep(tmp_path, service, disk, budget_s=3)
    go_sweep(tmp_path, service, disk, budget_s=4)
    assert service.created == 2


def test_a_plan_above_its_budget_is_refused_with_both_figures(tmp_path: Path) -> None:
    """Six partitions of 2 s, all of it the overhead, in two jobs: 4 s."""
    experiment = SweepProcess(tmp_path, Service(), Disk.of(3)).experiment()
    with experiment.journal:
        Budget(experiment, 4).check()
        with pytest.raises(PlanError) as caught:
            Budget(experiment, 3).check()
    assert str(caught.value) == (
        "budget.qpu is 3.0s, but all jobs together are predicted to take 4.0s of QPU time; "
        "raise it to at least budget.qpu=4, or run fewer circuits or shots"
    )


def test_a_plan_is_not_refused_for_what_was_noted_before(tmp_path: Path) -> None:
    experiment = SweepProcess(tmp_path, Service(), Disk.of(3)).experiment()
    with experiment.journal:
        experiment.next_words = ("budget.qpu=9",)
        Budget(experiment, 4).check()


def test_points_that_are_added_are_refused_with_what_is_used(tmp_path: Path) -> None:
    disk, sizes = Disk.of(3), ((2, 2), (4,))
    go_sweep(tmp_path, Service(), disk, sizes=sizes[:1], budget_s=2)
    declared = read_sweep(tmp_path)
    write_sweep(tmp_path, replace(declared, points=(*declared.points, SweepPoint("1", {}, (), ""))))
    experiment = SweepProcess(tmp_path, Service(), disk, sizes=sizes).experiment()
    experiment.points[0].spec = replace(experiment.points[0].spec, config=("seed: 1",))
    with experiment.journal:
        Budget(experiment, 4).check()
        with pytest.raises(PlanError) as caught:
            Budget(experiment, 3).check()
    assert str(caught.value) == (
        "budget.qpu is 3.0s, of which 2.0s are used, but all other jobs together are predicted to "
        f"take 2.0s of QPU time; raise it to go on: python -m qexp resume {tmp_path} budget.qpu=4"
    )
