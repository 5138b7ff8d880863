"""A job has run, and what is delivered is not its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qexp.errors import JobsFailedError, UnfinishedError
from tests.emulator import faults
from tests.faults import conftest
from tests.faults.conftest import CIRCUITS, PARTITIONS, TRIES_OF_THE_CLIENT, Scenario

EDITS = pytest.mark.parametrize(
    "edit",
    [
        faults.truncated,
        faults.garbled,
        faults.empty,
        faults.without_last_pub,
        faults.without_last_shot,
        faults.with_register_renamed,
        faults.with_wider_register,
        faults.with_another_axis,
    ],
)


@EDITS
def test_it_is_fetched_again(either: Scenario, edit: faults.Edit) -> None:
    either.inject(faults.edited(faults.RESULTS, edit, times=2))
    either.run()
    either.assert_complete()
    assert either.posts() == PARTITIONS
    assert len(either.emulator.journal.find("POST", "/sessions")) == 1


@EDITS
def test_a_result_that_never_comes_is_measured_again(scenario: Scenario, edit: faults.Edit) -> None:
    scenario.allow(outage_s=0.3)
    scenario.inject(of_partition(scenario, 1, edit))
    scenario.run()
    scenario.assert_complete(executed_again=Counter({1: 1}))
    assert scenario.failures() == {(1, 1): "undelivered"}
    # It had run, and was charged.
    usages_s = [job.usage_s for job in scenario.jobs()]
    assert len(usages_s) == PARTITIONS + 1
    assert all(usages_s)
    first, second = scenario.events("batch_opened")
    assert second["follows"] == first["batch"]
    (failed,) = [job for job in scenario.jobs() if job.state != "DONE"]
    assert failed.error
    assert failed.job_id in scenario.emulator.job_ids


def test_when_it_does_not_come_for_any_attempt_the_run_is_partial(scenario: Scenario) -> None:
    scenario.allow(retries=1, outage_s=0.3)
    scenario.inject(of_partition(scenario, 1, faults.empty, attempts=9))
    with pytest.raises(JobsFailedError, match="1 of 3 jobs have no result"):
        scenario.run()
    assert scenario.failures() == {(1, 1): "undelivered", (1, 2): "undelivered"}
    with scenario.archive() as archive:
        assert archive.status == "partial"
        assert len(scenario.measured(archive)) == CIRCUITS - 2
    scenario.emulator.faults.clear()
    scenario.resume()
    scenario.assert_complete(executed_again=Counter({1: 2}))


def test_a_private_result_that_is_lost_on_the_way_is_measured_again(scenario: Scenario) -> None:
    """It can be read once; nothing else would bring it back."""
    scenario.allow(outage_s=0.3)
    scenario.options = {"environment": {"private": True}}
    scenario.inject(faults.edited(faults.RESULTS, faults.truncated))
    scenario.run()
    (again,) = {partition for partition, _ in scenario.failures()}
    scenario.assert_complete(executed_again=Counter({again: 1}))


def test_results_that_the_service_refuses_for_a_while(scenario: Scenario) -> None:
    scenario.inject(faults.status(faults.RESULTS, 404, times=2))
    scenario.inject(faults.status(faults.RESULTS, 500, times=TRIES_OF_THE_CLIENT + 1))
    scenario.run()
    scenario.assert_complete()


def sweeps(seed_sequence: np.random.SeedSequence) -> Iterator[tuple[QuantumCircuit, list[float]]]:
    """Circuits with two or three sets of parameter values, in turn."""
    for index in range(CIRCUITS):
        circuit = QuantumCircuit(2)
        circuit.ry(Parameter("angle"), 0)
        circuit.measure_all()
        yield circuit, [0.5 + index, 1.5, 2.5][: 2 + index % 2]


def test_results_of_pubs_in_another_order(
    either: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their shapes tell them apart."""
    monkeypatch.setattr(conftest, "rotations", sweeps)
    either.allow(outage_s=0.3)
    either.inject(of_partition(either, 1, faults.with_pubs_swapped))
    either.run()
    either.assert_complete(executed_again=Counter({1: 1}))
    (failed,) = [job for job in either.jobs() if job.state != "DONE"]
    assert failed.failure == "undelivered"
    assert "shape (3,) instead of (2,)" in (failed.error or "")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (faults.with_register_renamed, "registers 'meas2' instead of 'meas' of PUB 0"),
        (faults.with_wider_register, "3 bits instead of 2 in 'meas' of PUB 0"),
        (faults.with_another_axis, "shape (1,) instead of () of PUB 0"),
    ],
)
def test_a_foreign_result_of_an_adopted_job_is_not_kept(
    either: Scenario, edit: faults.Edit, reason: str
) -> None:
    """Another process submitted it: what is expected follows from the plan."""
    gone = faults.gone_at(faults.RESULTS)
    either.inject(gone)
    either.allow(outage_s=0.3)
    with pytest.raises(UnfinishedError):
        either.run()
    gone.stop()
    either.inject(of_partition(either, 1, edit))
    either.resume()
    either.assert_complete(executed_again=Counter({1: 1}))
    (failed,) = [job for job in either.jobs() if job.state != "DONE"]
    assert (failed.partition, failed.failure) == (1, "undelivered")
    assert reason in (failed.error or "")


def of_partition(
    scenario: Scenario, partition: int, edit: faults.Edit, *, attempts: int = 1
) -> faults.Scripted:
    """Do something to the results of a partition's first attempts."""

    def wanted(path: str) -> bool:
        return path.split("/")[2] in scenario.emulator.jobs_of(partition)[:attempts]

    return faults.edited(faults.RESULTS.where(wanted), edit, times=None)
