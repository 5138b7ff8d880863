"""A run against an engine that does exactly what a test says, and against the embedded one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import StatevectorSampler
from qiskit.providers import BackendV2
from qiskit.providers.fake_provider import GenericBackendV2

import qexp
from qexp.core.model import FINAL_STATES, JobOutcome, JobRequest, JobState, PrimitiveSpec
from qexp.core.observer import Observer, PointSummary
from qexp.core.seeds import child
from qexp.core.spec import ExecutionPolicy, PartitionLimits, RunSpec, TranspileSpec, WorkloadSpec
from qexp.engines.local.engine import LocalEngine
from qexp.errors import (
    ArchiveError,
    BusyError,
    ConfigError,
    EngineError,
    JobsFailedError,
    PlanError,
    UnfinishedError,
)
from qexp.experiment import carry_out, resume, run
from qexp.points import Point, open_experiment
from qexp.resumption import resume_command

TOKEN = "s3cr3t-token-of-the-tests"


def rotations(count: int, seed_sequence: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
    for index in range(count):
        angle = np.random.default_rng(child(seed_sequence, index)).uniform(0.5, 2.5)
        circuit = QuantumCircuit(2)
        circuit.ry(angle, 0)
        circuit.cx(0, 1)
        circuit.measure_all()
        yield circuit


def workload(
    name: str = "main",
    generate: Callable[[Any], Iterable[Any]] | None = None,
    **options: Any,
) -> WorkloadSpec:
    primitive = PrimitiveSpec("sampler", shots=64, options=options)
    return WorkloadSpec(name, generate or partial(rotations, 3), primitive, TranspileSpec())


@dataclass
class StubBatch:
    """Jobs end in `ends` (partition -> state or what `wait` raises or does); others are DONE."""

    engine: StubEngine
    run_dir: Path
    jobs: dict[str, JobRequest] = field(default_factory=dict)
    id: str = "b1"

    def details(self) -> dict[str, Any]:
        return {"id": self.id, "state": "open"}

    def submit(self, request: JobRequest) -> str:
        self.engine.log.append(f"submit {request.partition.index}")
        end = self.engine.ends.get(request.partition.index)
        if isinstance(end, EngineError):
            raise end
        job_id = f"j{request.partition.index}"
        self.jobs[job_id] = request
        return job_id

    def close(self) -> None:
        self.engine.log.append("close")
        if self.engine.close_errors:
            raise self.engine.close_errors.pop()

    def cancel(self) -> None:
        self.engine.log.append("cancel")

    def abandon(self) -> None:
        self.engine.log.append("abandon")

    def _end(self, job_id: str) -> Any:
        return self.engine.ends.get(self.jobs[job_id].partition.index, "DONE")

    def states(self) -> Mapping[str, JobState]:
        ends = {job_id: self._end(job_id) for job_id in self.jobs}
        return {key: end if end in FINAL_STATES else "RUNNING" for key, end in ends.items()}

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        end = next(end for end in map(self._end, self.jobs) if end not in FINAL_STATES)
        if isinstance(end, signal.Signals):
            os.kill(os.getpid(), end)
            assert is_stopped()
            return
        raise end

    def collect(self, job_id: str) -> JobOutcome:
        request, state = self.jobs[job_id], self._end(job_id)
        if state != "DONE":
            return JobOutcome(
                job_id,
                request.partition.index,
                state,
                None,
                error="too warm",
                failure="cancelled" if state == "CANCELLED" else "internal",
            )
        sampler = StatevectorSampler(seed=request.seed)
        result = sampler.run(request.load_pubs(), shots=request.partition.shots).result()
        return JobOutcome(job_id, request.partition.index, "DONE", result)


class StubEngine(LocalEngine):
    """The embedded engine but for its batch; `on_open` sees the folder when the batch opens."""

    def __init__(
        self,
        ends: Mapping[int, JobState | Exception | signal.Signals] | None = None,
        *,
        run_dir: Path,
        refuses: bool = False,
        close_errors: Iterable[Exception] = (),
    ) -> None:
        super().__init__(allow_ignored_options=True)
        self.ends = ends or {}
        self.run_dir = run_dir
        self.refuses = refuses
        self.close_errors = list(close_errors)
        self.log: list[str] = []
        self.at_open: set[str] = set()

    def open_batch(self, backend: BackendV2, *, max_time_s: int | None, workers: Any = None) -> Any:
        self.at_open = {item.name for item in (self.run_dir / "parts").iterdir()}
        if self.refuses:
            raise EngineError("the service refused the batch")
        return StubBatch(self, self.run_dir)


@pytest.fixture(scope="module")
def backend() -> BackendV2:
    return GenericBackendV2(3, seed=1)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "20261122T091500Z-3f9a2c"


@pytest.fixture
def spec(backend: BackendV2, run_dir: Path) -> RunSpec:
    """Three circuits in two jobs."""
    return RunSpec(
        experiment="rotations",
        seed=3,
        workloads=(workload(),),
        engine=StubEngine(run_dir=run_dir),
        select_backend=lambda pinned: backend,
        partition=PartitionLimits(max_circuits=2),
        limits={},
        config=("seed: 3\n",),
        overrides=("seed=3",),
    )


class Recorder(Observer):
    """Records the stages; each job's part must be on disk when it counts as collected."""

    def __init__(self, run_dir: Path) -> None:
        self.parts = run_dir / "parts"
        self.stages: list[str] = []
        self.outcomes: list[JobOutcome] = []
        self.summary: PointSummary | None = None

    def backend_selected(self, name: str, num_qubits: int, engine: str, points: Any) -> None:
        self.stages.append("backend")

    def planned(self, plan: Any, max_time_s: Any, limits: Any) -> None:
        self.stages.append("planned")

    def batch_opened(self, batch_id: str) -> None:
        self.stages.append(f"opened {batch_id}")

    def job_submitted(self, partition: Any, job_id: str) -> None:
        self.stages.append(f"submitted {job_id}")

    def job_collected(self, outcome: JobOutcome) -> None:
        assert (self.parts / f"job-{outcome.partition:06d}-{outcome.attempt:02d}.h5").exists()
        self.stages.append(f"collected {outcome.job_id}")
        self.outcomes.append(outcome)

    def sealed(self, archive: Path, summary: PointSummary) -> None:
        self.stages.append(f"sealed {archive.name}")
        self.summary = summary


