from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp

from qexp.archive.circuits import load_circuit
from qexp.archive.pubs import PubRow
from qexp.core.model import Partition, PayloadBytes, Plan, PrimitiveSpec
from qexp.core.observer import Observer
from qexp.core.protocols import Engine
from qexp.core.seeds import child, stream
from qexp.core.spec import Limit, PartitionLimits, RunSpec, TranspileSpec, WorkloadSpec
from qexp.engines.local.engine import LocalEngine
from qexp.errors import ConfigError, GeneratorError, PlanError
from qexp.planning.build import CHUNK_PUBS, plan_points
from qexp.points import Point
from qexp.workers import Workers
from tests.unit.planning.conftest import StubEngine, workload


def random_angles(count: int) -> Any:
    def generate(sequence: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
        for k in range(count):
            circuit = QuantumCircuit(1, name=f"c{k}")
            circuit.rx(np.random.default_rng(child(sequence, k)).uniform(0, 3), 0)
            circuit.measure_all()
            yield circuit

    return generate


def observables(_: np.random.SeedSequence) -> Iterator[tuple[Any, ...]]:
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    yield circuit, ["ZZ", "XX"]
    yield circuit, ["ZI"], None, 0.2


Take = Callable[[Partition, list[PubRow]], None]


@dataclass
class Store:
    """Hands each partition on."""

    take: Take

    def write_partition(self, partition: Partition, pubs: list[PubRow]) -> str:
        self.take(partition, pubs)
        return f"digest {partition.index}"


@dataclass
class Built(Observer):
    plan: Plan = field(default_factory=lambda: Plan(()))
    jobs: list[tuple[Partition, list[PubRow]]] = field(default_factory=list)
    seen: list[tuple[str, int]] = field(default_factory=list)

    def pub_planned(self, workload: str, count: int) -> None:
        self.seen.append((workload, count))


def point_of(
    workloads: list[WorkloadSpec], backend: BackendV2, take: Take, **settings: Any
) -> Point:
    spec = RunSpec(
        experiment="built",
        workloads=tuple(workloads),
        select_backend=lambda recorded: backend,
        config=(),
        **settings,
    )
    point = Point(spec, Path("nowhere"), index=4, backend=backend)
    point.store = Store(take)  # type: ignore[assignment]
    return point


def build(
    workloads: list[WorkloadSpec],
    backend: BackendV2,
    *,
    seed: int = 7,
    engine: Engine | None = None,
    partition: PartitionLimits | None = None,
    limits: dict[str, Limit] | None = None,
    take: Take | None = None,
    num_workers: int = 1,
) -> Built:
    built = Built()
    point = point_of(
        workloads,
        backend,
        take or (lambda job, pubs: built.jobs.append((job, pubs))),
        seed=seed,
        engine=engine or StubEngine(),
        partition=partition or PartitionLimits(),
        limits=limits or {},
    )
    with Workers(num_workers) as workers:
        [plan] = plan_points([point], built, workers)
    if plan.error is not None:
        raise plan.error
    assert plan.point is point
    assert plan.digests == [f"digest {job.index}" for job in plan.partitions]
    built.plan = Plan(tuple(plan.partitions))
    return built


def cells_of(pub: PubRow, form: str) -> Mapping[str, Any]:
    (cells,) = [cells for path, cells in pub.cells.items() if path.endswith(form)]
    return cells


def circuit_of(pub: PubRow, *, isa: bool = True) -> QuantumCircuit:
    return load_circuit(cells_of(pub, "isa" if isa else "logical")["qpy"], "here")


def limit(value: float) -> Limit:
    return Limit(value, "somewhere", "2026-01-01")


def test_workloads_become_jobs_in_order(
    manila: BackendV2, service_limits: dict[str, Limit]
) -> None:
    built = build(
        [
            workload(random_angles(5)),
            workload(observables, name="energy", kind="estimator"),
        ],
        manila,
        partition=PartitionLimits(max_circuits=2),
        limits=service_limits,
    )
    jobs = [
        (job.index, job.workload, job.first, job.stop, job.closed_by)
        for job in built.plan.partitions
    ]
    assert jobs == [
        (0, "main", 0, 2, "max_circuits"),
        (1, "main", 2, 4, "max_circuits"),
        (2, "main", 4, 5, "end"),
        (3, "energy", 0, 1, "precision"),
        (4, "energy", 1, 2, "end"),
    ]
    assert [job for job, _ in built.jobs] == list(built.plan.partitions)
    taken = [(job.workload, pub.index) for job, pubs in built.jobs for pub in pubs]
    assert taken == [("main", k) for k in range(5)] + [("energy", 0), ("energy", 1)]
    assert built.seen == [(name, index + 1) for name, index in taken]


def test_a_jobs_prediction_follows_the_documented_formula(manila: BackendV2) -> None:
    built = build([workload(random_angles(3))], manila, limits={"job_overhead_s": limit(5)})
    [job] = built.plan.partitions
    assert (job.shots, job.executions, job.payload_bytes) == (100, 300, 3000)
    [(_, pubs)] = built.jobs
    durations = [circuit_of(pub).estimate_duration(manila.target) for pub in pubs]
    assert job.qpu_s == pytest.approx(5 + sum(100 * (250e-6 + one) for one in durations))
    assert built.plan.qpu_s == job.qpu_s


def test_executions_of_an_estimator_count_bases_and_precision(manila: BackendV2) -> None:
    spec = workload(observables, kind="estimator", options={"resilience_level": 0})
    built = build([spec], manila)
    assert [job.executions for job in built.plan.partitions] == [2 * 100, 25]
    assert [job.precision for job in built.plan.partitions] == [0.1, 0.2]


def test_the_seed_decides_the_circuits_whatever_else_runs(manila: BackendV2) -> None:
    def circuits(built: Built) -> list[QuantumCircuit]:
        main = [pub for job, pubs in built.jobs for pub in pubs if job.workload == "main"]
        return [circuit_of(pub) for pub in main]

    alone = circuits(build([workload(random_angles(3))], manila))
    first = workload(random_angles(1), name="first")
    longer = build([first, workload(random_angles(4))], manila)
    assert circuits(longer)[:3] == alone
    assert circuits(build([workload(random_angles(3))], manila, seed=8)) != alone
    [(_, pubs)] = build([workload(random_angles(1))], manila).jobs
    [expected] = random_angles(1)(stream(7, "main", "circuits"))
    assert circuit_of(pubs[0], isa=False) == expected


def growing(_: np.random.SeedSequence) -> Iterator[tuple[Any, ...]]:
    """Change everything that was yielded before."""
    angle = Parameter("angle")
    circuit, observable = QuantumCircuit(1), SparsePauliOp(["Z", "X"], [0.0, 0.5])
    values, bindings = np.zeros((1, 1)), {angle: [0.0]}
    circuit.ry(angle, 0)
    for step in range(1, 5):
        circuit.x(0)
        circuit.metadata = (circuit.metadata or {}) | {"step": step}
        observable.coeffs[0] = step
        values[0, 0] = bindings[angle][0] = step / 8
        yield circuit, [observable], values if step % 2 else bindings


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_is_yielded_may_change_afterwards(manila: BackendV2, num_workers: int) -> None:
    built = build(
        [workload(growing, kind="estimator", transpile=TranspileSpec(optimization_level=0))],
        manila,
        engine=LocalEngine(),
        num_workers=num_workers,
    )
    pubs = [pub for _, pubs in built.jobs for pub in pubs]
    circuits = [circuit_of(pub, isa=False) for pub in pubs]
    assert [circuit.count_ops()["x"] for circuit in circuits] == [1, 2, 3, 4]
    assert [circuit.metadata for circuit in circuits] == [{"step": step} for step in range(1, 5)]
    observables = [cells_of(pub, "pubs/main")["observables_json"] for pub in pubs]
    assert observables == [f'[{{"Z":{step}.0,"X":0.5}}]' for step in range(1, 5)]
    values = [
        cells["values"].item()
        for pub in pubs
        for path, cells in pub.cells.items()
        if path.startswith("parameters")
    ]
    assert values == [0.125, 0.25, 0.375, 0.5]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_points_share_circuits_and_are_cut_by_costs_of_their_own(
    manila: BackendV2, num_workers: int
) -> None:
    made: list[str] = []

    def generate(sequence: np.random.SeedSequence) -> Iterator[Any]:
        made.append("anew")
        yield *random_angles(1)(sequence), None, 7
        yield from random_angles(2 * CHUNK_PUBS)(sequence)

    def of_shots(shots: int, take: Take) -> Point:
        own = workload(generate)
        own = replace(own, primitive=replace(own.primitive, shots=shots))
        limits = {"sampler_executions_per_job": limit(2400)}
        return point_of([own], manila, take, seed=7, engine=LocalEngine(), limits=limits)

    jobs: dict[int, list[tuple[Partition, list[PubRow]]]] = {100: [], 9000: [], 200: []}
    built = Built()
    with Workers(num_workers) as workers:
        points = [of_shots(k, lambda *job, k=k: jobs[k].append(job)) for k in jobs]
        plans = dict(zip(jobs, plan_points(points, built, workers), strict=True))
    assert made == ["anew"]
    assert built.seen[-1] == ("main", len(built.seen)) == ("main", 1 + 2 * CHUNK_PUBS)
    assert "PUB 1 of workload 'main' alone takes 9000 executions" in str(plans[9000].error)
    rows = {}
    for shots, sizes in ((100, [1, 24, 16]), (200, [1, 12, 12, 12, 4])):
        assert plans[shots].error is None
        assert plans[shots].partitions == [job for job, _ in jobs[shots]]
        assert [job.num_pubs for job, _ in jobs[shots]] == sizes
        assert [job.shots for job, _ in jobs[shots]] == [7] + [shots] * (len(sizes) - 1)
        rows[shots] = [pub for _, pubs in jobs[shots] for pub in pubs]
        own = [cells_of(pub, "pubs/main")["shots"] for pub in rows[shots]]
        assert own == [7] + [shots] * (2 * CHUNK_PUBS)
    identities = [[cells_of(pub, "isa")["sha256"] for pub in each] for each in rows.values()]
    assert identities[0] == identities[1]


def test_all_points_have_the_error_of_a_generator(manila: BackendV2) -> None:
    points = [
        point_of(
            [workload(failing(ZeroDivisionError()))],
            manila,
            lambda *_: None,
            seed=7,
            engine=StubEngine(),
            limits={},
        )
        for _ in range(2)
    ]
    plans = plan_points(points, Observer())
    assert {type(plan.error) for plan in plans} == {GeneratorError}


def test_circuits_are_forgotten_once_their_job_is_handed_over(manila: BackendV2) -> None:
    alive: weakref.WeakSet[PubRow] = weakref.WeakSet()
    held: list[int] = []

    def take(_: Partition, pubs: list[PubRow]) -> None:
        alive.update(pubs)
        held.append(len(alive))

    plan = build(
        [workload(random_angles(4 * CHUNK_PUBS))],
        manila,
        partition=PartitionLimits(max_circuits=CHUNK_PUBS),
        take=take,
    ).plan
    assert len(plan.partitions) == 4
    # A job ends when the PUB after it is known, which is in the next chunk.
    assert max(held) <= 2 * CHUNK_PUBS


def test_workers_make_the_same_plan(manila: BackendV2) -> None:
    def contents(num_workers: int) -> list[Any]:
        taken: list[Any] = []

        def take(job: Partition, pubs: list[PubRow]) -> None:
            taken.append((job, [cells_of(pub, "isa")["sha256"] for pub in pubs]))

        build(
            [workload(random_angles(50))],
            manila,
            engine=LocalEngine(),
            partition=PartitionLimits(max_circuits=17),
            take=take,
            num_workers=num_workers,
        )
        return taken

    alone = contents(1)
    assert [job.num_pubs for job, _ in alone] == [17, 17, 16]
    assert contents(2) == alone


def test_a_circuit_that_a_worker_refuses_is_named(manila: BackendV2) -> None:
    def too_wide(_: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
        for width in (2, 2, 9):
            circuit = QuantumCircuit(width, name="wide")
            circuit.measure_all()
            yield circuit

    def refusal(num_workers: int) -> str:
        with pytest.raises(PlanError) as caught:
            build([workload(too_wide)], manila, engine=LocalEngine(), num_workers=num_workers)
        return str(caught.value)

    assert "PUB 2" in refusal(1)
    assert refusal(2) == refusal(1)


def test_a_workload_without_circuits_is_refused(manila: BackendV2) -> None:
    with pytest.raises(PlanError, match="workload 'none': its generator yielded no circuits"):
        build([workload(lambda _: [], name="none")], manila)


def failing(error: Exception) -> Any:
    def generate(sequence: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
        yield from random_angles(2)(sequence)
        raise error

    return generate


def test_an_error_of_the_generator_is_named_as_such(manila: BackendV2) -> None:
    cause = ZeroDivisionError("a\nb")
    with pytest.raises(PlanError) as caught:
        build([workload(failing(cause))], manila)
    assert "workload 'main': its circuit generator failed at PUB 2" in str(caught.value)
    assert "ZeroDivisionError: a b" in str(caught.value)
    assert caught.value.__cause__ is cause

    def broken(_: Any) -> Any:
        raise KeyError("depth")

    with pytest.raises(PlanError, match="failed at PUB 0: KeyError: 'depth'"):
        build([workload(broken)], manila)


@pytest.mark.parametrize(
    ("made", "got"), [(None, "None"), (5, "5"), (QuantumCircuit(1, 1), "one circuit")]
)
def test_a_generator_that_returns_no_circuits_is_asked_for_a_yield(
    manila: BackendV2, made: Any, got: str
) -> None:
    with pytest.raises(PlanError) as info:
        build([workload(lambda _: made)], manila)
    assert str(info.value) == (
        f"workload 'main': its circuit generator returned {got}; it must yield its circuits (is a "
        f"'yield' missing?) or return a list of them"
    )


def test_an_error_meant_for_the_user_passes_as_it_is(manila: BackendV2) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        build([workload(failing(ConfigError("no such file")))], manila)


class Refusing(StubEngine):
    def payload_bytes(
        self,
        primitive: PrimitiveSpec,
        pub: Any,
        backend: BackendV2,
        qpy: bytes,
        bound_bytes: float,
    ) -> PayloadBytes:
        raise ValueError("no boxes")


def test_a_pub_that_the_client_refuses_is_named(manila: BackendV2) -> None:
    with pytest.raises(PlanError, match=r"PUB 0 of workload 'main': circuit 'c0' .* no boxes"):
        build([workload(random_angles(1))], manila, engine=Refusing())


def test_the_payload_is_bounded_by_the_service(manila: BackendV2) -> None:
    limits = {"payload_bytes_per_job": limit(2500)}
    built = build([workload(random_angles(4))], manila, limits=limits)
    assert [job.num_pubs for job in built.plan.partitions] == [2, 2]
    assert built.plan.partitions[0].closed_by == "max_payload_bytes"
    with pytest.raises(PlanError, match=r"limits\.payload_bytes_per_job allows in one job"):
        build([workload(random_angles(1))], manila, engine=StubEngine(2501), limits=limits)


def test_a_declared_repetition_delay_reaches_the_prediction(manila: BackendV2) -> None:
    spec = workload(random_angles(1), options={"execution": {"rep_delay": 0.01}})
    [job] = build([spec], manila).plan.partitions
    assert job.qpu_s == pytest.approx(2 + 100 * 0.01, abs=0.01)
    assert job.executions == 100
