"""An engine on the bench: the common ground of the suite's tests."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, cast

import pytest
from qiskit import QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager

from qexp.core.model import (
    FINAL_STATES,
    Implementation,
    JobOutcome,
    JobRequest,
    Partition,
    PrimitiveKind,
    PrimitiveSpec,
)
from qexp.core.protocols import Batch, Engine, RemoteBatch, RemoteEngine
from tests.contract.engine_cases import EngineCase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qiskit.providers import BackendV2

    from qexp.core.model import Pub

SHOTS = 300
PRECISION = 0.05
MAX_TIME_S = 600
TIMEOUT_S = 120.0


@dataclass
class Bench:
    """An engine with its backend, and the primitive under test."""

    case: EngineCase
    engine: Engine
    backend: BackendV2
    primitive: PrimitiveSpec
    fixtures: pytest.FixtureRequest
    loads: Counter[int] = field(default_factory=Counter)

    def open_batch(self) -> Batch:
        return self.engine.open_batch(self.backend, max_time_s=MAX_TIME_S)

    def open_remote_batch(self) -> RemoteBatch:
        return cast("RemoteBatch", self.open_batch())

    def attach_batch(self, batch: Batch) -> RemoteBatch:
        """The same batch, as another process has it."""
        return cast("RemoteEngine", self.engine).attach_batch(self.backend, batch.id)

    def isa(self, circuit: QuantumCircuit) -> QuantumCircuit:
        passes = generate_preset_pass_manager(1, backend=self.backend, seed_transpiler=1)
        return passes.run(circuit)

    def pub(self) -> Pub:
        """A PUB of the primitive under test: qubit 0 of 2 is flipped."""
        flipped = QuantumCircuit(2)
        flipped.x(0)
        if self.primitive.kind == "sampler":
            flipped.measure_all()
            return SamplerPub.coerce((self.isa(flipped),), SHOTS)
        isa = self.isa(flipped)
        observable = SparsePauliOp("IZ").apply_layout(isa.layout)
        return EstimatorPub.coerce((isa, observable), PRECISION)

    def job(
        self,
        index: int,
        pubs: Sequence[Pub] | None = None,
        *,
        tags: tuple[str, ...] = (),
        attempt: int = 1,
    ) -> JobRequest:
        """One job, of one PUB by default; `loads` counts how often its circuits were asked for."""
        pubs = [self.pub()] if pubs is None else pubs

        def load_pubs() -> Sequence[Pub]:
            self.loads[index] += 1
            return pubs

        sampler = self.primitive.kind == "sampler"
        partition = Partition(
            index=index,
            workload="main",
            first=0,
            stop=len(pubs),
            shots=SHOTS if sampler else None,
            precision=None if sampler else PRECISION,
            executions=0,
            payload_bytes=0,
            qpu_s=0.0,
            closed_by="end",
        )
        return JobRequest(
            partition,
            self.primitive,
            load_pubs,
            tags,
            seed=11 + index,
            attempt=attempt,
            tag=tags[-1] if tags else "",
        )

    def hold(self, batch: Batch) -> AbstractContextManager[None]:
        """While it lasts, no job starts that is submitted in it."""
        return self.case.hold(self, batch)

    def run(self, pubs: Sequence[Pub]) -> JobOutcome:
        """One job in a batch of its own, from open to collected."""
        batch = self.open_batch()
        job_id = batch.submit(self.job(0, pubs))
        batch.close()
        wait_for(batch, job_id)
        return batch.collect(job_id)


def wait_for(batch: Batch, *job_ids: str) -> None:
    """Wait until the jobs are final, as qexp's own loop does."""
    rounds = 0
    while not {batch.states()[job_id] for job_id in job_ids} <= FINAL_STATES:
        batch.wait(TIMEOUT_S, go_on)
        rounds += 1
        assert rounds < 1000, "the batch keeps waking up without an end"


def bench_of(
    case: EngineCase,
    kind: PrimitiveKind,
    implementation: Implementation,
    fixtures: pytest.FixtureRequest,
) -> Bench:
    primitive = PrimitiveSpec(
        kind=kind,
        implementation=implementation,
        shots=SHOTS if kind == "sampler" else None,
        precision=PRECISION if kind == "estimator" else None,
        options={} if kind == "sampler" else {"resilience_level": 0},
    )
    return Bench(case, case.make_engine(), case.make_backend(), primitive, fixtures)


def go_on() -> bool:
    """Answer `is_stopped` for a run that nobody stops."""
    return False


def when(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)