def test_header_and_plan_are_on_disk_before_the_batch_opens(spec: RunSpec, run_dir: Path):
    recorder = Recorder(run_dir)
    report = run(spec, run_dir, recorder)
    assert spec.engine.at_open == {"header.json", "partition-000000.h5", "partition-000001.h5"}
    assert spec.engine.log == ["submit 0", "submit 1", "close"]
    assert recorder.stages == [
        "backend",
        "planned",
        "opened b1",
        "submitted j0",
        "submitted j1",
        "collected j0",
        "collected j1",
        "sealed run.h5",
    ]
    # Results do not pile up in memory: what the observer gets has none.
    assert [outcome.result for outcome in recorder.outcomes] == [None, None]
    assert (recorder.summary.done, recorder.summary.planned, recorder.summary.num_pubs) == (2, 2, 3)
    assert recorder.summary.batch_ids == ("b1",)
    assert report.status == "complete"
    with qexp.open_archive(report.archive) as archive:
        assert archive.run_id == run_dir.name
        assert archive.experiment == "rotations"
        assert [job.job_id for job in archive.jobs] == ["j0", "j1"]
        assert len(archive.results["main"]) == 3
        assert archive.details == {"id": "b1", "state": "open"}


def test_points_and_jobs_are_announced(spec: RunSpec, run_dir: Path):
    told: list[tuple[str, int]] = []

    class Watching(Observer):
        def point_planned(self, point: int) -> None:
            told.append(("planned", point))

        def jobs_packed(self, jobs: int) -> None:
            told.append(("packed", jobs))

        def job_collected(self, outcome: JobOutcome) -> None:
            told.append(("collected", outcome.partition))

        def point_measured(self, point: int) -> None:
            told.append(("measured", point))

    run(spec, run_dir, Watching())
    assert told == [
        ("planned", 0),
        ("packed", 2),
        ("collected", 0),
        ("collected", 1),
        ("measured", 0),
    ]


