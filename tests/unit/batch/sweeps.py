"""One process's view of a scripted sweep: points with a folder each, which share jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qexp.archive.sweep_file import SweepDeclaration, SweepPoint, is_sweep, write_sweep
from qexp.batch.execute import execute
from qexp.batch.packing import gather_plan
from qexp.batch.recover import note_stored_outcomes
from qexp.core.observer import Observer
from qexp.core.spec import ExecutionPolicy, PartitionLimits, SharingPolicy
from qexp.journal.events import Planned, Resumed
from qexp.journal.file import Journal, read_ledger
from qexp.points import Experiment, Point
from tests.unit.batch.service import (
    RUN_ID,
    FakeEngine,
    FakeRemoteEngine,
    Life,
    MemoryStore,
    MortalJournal,
    Service,
    declared,
    partitions,
    pubs_of,
)

PATIENT = ExecutionPolicy(retries=9, follow_ups=9, retry_refused=True)


@dataclass
class Disk:
    """What is on disk of a sweep; it survives."""

    stores: list[MemoryStore]
    shared: MemoryStore = field(default_factory=MemoryStore)

    @classmethod
    def of(cls, num_points: int) -> Disk:
        return cls([MemoryStore() for _ in range(num_points)])


@dataclass
class SweepProcess:
    """One process's view of a sweep in `folder`.

    Attributes:
        sizes: Number of PUBs of each partition, point by point.
        most: The most PUBs in a job.
        lanes: The backend of each point; empty: all have the same.
        options: Options of the primitive, point by point; of others: none.
    """

    folder: Path
    service: Service
    disk: Disk
    sizes: tuple[tuple[int, ...], ...] = ((1, 1), (1, 1), (1, 1))
    most: int = 4
    sharing: SharingPolicy = field(default_factory=SharingPolicy)
    policy: ExecutionPolicy = field(default_factory=ExecutionPolicy)
    lanes: tuple[str, ...] = ()
    budget_s: int | None = None
    options: Mapping[int, Any] = field(default_factory=dict)
    observer: Observer = field(default_factory=Observer)
    life: Life = field(default_factory=Life)
    jobs_outlive_process: bool = True

    def experiment(self) -> Experiment:
        """Open it; write its declaration and its plan, if it is new."""
        if not is_sweep(self.folder):
            points = tuple(SweepPoint(f"{n:04d}", {}, (), ()) for n in range(len(self.sizes)))
            write_sweep(self.folder, SweepDeclaration(RUN_ID, "2026-11-29", points))
        journal = MortalJournal(self.folder, self.life)
        for store in (*self.disk.stores, self.disk.shared):
            store.life = self.life
        kind = FakeRemoteEngine if self.jobs_outlive_process else FakeEngine
        engine = kind(self.service, self.life)
        points = [self._point(engine, journal, index) for index in range(len(self.sizes))]
        experiment = Experiment(
            self.folder, tuple(points), journal, self.observer, self.service.time.clock()
        )
        experiment.store = self.disk.shared  # type: ignore[misc,assignment]
        gather_plan(experiment)
        return experiment

    def _point(self, engine: Any, journal: Journal, index: int) -> Point:
        ledger, sizes = journal.ledger, self.sizes[index]
        spec = declared(engine, self.policy)
        primitive = replace(spec.workloads[0].primitive, options=self.options.get(index, {}))
        spec = replace(
            spec,
            place=self.lanes[index] if self.lanes else "",
            partition=PartitionLimits(max_circuits=self.most),
            sharing=self.sharing,
            budget_s=self.budget_s,
            workloads=(replace(spec.workloads[0], primitive=primitive),),
        )
        if index not in ledger.planned:
            digests = tuple(f"{ledger.num_partitions + k:064x}" for k in range(len(sizes)))
            first = ledger.num_partitions
            Journal.append(journal, Planned(digests, point=index, first=first))
        point = Point(spec, self.folder / f"{index:04d}", index)
        point.number(partitions(sizes), ledger.partitions_of(index).start)
        point.store, point.run_id = self.disk.stores[index], f"{index:04d}"  # type: ignore[misc,assignment]
        point.backend = SimpleNamespace(name=spec.place or "scripted", num_qubits=5)  # type: ignore[assignment]
        return point


def go(
    folder: Path,
    service: Service,
    disk: Disk,
    work: Callable[[Experiment], None] = execute,
    **settings: Any,
) -> Experiment:
    """Run a sweep, or resume it, in a process of its own."""
    experiment = SweepProcess(folder, service, disk, **settings).experiment()
    with experiment.journal:
        if experiment.ledger.batches:
            experiment.journal.append(Resumed("host", 1, "0"))
        note_stored_outcomes(experiment)
        work(experiment)
    return experiment


def executions(service: Service) -> Counter[int]:
    """PUB -> how often it was run."""
    return Counter(pub for job in service.jobs.values() if job.state == "DONE" for pub in job.pubs)


def held(service: Service) -> list[tuple[int, ...]]:
    """The partitions in each job there ever was."""
    return [job.partitions for job in service.jobs.values()]


def assert_whole(experiment: Experiment, service: Service, disk: Disk) -> None:
    """Each point has each of its results once, and every job that ran is accounted for once."""
    ledger = read_ledger(experiment.folder)
    assert not ledger.open_attempts()
    assert ledger.done == set(range(ledger.num_partitions))
    shares: Counter[str] = Counter()
    for point, store in zip(experiment.points, disk.stores, strict=True):
        results: list[int] = []
        for (index, _), outcome in store.outcomes.items():
            shares[outcome.job_id] += outcome.share  # type: ignore[assignment]
            if outcome.state != "DONE":
                assert outcome.result is None
                continue
            part = point.partitions[index]
            if outcome.first is not None and outcome.stop is not None:
                part = part.piece(outcome.first, outcome.stop)
            assert list(outcome.result) == pubs_of(part)
            results += outcome.result
        assert sorted(results) == [pub for part in point.partitions for pub in pubs_of(part)]
    for job in service.jobs.values():
        if job.state == "DONE":
            assert shares[job.id] == pytest.approx(1.0)
