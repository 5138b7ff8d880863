"""A run of three jobs against the emulator, quick to fail and quick to try again."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from urllib3.util.retry import Retry

import qexp
from qexp import provenance
from qexp.archive.jobs import JobRecord
from qexp.archive.read import Archive
from qexp.archive.schema import JOURNAL_NAME
from qexp.batch.pacing import Backoff
from qexp.core.model import Implementation, PrimitiveSpec
from qexp.core.observer import Observer
from qexp.core.seeds import child
from qexp.core.spec import ExecutionPolicy, PartitionLimits, RunSpec, TranspileSpec
from qexp.core.spec import WorkloadSpec as Workload
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.select import named
from qexp.experiment import RunReport, resume, run
from qexp.points import Clock
from qexp.provenance import describe_environment
from tests.emulator import MANILA, IBMEmulator
from tests.emulator.server import Intercept

SHOTS = 20
CIRCUITS = 5
PARTITIONS = 3
TRIES_OF_THE_CLIENT = 6
"""How often IBM's client sends a GET itself before it raises; it sends a POST once."""


def rotations(seed_sequence: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
    for index in range(CIRCUITS):
        angle = np.random.default_rng(child(seed_sequence, index)).uniform(0.5, 2.5)
        circuit = QuantumCircuit(2)
        circuit.ry(angle, 0)
        circuit.cx(0, 1)
        circuit.measure_all()
        yield circuit


class Watcher(Observer):
    """Records the events of a run."""

    def __init__(self) -> None:
        self.paused: list[tuple[str, float]] = []
        self.lost: list[str] = []
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)

    def submission_paused(self, reason: str, seconds: float) -> None:
        self.paused.append((reason, seconds))

    def service_lost(self, reason: str, seconds: float) -> None:
        self.lost.append(reason)


@cache
def environment(folder: Path) -> dict[str, Any]:
    """The environment of this process, which takes long to describe and does not change."""
    return describe_environment(folder)


def quick_clock() -> Clock:
    """Real time; only a job that was just submitted shows up in listings at once."""
    return Clock(time.monotonic, time.sleep, random.random, settle_s=0.0)


@dataclass
class Scenario:
    """One run against one emulator; settings may be changed before each call.

    The deadline is there for a run that would never end.
    """

    emulator: IBMEmulator
    run_dir: Path
    implementation: Implementation = "client"
    max_time_s: int | None = None
    budget_s: int | None = None
    policy: ExecutionPolicy = field(
        default_factory=lambda: ExecutionPolicy(outage_s=30.0, deadline_s=60)
    )
    options: dict[str, Any] = field(default_factory=dict)
    watcher: Watcher = field(default_factory=Watcher)
    clock: Clock = field(default_factory=quick_clock)

    def allow(self, **changes: Any) -> None:
        """Change the policy."""
        self.policy = replace(self.policy, **changes)

    def inject(self, *faults: Intercept) -> None:
        """From now on, this goes wrong."""
        self.emulator.faults.extend(faults)

    def spec(self) -> RunSpec:
        primitive = PrimitiveSpec(
            "sampler", self.implementation, shots=SHOTS, options=dict(self.options)
        )
        return RunSpec(
            experiment="faults",
            seed=3,
            max_time_s=self.max_time_s,
            budget_s=self.budget_s,
            workloads=(Workload("main", rotations, primitive, TranspileSpec()),),
            engine=IBMEngine(poll_interval_s=0.02),
            policy=self.policy,
            select_backend=lambda recorded: named(
                name=MANILA, pinned=recorded, outage_s=self.policy.outage_s
            ),
            partition=PartitionLimits(max_circuits=2, job_overhead_s=0.0),
            limits={},
            config=("seed: 3\n",),
        )

    def run(self) -> RunReport:
        """Start the run."""
        return run(self.spec(), self.run_dir, self.watcher, clock=self.clock)

    def resume(self) -> RunReport:
        """Go on with it, as another process would."""
        return resume(self.spec(), self.run_dir, self.watcher, clock=self.clock)

    def archive(self) -> Archive:
        return qexp.open_archive(self.run_dir)

    def jobs(self) -> list[JobRecord]:
        """The rows of the archive's `/jobs`."""
        with self.archive() as archive:
            return list(archive.jobs)

    def failures(self) -> dict[tuple[int, int], str | None]:
        """(partition, attempt) -> kind of failure, of the attempts without result."""
        return {
            (job.partition, job.attempt): job.failure for job in self.jobs() if job.state != "DONE"
        }

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Lines of the journal, those with these names only if any are given."""
        lines = (self.run_dir / JOURNAL_NAME).read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines]
        return [event for event in events if not names or event["event"] in names]

    def counts(self) -> Counter[str]:
        """How often which event is in the journal."""
        return Counter(event["event"] for event in self.events())

    def posts(self) -> int:
        """How often a job was submitted, successfully or not."""
        return len(self.emulator.journal.find("POST", "/jobs"))

    def assert_complete(self, *, executed_again: Counter[int] | None = None) -> None:
        """Every shot is there, bit by bit, and nothing was executed twice.

        Args:
            executed_again: How often more than once a partition had to be executed.
        """
        self.emulator.wait_until_idle()
        with self.archive() as archive:
            assert archive.status == "complete"
            assert self.measured(archive) == set(range(CIRCUITS))
        expected = Counter(range(PARTITIONS)) + (executed_again or Counter())
        assert self.emulator.runs_per_partition() == expected
        assert self.events()[-1]["event"] == "sealed"
        assert not (self.run_dir / "parts").exists()

    def measured(self, archive: Archive) -> set[int]:
        """Circuits with a result, after comparing each with what the emulator measured."""
        found: set[int] = set()
        for job in archive.jobs:
            if job.state != "DONE":
                assert job.num_results == 0
                continue
            assert job.num_results == job.stop - job.first
            for index, truth in enumerate(self.emulator.results[job.job_id], start=job.first):
                assert index not in found
                found.add(index)
                data = archive.results["main"][index].data
                assert set(data) == set(truth)
                for register, bits in truth.items():
                    assert data[register].num_shots == SHOTS
                    np.testing.assert_array_equal(data[register].to_bool_array("little"), bits)
        return found


@pytest.fixture
def scenario(
    ibm_emulator: IBMEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scenario:
    """Nothing has happened yet. The client's pauses and ours are cut short."""
    monkeypatch.setattr(Retry, "get_backoff_time", lambda retry: 0.0)
    monkeypatch.setattr(provenance, "describe_environment", environment)
    next_s = Backoff.next_s
    monkeypatch.setattr(Backoff, "next_s", lambda backoff: next_s(backoff) / 50)
    return Scenario(ibm_emulator, tmp_path / "20261122T091500Z-3f9a2c")


@pytest.fixture(params=["client", "legacy"])
def either(scenario: Scenario, request: pytest.FixtureRequest) -> Scenario:
    """The same for both implementations of the primitive."""
    scenario.implementation = request.param
    return scenario