def test_stop_after_plan_opens_no_batch(spec: RunSpec, run_dir: Path):
    report = run(replace(spec, stop_after="plan"), run_dir)
    assert spec.engine.log == []
    assert report.status == "planned"
    with qexp.open_archive(report.archive) as archive:
        assert archive.status == "planned"
        assert [partition.num_pubs for partition in archive.partitions] == [2, 1]
        assert len(archive.circuits(isa=True)) == 3


@pytest.mark.parametrize(
    ("ends", "status", "message"),
    [
        (
            {0: "ERROR"},
            "partial",
            r"^1 of 2 jobs have no result \(partitions 0\); .*run\.h5; .*resume .*",
        ),
        ({0: "ERROR", 1: "CANCELLED"}, "failed", r"^2 of 2 jobs .*\(partitions 0, 1\)"),
    ],
)
def test_failed_jobs_leave_a_sealed_archive_and_an_error(
    spec: RunSpec, run_dir: Path, ends: Any, status: str, message: str
):
    engine = StubEngine(ends, run_dir=run_dir)
    with pytest.raises(JobsFailedError, match=message) as caught:
        run(replace(spec, engine=engine), run_dir)
    assert caught.value.exit_code == 4
    assert (run_dir / "parts").exists()
    with qexp.open_archive(run_dir) as archive:
        assert archive.status == status
        assert {job.partition: job.state for job in archive.jobs} == {1: "DONE", **ends}
        assert archive.jobs[0].error == "too warm"
        assert len(list(archive.results["main"].available)) == (1 if status == "partial" else 0)


