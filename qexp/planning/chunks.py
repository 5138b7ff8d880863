"""Transpile, check, measure and encode PUBs some at a time, here or in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from qexp.archive.pubs import PubRow, pub_rows
from qexp.core.protocols import Engine
from qexp.core.spec import Limit, WorkloadSpec
from qexp.errors import ArchiveError, PlanError
from qexp.planning.checks import Hardware, check_pub
from qexp.planning.cost import Footprint, footprint
from qexp.planning.instructions import tally
from qexp.planning.transpile import PassManagers, transpile_pub
from qexp.redact import redactor

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub

PlannedRow: TypeAlias = tuple[PubRow, Footprint]
"""A PUB ready to be stored, and its cost."""

CHUNK_PUBS = 20
"""Few, so that all workers end at about the same time."""


@dataclass
class Planner:
    """Makes ISA PUBs; picklable as long as it was not used.

    Args:
        workloads: The workloads by name; their generators are not needed.
        seed: The point's seed.
        backend: The backend that the circuits are transpiled for.
        engine: Measures the payload.
        limits: The service's documented limits.
    """

    workloads: Mapping[str, WorkloadSpec]
    seed: int
    backend: BackendV2
    engine: Engine
    limits: Mapping[str, Limit]
    _pass_managers: dict[str, PassManagers] = field(default_factory=dict)

    def plan(self, workload: str, first: int, pub_likes: Sequence[Any]) -> list[PlannedRow]:
        """Plan consecutive PUBs of a workload.

        Args:
            workload: Its name.
            first: Index of the first PUB.
            pub_likes: PUB-likes of its generator.

        Raises:
            PlanError: A circuit cannot run on the backend, or cannot be stored.
        """
        spec = self.workloads[workload]
        if workload not in self._pass_managers:
            self._pass_managers[workload] = PassManagers(spec, self.seed, self.backend)
        pubs, tallies = [], []
        for index, pub_like in enumerate(pub_likes, start=first):
            pub = transpile_pub(pub_like, self._pass_managers[workload], index=index)
            tallied = tally(pub.isa.circuit)
            check_pub(pub, tallied, self._hardware, self.limits, self._objection)
            pubs.append(pub)
            tallies.append(tallied)
        try:
            rows = pub_rows(workload, pubs, redactor())
        except ArchiveError as error:
            raise PlanError(f"workload '{workload}': {error}") from error
        return [
            (row, footprint(pub, tallied, spec.primitive, self.backend, self.engine, row.isa_qpy))
            for pub, tallied, row in zip(pubs, tallies, rows, strict=True)
        ]

    def without_generators(self) -> Planner:
        """Return a planner for other processes, without what cannot be pickled."""
        workloads = {
            name: replace(workload, generate=_no_generator)
            for name, workload in self.workloads.items()
        }
        return Planner(workloads, self.seed, self.backend, self.engine, self.limits)

    @cached_property
    def _hardware(self) -> Hardware:
        return Hardware.of(self.backend)

    @cached_property
    def _objection(self) -> Callable[[Pub], str | None]:
        return self.engine.pub_objection(self.backend)


def _no_generator(_sequence: Any) -> Iterable[Any]:
    raise AssertionError("workers do not generate circuits")
