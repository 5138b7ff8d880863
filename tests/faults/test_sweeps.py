"""A sweep of three points, of which two share a job, while the service misbehaves."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qexp
from qexp.archive.sweep_file import SweepDeclaration, SweepPoint, write_sweep
from qexp.archive.verify import verify
from qexp.core.spec import PartitionLimits, RunSpec
from qexp.errors import JobsFailedError
from qexp.experiment import resume, run
from tests.emulator import faults, mishaps
from tests.faults.conftest import CIRCUITS, Scenario

POINTS = 3
NOT_VALID = 1002
BAD_POINT = faults.POST_JOB.tagged(r"qexp-parts:0:(0-1|1):.*")


class Sweep:
    """Points that differ in their seed."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.folder = scenario.run_dir
        self.folder.mkdir()
        points = tuple(SweepPoint(f"{n:04d}", {"seed": n}, (), ()) for n in range(POINTS))
        write_sweep(self.folder, SweepDeclaration("sweep-1", "2026-11-29", points))

    def specs(self) -> list[RunSpec]:
        spec = replace(
            self.scenario.spec(),
            partition=PartitionLimits(max_circuits=2 * CIRCUITS, job_overhead_s=0.0),
        )
        return [replace(spec, seed=number) for number in range(POINTS)]

    def run(self) -> None:
        run(self.specs(), self.folder, self.scenario.watcher, clock=self.scenario.clock)

    def resume(self) -> None:
        resume(self.specs(), self.folder, self.scenario.watcher, clock=self.scenario.clock)

    def archives(self) -> list[Path]:
        return sorted(self.folder.glob("*/run.h5"))

    def assert_whole(self, *points: int) -> None:
        """These points are complete, and their data are what the service has measured."""
        emulator = self.scenario.emulator
        emulator.wait_until_idle()
        offsets = {
            (event["partition"], event["attempt"]): event.get("offset", 0)
            for event in self.scenario.events("submitting", "adopted")
        }
        for point in points:
            path = self.folder / f"{point:04d}" / "run.h5"
            assert verify(path) == []
            with qexp.open_archive(path) as archive:
                assert archive.status == "complete"
                (job,) = [job for job in archive.jobs if job.state == "DONE"]
                first = offsets[point, job.attempt]
                truths = emulator.results[job.job_id][first : first + CIRCUITS]
                assert len(truths) == len(archive.results["main"]) == CIRCUITS
                for index, truth in enumerate(truths):
                    data = archive.results["main"][index].data
                    for register, bits in truth.items():
                        np.testing.assert_array_equal(data[register].to_bool_array("little"), bits)

    def assert_charges(self) -> None:
        """What the points were charged is what the service charged for all jobs."""
        usage_s = 0.0
        for path in self.archives():
            with qexp.open_archive(path) as archive:
                usage_s += archive.usage_s
        assert usage_s == pytest.approx(sum(job.usage_s for job in self.scenario.emulator.taken))


@pytest.fixture
def sweep(scenario: Scenario) -> Sweep:
    return Sweep(scenario)


def test_a_point_that_is_refused_costs_the_others_nothing(sweep: Sweep) -> None:
    sweep.scenario.inject(faults.status(BAD_POINT, 400, error=NOT_VALID, times=9))
    with pytest.raises(JobsFailedError, match=r"1 of 3 jobs have no result \(partitions 1\)"):
        sweep.run()
    sweep.assert_whole(0, 2)
    posts = sweep.scenario.posts()
    with pytest.raises(JobsFailedError, match="the service refused them"):
        sweep.resume()
    assert sweep.scenario.posts() == posts
    sweep.scenario.emulator.faults.clear()
    sweep.scenario.allow(retry_refused=True)
    sweep.resume()
    sweep.assert_whole(*range(POINTS))
    sweep.assert_charges()


def test_what_a_batch_left_out_is_run_in_the_next_one(sweep: Sweep) -> None:
    emulator = sweep.scenario.emulator
    sweep.scenario.inject(mishaps.expired(emulator, nth=1))
    sweep.run()
    sweep.assert_whole(*range(POINTS))
    assert len(emulator.session_ids) == 2
    with qexp.open_archive(sweep.archives()[0]) as archive:
        assert [batch.follows for batch in archive.batches] == [None, emulator.session_ids[0]]


def test_a_shared_job_that_a_proxy_doubles_is_charged_to_its_points(sweep: Sweep) -> None:
    emulator = sweep.scenario.emulator
    witness = mishaps.Witness(emulator)
    sweep.scenario.inject(witness, mishaps.doubled(faults.POST_JOB, witness, emulator, nth=1))
    sweep.run()
    sweep.assert_whole(*range(POINTS))
    sweep.assert_charges()
    assert len(sweep.scenario.events("duplicate")) == 1
    assert not (sweep.folder / "parts").exists()


def test_a_sweep_that_is_stopped_goes_on(sweep: Sweep) -> None:
    emulator = sweep.scenario.emulator
    emulator.hold()
    stop: Any = faults.first(faults.POST_JOB, lambda: os.kill(os.getpid(), signal.SIGINT))
    sweep.scenario.inject(stop)
    with pytest.raises(KeyboardInterrupt, match=r"0 of 3 jobs are kept; go on with: .* resume"):
        sweep.run()
    assert sweep.archives() == []
    assert sweep.scenario.posts() == 1
    emulator.release()
    sweep.resume()
    sweep.assert_whole(*range(POINTS))
    assert sweep.scenario.posts() == 2