def test_a_refused_submission_keeps_the_jobs_before_it(spec: RunSpec, run_dir: Path):
    engine = StubEngine({1: EngineError("the quota is used up")}, run_dir=run_dir)
    with pytest.raises(UnfinishedError, match=r"^the quota is .*; 1 of 2 jobs are kept; .*resume"):
        run(replace(spec, engine=engine), run_dir)
    with qexp.open_archive(run_dir) as archive:
        assert archive.status == "partial"
        assert [(job.job_id, job.failure) for job in archive.jobs] == [("j0", None), ("", "denied")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_seals_what_was_collected_and_says_how_to_go_on(
    spec: RunSpec, run_dir: Path, number: signal.Signals
):
    engine = StubEngine({1: number}, run_dir=run_dir)
    with pytest.raises(KeyboardInterrupt, match=r"1 of 2 jobs are kept; go on with: .*qexp resume"):
        run(replace(spec, engine=engine), run_dir)
    assert "abandon" in engine.log
    with qexp.open_archive(run_dir) as archive:
        assert archive.status == "partial"
        assert [(job.job_id, job.state) for job in archive.jobs] == [("j0", "DONE")]
        assert list(archive.results["main"].available) == [0, 1]
    engine.ends = {}
    report = resume(replace(spec, engine=engine), run_dir)
    assert report.status == "complete"
    assert engine.log.count("submit 0") == 1
    assert not (run_dir / "parts").exists()
    with qexp.open_archive(run_dir) as archive:
        assert list(archive.results["main"].available) == [0, 1, 2]


def test_a_batch_that_cannot_be_closed_is_reported_and_loses_nothing(spec: RunSpec, run_dir: Path):
    warnings: list[str] = []

    class Watching(Observer):
        def warned(self, message: str) -> None:
            warnings.append(message)

    engine = StubEngine(run_dir=run_dir, close_errors=[EngineError("no connection")] * 9)
    impatient = replace(spec, engine=engine, policy=ExecutionPolicy(outage_s=0.0))
    assert run(impatient, run_dir, Watching()).status == "complete"
    (warning,) = warnings
    assert warning.startswith("batch b1 could not be closed (no connection); no result is lost")
    assert f"to close it: python -m qexp resume {run_dir}" in warning


def test_who_watches_cannot_cost_a_result(spec: RunSpec, run_dir: Path):
    class Failing(Observer):
        def job_collected(self, outcome: JobOutcome) -> None:
            raise BrokenPipeError

    assert run(spec, run_dir, Failing()).status == "complete"


def test_a_folder_that_holds_a_run_is_never_overwritten(spec: RunSpec, run_dir: Path):
    run(replace(spec, stop_after="plan"), run_dir)
    before = (run_dir / "run.h5").read_bytes()
    with pytest.raises(ConfigError, match=r"already holds a run, which is never overwritten"):
        run(spec, run_dir)
    assert (run_dir / "run.h5").read_bytes() == before


def test_an_interruption_of_the_plan_opens_no_batch(spec: RunSpec, run_dir: Path):
    def interrupted(_sequence: Any) -> Iterator[QuantumCircuit]:
        yield from rotations(2, np.random.SeedSequence(0))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(replace(spec, workloads=(workload(generate=interrupted),)), run_dir)
    assert spec.engine.log == []
    assert not (run_dir / "run.h5").exists()


def test_an_unforeseen_error_of_the_engine_is_one_line_without_secrets(
    spec: RunSpec, run_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    engine = StubEngine({1: RuntimeError(f"{TOKEN} expired\nsecond line")}, run_dir=run_dir)
    with pytest.raises(UnfinishedError) as caught:
        run(replace(spec, engine=engine), run_dir)
    message = str(caught.value)
    assert message.startswith("RuntimeError: [redacted] expired second line; 1 of 2 jobs are kept")
    assert "\n" not in message
    assert isinstance(caught.value.__cause__, RuntimeError)
    with qexp.open_archive(run_dir) as archive:
        assert archive.status == "partial"


def test_a_batch_that_cannot_be_opened_leaves_the_plan(spec: RunSpec, run_dir: Path):
    engine = StubEngine(run_dir=run_dir, refuses=True)
    with pytest.raises(EngineError, match="refused the batch"):
        run(replace(spec, engine=engine), run_dir)
    assert (run_dir / "parts" / "partition-000001.h5").exists()
    assert not (run_dir / "run.h5").exists()


def test_a_max_time_below_the_longest_job_is_refused_before_anything_is_submitted(
    spec: RunSpec, run_dir: Path
):
    with pytest.raises(PlanError, match=r"^batch\.max_time is 1\.0s, but job 0 "):
        run(replace(spec, max_time_s=1), run_dir)
    assert spec.engine.log == []


def test_options_that_were_not_honoured_are_in_the_archive(spec: RunSpec, run_dir: Path):
    workloads = (workload(execution={"rep_delay": 0.0003}), workload("plain"))
    report = run(replace(spec, workloads=workloads), run_dir)
    with qexp.open_archive(report.archive) as archive:
        assert archive.not_honoured == {
            "main": {"execution.rep_delay": 0.0003},
            "plain": {},
        }


def test_a_complete_run_is_left_as_it_is(spec: RunSpec, run_dir: Path):
    run(spec, run_dir)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    report = resume(replace(spec, select_backend=lambda pinned: pytest.fail("asked")), run_dir)
    assert report.status == "complete"
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before


def test_a_plan_is_run_when_it_is_resumed_and_nothing_is_generated_again(
    spec: RunSpec, run_dir: Path
):
    run(replace(spec, stop_after="plan"), run_dir)
    selected: list[str | None] = []

    def select(pinned: str | None) -> BackendV2:
        selected.append(pinned)
        return spec.select_backend(pinned)

    def generate(_sequence: Any) -> Iterator[QuantumCircuit]:
        raise AssertionError("generated again")

    again = replace(spec, workloads=(workload(generate=generate),), select_backend=select)
    assert resume(again, run_dir).status == "complete"
    assert selected == [spec.select_backend(None).name]


def test_a_run_that_was_killed_while_planning_is_planned_again(spec: RunSpec, run_dir: Path):
    class Killed(BaseException):
        pass

    def killed(_sequence: Any) -> Iterator[QuantumCircuit]:
        yield from rotations(2, np.random.SeedSequence(0))
        raise Killed

    with pytest.raises(Killed):
        run(replace(spec, workloads=(workload(generate=killed),)), run_dir)
    assert resume(spec, run_dir).status == "complete"


def test_an_interruption_before_a_batch_is_open_leaves_the_plan(spec: RunSpec, run_dir: Path):
    class BusyEngine(StubEngine):
        def open_batch(self, *_: Any, **__: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            raise BusyError("too many requests")

    engine = BusyEngine(run_dir=run_dir)
    with pytest.raises(KeyboardInterrupt, match="interrupted before anything was submitted"):
        run(replace(spec, engine=engine), run_dir)
    assert not (run_dir / "run.h5").exists()
    assert resume(spec, run_dir).status == "complete"


def test_a_part_that_is_damaged_is_never_submitted(spec: RunSpec, run_dir: Path):
    run(replace(spec, stop_after="plan"), run_dir)
    part = run_dir / "parts" / "partition-000000.h5"
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 1
    part.write_bytes(raw)
    with pytest.raises(ArchiveError, match=r"partition-000000\.h5|[Pp]artition 0"):
        resume(replace(spec, engine=LocalEngine()), run_dir)


def test_another_backend_than_the_planned_one_is_refused(spec: RunSpec, run_dir: Path):
    run(replace(spec, stop_after="plan"), run_dir)
    other = GenericBackendV2(4, seed=1)
    with pytest.raises(ConfigError, match="the run's circuits are for"):
        resume(replace(spec, select_backend=lambda pinned: other), run_dir)


def test_a_folder_without_a_run_cannot_be_resumed(spec: RunSpec, tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no run"):
        resume(spec, tmp_path)


def simulated(spec: RunSpec, run_dir: Path) -> tuple[str, list[np.ndarray]]:
    """Run on the embedded engine; the digest and the bits of workload `main`."""
    report = run(replace(spec, engine=LocalEngine()), run_dir)
    with qexp.open_archive(report.archive) as archive:
        bits = [result.data.meas.array for result in archive.results["main"]]
        return archive.data_sha256, bits


def test_the_seed_decides_the_data(spec: RunSpec, tmp_path: Path):
    first, _ = simulated(spec, tmp_path / "first")
    assert simulated(spec, tmp_path / "again")[0] == first
    assert simulated(replace(spec, seed=4), tmp_path / "other")[0] != first


def test_another_workload_does_not_change_a_workloads_data(spec: RunSpec, tmp_path: Path):
    _, alone = simulated(spec, tmp_path / "alone")
    # Before it, so that the numbers of its partitions change as well.
    both = replace(spec, workloads=(workload("extra"), workload()))
    _, accompanied = simulated(both, tmp_path / "both")
    assert len(alone) == 3
    for one, other in zip(alone, accompanied, strict=True):
        assert np.array_equal(one, other)


def test_two_points_of_one_experiment_have_the_data_that_each_has_alone(
    spec: RunSpec, tmp_path: Path
):
    specs = [replace(spec, engine=LocalEngine(), seed=seed) for seed in (3, 4)]
    alone = [simulated(one, tmp_path / f"alone-{one.seed}")[0] for one in specs]
    folder = tmp_path / "together"
    points = [Point(one, folder / str(one.seed), index) for index, one in enumerate(specs)]
    with open_experiment(folder, points, None, None) as experiment:
        carry_out(experiment)
    digests = []
    for point in points:
        with qexp.open_archive(point.archive) as archive:
            assert archive.status == "complete"
            digests.append(archive.data_sha256)
            assert [job.num_results for job in archive.jobs] == [2, 1]
    assert digests == alone
    assert [partition.index for point in points for partition in point.partitions] == [0, 1, 2, 3]
    assert len({opened.batch for opened in experiment.ledger.batches}) == 1


def test_the_command_that_goes_on_trusts_what_the_run_was_declared_with():
    config = (
        "circuits: {_target_: bench.circuits}\nbackend: {_target_: mine.devices.backend}\n"
        "workloads: {a: {circuits: {_target_: other.circuits}}}\n"
        "engine: {_target_: qexp.engines.local.engine.LocalEngine}\n"
    )
    assert resume_command(Path("/runs/r1"), config) == (
        "python -m qexp resume /runs/r1 --trust mine.devices"
    )
    assert resume_command(Path("/runs/r1")) == "python -m qexp resume /runs/r1"
    # The first word with a key counts: what is needed comes before what was given.
    assert resume_command(Path("/runs/r1"), "{}", "budget.qpu=9", "a=1", "budget.qpu=5m") == (
        "python -m qexp resume /runs/r1 budget.qpu=9 a=1"
    )
    # `resume` would be refused, because the secret is in no file.
    secret = "backend: {instance: 'crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::'}\n"
    assert resume_command(Path("/runs/r1"), secret) == (
        "python -m qexp ... run_dir=/runs/r1 (with the run's own overrides, which have a secret)"
    )
