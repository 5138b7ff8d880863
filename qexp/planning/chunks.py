"""Transpile, check, measure and encode PUBs some at a time, here or in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from qexp.archive.pubs import PubRow, pub_rows
from qexp.core.model import Footprint
from qexp.core.protocols import Engine
from qexp.core.spec import Limit, WorkloadSpec
from qexp.planning.checks import Hardware, check_pub
from qexp.planning.footprint import footprint
from qexp.planning.transpile import build_pass_manager, transpile_pub
from qexp.redact import redactor

if TYPE_CHECKING:
    from qiskit.providers import BackendV2
    from qiskit.transpiler import PassManager

    from qexp.core.model import Pub

Chunk: TypeAlias = tuple[str, int, list[Any]]
"""Arguments of `Planner.plan`."""

PlannedRow: TypeAlias = tuple[PubRow, Footprint]
"""A PUB ready to be stored, and what it costs."""

PlanChunks: TypeAlias = Callable[[Iterable[Chunk]], Iterator[list[PlannedRow]]]

CHUNK_PUBS = 20
"""Few, so that all workers end at about the same time."""


@dataclass
class Planner:
    """Makes ISA PUBs; picklable as long as it was not used.

    Args:
        workloads: The workloads by name; their generators are not needed.
        seed: The experiment's seed.
        backend: What the circuits are transpiled for.
        engine: Measures the payload.
        limits: The service's documented limits.
    """

    workloads: Mapping[str, WorkloadSpec]
    seed: int
    backend: BackendV2
    engine: Engine
    limits: Mapping[str, Limit]
    _pass_managers: dict[str, PassManager] = field(default_factory=dict)

    def plan(self, workload: str, first: int, pub_likes: Sequence[Any]) -> list[PlannedRow]:
        """Plan consecutive PUBs of a workload.

        Args:
            workload: Its name.
            first: Index of the first PUB.
            pub_likes: What its generator yielded.

        Raises:
            PlanError: A circuit cannot run on the backend.
            ArchiveError: A circuit cannot be stored.
        """
        spec = self.workloads[workload]
        planned = []
        for index, pub_like in enumerate(pub_likes, start=first):
            pub = transpile_pub(
                pub_like, spec, self.backend, self.pass_manager(workload), index=index
            )
            check_pub(pub, self._hardware, self.limits, self._objection)
            planned.append(pub)
        return [
            (row, footprint(pub, spec.primitive, self.backend, self.engine, row.isa_qpy))
            for pub, row in zip(planned, pub_rows(workload, planned, redactor()), strict=True)
        ]

    def pass_manager(self, workload: str) -> PassManager:
        """The pass manager of a workload, made once.

        Raises:
            PlanError: Qiskit refuses the workload's `transpile`.
        """
        if workload not in self._pass_managers:
            self._pass_managers[workload] = build_pass_manager(
                self.workloads[workload], seed=self.seed, backend=self.backend
            )
        return self._pass_managers[workload]

    @cached_property
    def _hardware(self) -> Hardware:
        return Hardware.of(self.backend)

    @cached_property
    def _objection(self) -> Callable[[Pub], str | None]:
        return self.engine.pub_objection(self.backend)


def unused_planner(planner: Planner) -> Planner:
    """A planner for other processes: without generators, and without what cannot be pickled."""
    workloads = {
        name: replace(workload, generate=_no_generator)
        for name, workload in planner.workloads.items()
    }
    return Planner(workloads, planner.seed, planner.backend, planner.engine, planner.limits)


def planned_pubs(
    workload: str, pub_likes: Iterable[Any], plan_chunks: PlanChunks
) -> Iterator[PlannedRow]:
    """Plan what a generator yields, in order.

    Args:
        workload: Name of the workload.
        pub_likes: What its generator yields.
        plan_chunks: Plans chunks, of which it may take some ahead.

    Raises:
        PlanError, ArchiveError: As `Planner.plan`, or the generator's own.
        EngineError: A worker process died.
    """
    for rows in plan_chunks(_tasks(workload, pub_likes)):
        yield from rows


def _tasks(workload: str, pub_likes: Iterable[Any]) -> Iterator[Chunk]:
    upcoming, first = iter(pub_likes), 0
    while chunk := list(islice(upcoming, CHUNK_PUBS)):
        yield workload, first, chunk
        first += len(chunk)


def _no_generator(_sequence: Any) -> Iterable[Any]:
    raise AssertionError("workers do not generate circuits")
