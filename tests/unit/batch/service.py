"""A service that does what a test says, survives the process that used it, and counts what it ran.

`Mortal` things die together: once one is killed, every call of any of them raises `Killed`, as
nothing of a process runs after SIGKILL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from qiskit.primitives import PrimitiveResult

from qexp.batch.execute import execute
from qexp.batch.packing import gather_plan
from qexp.core.model import (
    FINAL_STATES,
    FailureKind,
    FoundJob,
    JobOutcome,
    JobRequest,
    JobState,
    Partition,
    PrimitiveSpec,
    is_charge_pending,
)
from qexp.core.observer import Observer
from qexp.core.spec import ExecutionPolicy, RunSpec, TranspileSpec, WorkloadSpec
from qexp.errors import (
    BatchOverError,
    EngineError,
    LostJobError,
    UndeliveredError,
)
from qexp.journal.events import Planned
from qexp.journal.file import Journal
from qexp.points import Clock, Experiment, Point
from tests.unit.planning.conftest import StubEngine

RUN_ID = "20261122T120000Z-abcdef"


class Killed(BaseException):
    """SIGKILL."""


@dataclass
class Life:
    """Counts the steps of one process, and ends it at the n-th."""

    dies_at: int | None = None
    steps: int = 0
    is_dead: bool = False

    def step(self) -> None:
        if self.is_dead:
            raise Killed
        self.steps += 1
        if self.steps == self.dies_at:
            self.is_dead = True
            raise Killed


@dataclass
class FakeTime:
    """Passes only when somebody sleeps."""

    now_s: float = 0.0
    slept_s: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s.append(seconds)

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, self.sleep, lambda: 0.5, settle_s=2.0)


@dataclass
class ServiceJob:
    id: str
    partition: int
    batch: str
    tags: tuple[str, ...]
    pubs: list[int]
    partitions: tuple[int, ...]  # all of them, where several share it
    state: JobState = "QUEUED"
    failure: FailureKind | None = None


@dataclass
class Service:
    """The other side. `ends` says how the jobs of a partition end, attempt by attempt.

    `usages` has what the jobs of a partition are charged: seconds, and the status of the charge.
    A job that partitions share ends as those of the first one.
    """

    ends: dict[int, list[FailureKind | None]] = field(default_factory=dict)
    usages: dict[int, tuple[float, str]] = field(default_factory=dict)
    on_submit: list[Callable[[Service, JobRequest, str], None] | Exception] = field(
        default_factory=list
    )
    on_call: dict[str, list[Exception]] = field(default_factory=dict)
    polls_needed: int = 1
    jobs: dict[str, ServiceJob] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    over: set[str] = field(default_factory=set)
    runs: Counter[int] = field(default_factory=Counter)
    calls: list[str] = field(default_factory=list)
    held: bool = False
    created: int = 0
    time: FakeTime = field(default_factory=FakeTime)

    def call(self, name: str) -> None:
        self.calls.append(name)
        if self.on_call.get(name):
            raise self.on_call[name].pop(0)

    def create(self, request: JobRequest, batch: str) -> str:
        job_id = f"job{self.created}"
        self.created += 1
        held = [member.partition for member in request.members or (request,)]
        self.jobs[job_id] = ServiceJob(
            job_id,
            held[0].index,
            batch,
            request.tags,
            [pub for part in held for pub in pubs_of(part)],
            tuple(part.index for part in held),
        )
        return job_id

    def run_some(self) -> None:
        """Every job that is queued ends."""
        if self.held:
            return
        for job in self.jobs.values():
            if job.state == "QUEUED":
                ends = self.ends.get(job.partition) or [None]
                job.failure = ends.pop(0) if len(ends) > 1 else ends[0]
                if job.failure is None:
                    self.runs.update(job.partitions)
                job.state = "DONE" if job.failure is None else "ERROR"


@dataclass
class FakeBatch:
    service: Service
    life: Life
    id: str
    is_attached: bool = False
    mine: dict[str, JobRequest] = field(default_factory=dict)
    undelivered: Counter[str] = field(default_factory=Counter)

    def details(self) -> dict[str, Any]:
        self.life.step()
        self.service.call("details")
        return {"id": self.id, "state": "closed" if self.id in self.service.closed else "open"}

    def submit(self, request: JobRequest) -> str:
        self.life.step()
        self.service.call("submit")
        if self.is_attached or self.id in self.service.closed | self.service.over:
            raise BatchOverError("closed")
        action = self.service.on_submit.pop(0) if self.service.on_submit else None
        if isinstance(action, Exception):
            raise action
        if action is not None:
            action(self.service, request, self.id)
        job_id = self.service.create(request, self.id)
        # The job exists, and its id may never arrive.
        self.life.step()
        self.mine[job_id] = request
        return job_id

    def cancel(self) -> None:
        self.life.step()
        self.service.call("cancel")
        for job in self.service.jobs.values():
            if job.batch == self.id and job.state == "QUEUED":
                job.state, job.failure = "CANCELLED", "cancelled"

    def close(self) -> None:
        self.life.step()
        self.service.call("close")
        self.service.closed.add(self.id)

    def abandon(self) -> None:
        self.close()

    def states(self) -> Mapping[str, JobState]:
        self.life.step()
        self.service.call("states")
        jobs = self.service.jobs
        return {job_id: jobs[job_id].state if job_id in jobs else "ERROR" for job_id in self.mine}

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        self.life.step()
        self.service.call("wait")
        self.service.time.now_s += min(timeout_s, 1.0)
        self.service.run_some()

    def collect(self, job_id: str) -> JobOutcome:
        self.life.step()
        self.service.call("collect")
        if job_id not in self.service.jobs:
            raise LostJobError(f"no job {job_id}")
        job = self.service.jobs[job_id]
        if job.failure == "undelivered":
            raise UndeliveredError("half a result")
        if self.mine[job_id].num_pubs != len(job.pubs):
            raise UndeliveredError("not the PUBs that were asked for")
        return JobOutcome(
            job_id,
            job.partition,
            job.state,
            result=PrimitiveResult(job.pubs) if job.state == "DONE" else None,
            error=job.failure,
            failure=job.failure,
            metrics=self._metrics(job.partition),
        )

    def _metrics(self, partition: int) -> dict[str, Any]:
        if partition not in self.service.usages:
            return {}
        seconds, status = self.service.usages[partition]
        return {"usage": {"qpu_charge_time_seconds": seconds, "status": status}}


class FakeRemoteBatch(FakeBatch):
    """One whose jobs outlive the process."""

    def find(self, tag: str) -> list[FoundJob]:
        self.life.step()
        self.service.call("find")
        return [
            FoundJob(job.id, job.tags, job.state, batch_id=job.batch)
            for job in self.service.jobs.values()
            if tag in job.tags
        ]

    def adopt(self, job_id: str, request: JobRequest) -> None:
        self.mine[job_id] = request

    def strays(self) -> list[FoundJob]:
        return [
            FoundJob(job.id, job.tags, job.state, batch_id=job.batch)
            for job in self.service.jobs.values()
            if job.batch == self.id and job.id not in self.mine
        ]

    def cancel_job(self, job_id: str) -> None:
        self.life.step()
        self.service.call("cancel_job")
        job = self.service.jobs[job_id]
        if job.state not in FINAL_STATES:
            job.state, job.failure = "CANCELLED", "cancelled"

    def queue_length(self) -> int | None:
        return None


class FakeEngine(StubEngine):
    batch: type[FakeBatch] = FakeBatch
    uses_qpu = True
    workers = 1

    def __init__(self, service: Service, life: Life) -> None:
        self.service = service
        self.life = life

    def open_batch(
        self, backend: object, *, max_time_s: int | None, workers: object = None
    ) -> FakeBatch:
        self.life.step()
        self.service.call("open")
        batch_id = f"batch{len(self.service.batches)}"
        self.service.batches.append(batch_id)
        return self.batch(self.service, self.life, batch_id)


class FakeRemoteEngine(FakeEngine):
    batch = FakeRemoteBatch

    def attach_batch(self, backend: object, batch_id: str) -> FakeBatch:
        return self.batch(self.service, self.life, batch_id, is_attached=True)

    def find_jobs(self, backend: object, tag: str) -> list[FoundJob]:
        return self.batch(self.service, self.life, "", is_attached=True).find(tag)

    def read_metrics(self, backend: object, job_id: str) -> dict[str, Any]:
        return {}

    def limit_waiting(self, backend: object, outage_s: float) -> None:
        """Nothing takes time."""


@dataclass
class MemoryStore:
    """What is on disk; it survives."""

    outcomes: dict[tuple[int, int], JobOutcome] = field(default_factory=dict)
    details: dict[int, tuple[Any, Any, str, str | None]] = field(default_factory=dict)
    life: Life = field(default_factory=Life)
    errors: list[Exception] = field(default_factory=list)
    has_header: bool = False

    def pub_digests(self, partition: Partition) -> list[str]:
        return [f"digest of PUB {number}" for number in pubs_of(partition)]

    def write_batch(self, number, opened, final, *, batch_id, follows) -> None:
        self.life.step()
        kept = self.details.get(number, (None, None))
        self.details[number] = (opened or kept[0], final or kept[1], batch_id, follows)

    def write_job(self, outcome: JobOutcome, _calibrations: object) -> None:
        self.life.step()
        if self.errors:
            raise self.errors.pop(0)
        self.outcomes[outcome.partition, outcome.attempt] = outcome
        self.life.step()

    def charges(self):
        return {
            key: (outcome.usage_s or 0.0, is_charge_pending(outcome.metrics))
            for key, outcome in self.outcomes.items()
        }

    def job_states(self):
        return {
            key: (outcome.job_id, outcome.state, outcome.failure)
            for key, outcome in self.outcomes.items()
        }


def pubs_of(part: Partition) -> list[int]:
    """The results of PUBs: their numbers, of which the hundreds say which point they are of."""
    return [100 * part.point + index for index in range(part.first, part.stop)]


class MortalJournal(Journal):
    """Dies before, or right after, a line is written."""

    def __init__(self, run_dir: Path, life: Life) -> None:
        super().__init__(run_dir)
        self._life = life

    def append(self, event: Any) -> None:
        self._life.step()
        super().append(event)
        self._life.step()


def partition(index: int) -> Partition:
    return Partition(index, "main", index, index + 1, 10, None, 10, 100, 2.0, "end")


def partitions(sizes: Sequence[int]) -> tuple[Partition, ...]:
    """Consecutive PUBs of one workload."""
    return tuple(
        replace(
            partition(index),
            first=sum(sizes[:index]),
            stop=sum(sizes[: index + 1]),
            executions=10 * size,
        )
        for index, size in enumerate(sizes)
    )


@dataclass
class Process:
    """One process's view of a run in `run_dir`."""

    run_dir: Path
    service: Service
    store: MemoryStore
    num_partitions: int = 3
    sizes: tuple[int, ...] = ()  # PUBs of each partition; empty: one each
    policy: ExecutionPolicy = field(default_factory=ExecutionPolicy)
    budget_s: int | None = None
    observer: Observer = field(default_factory=Observer)
    life: Life = field(default_factory=Life)
    jobs_outlive_process: bool = True
    is_stopped: Callable[[], bool] = lambda: False

    def experiment(self) -> Experiment:
        journal = MortalJournal(self.run_dir, self.life)
        self.store.life = self.life
        sizes = self.sizes or (1,) * self.num_partitions
        if not journal.ledger.planned:
            planned = Planned(tuple(f"{index:064x}" for index in range(len(sizes))))
            Journal.append(journal, planned)
        engine = (FakeRemoteEngine if self.jobs_outlive_process else FakeEngine)(
            self.service, self.life
        )
        spec = replace(declared(engine, self.policy), budget_s=self.budget_s)
        point = Point(spec, self.run_dir)
        point.partitions = partitions(sizes)
        point.store, point.run_id = self.store, RUN_ID
        point.backend = SimpleNamespace(name="scripted", num_qubits=5)
        experiment = Experiment(
            self.run_dir, (point,), journal, self.observer, self.service.time.clock()
        )
        experiment.interrupts.is_set = self.is_stopped
        gather_plan(experiment)
        return experiment


def submit_only(experiment: Experiment) -> None:
    """Execute with `stop_after=submit`."""
    experiment.stop_after = "submit"
    execute(experiment)


def declared(engine: Any, policy: ExecutionPolicy) -> RunSpec:
    workload = WorkloadSpec("main", lambda _: [], PrimitiveSpec("sampler"), TranspileSpec())
    return RunSpec(
        experiment="scripted",
        seed=0,
        workloads=(workload,),
        engine=engine,
        policy=policy,
        select_backend=lambda recorded: None,
        limits={},
        config=(),
    )


__all__ = ["EngineError", "FakeEngine", "Life", "MemoryStore", "Process", "Service"]
