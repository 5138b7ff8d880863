"""Read the PUBs of a run with their results, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.analysis.dataset import Column, Reals
from qexp.archive.read import Archive
from qexp.archive.results import counts_of, joined_bits
from qexp.core.model import PrimitiveKind
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives import PubResult

    from qexp.core.model import Pub


_VALUE_COORDINATES = {
    "workload": "name of the workload",
    "pub": "index of the PUB in its workload",
    "position": "position of the value in the PUB's shape",
    "observable": "name of the observable",
}


class Sample(NamedTuple):
    """The outcomes at one point of a Sampler PUB."""

    circuit: QuantumCircuit  # as generated, with the parameter values of this point
    counts: dict[str, int]  # outcome -> number of shots, all classical registers joined


@dataclass(frozen=True)
class MeasuredPub:
    """A PUB and its result."""

    workload: str
    index: int
    circuit: QuantumCircuit  # as generated
    result: PubResult | None  # None where the run has none
    read_pub: Callable[[], Pub]  # the PUB as generated, which takes longer than its circuit alone

    @property
    def place(self) -> tuple[str, int]:
        """Workload and index; kept instead of the PUB, which would hold its data in memory."""
        return self.workload, self.index

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata of the circuit, such as its family."""
        return self.circuit.metadata or {}

    def positions(self) -> Iterator[tuple[str, int, str, str]]:
        """Yield workload, PUB, position and observable (`""`: no name) of an Estimator's values."""
        assert self.result is not None
        shape = np.shape(self.result.data.evs)
        listed = self.metadata.get("observables")
        names = listed if isinstance(listed, list) and shape == (len(listed),) else None
        for point in np.ndindex(shape):
            yield *self.place, ",".join(map(str, point)), str(names[point[0]]) if names else ""

    def samples(self) -> Iterator[Sample]:
        """Go through the points of a Sampler PUB, in the order of its flattened shape."""
        bits = None if self.result is None else joined_bits(self.result)
        if bits is None:
            return
        values = self.read_pub().parameter_values if self.circuit.parameters else None
        for point in np.ndindex(*bits.shape):
            circuit = self.circuit if values is None else values.bind(self.circuit, point)
            yield Sample(circuit, counts_of(bits[point] if point else bits))

    def only_sample(self) -> Sample | None:
        """Return the sample of a PUB that has just one, None for any other PUB."""
        samples = list(islice(self.samples(), 2))
        return samples[0] if len(samples) == 1 else None


def read_pubs(
    run: Archive,
    workload: str | None = None,
    kind: PrimitiveKind = "sampler",
    family: str | None = None,
    *,
    skip_missing: bool = True,
) -> Iterator[MeasuredPub]:
    """Go through the PUBs that an analysis is made of, each read when it is asked for.

    Args:
        run: The archive.
        workload: The workload that the user names; None for every one that suits.
        kind: The primitive that the analysis needs.
        family: Family that the metadata of the circuits must have, unless `workload` is given.
        skip_missing: Leave out the PUBs without result.

    Raises:
        AnalysisError: No workload suits, or none has a result.
        ArchiveError: The archive is damaged.
    """
    for name in _suitable_workloads(run, workload, kind, family):
        pubs, results, circuits = run.pubs(name), run.results[name], run.circuits(name)
        available = set(results.available)
        for index in range(len(circuits)):
            if index in available or not skip_missing:
                result = results[index] if index in available else None
                read_pub = partial(pubs.__getitem__, index)
                yield MeasuredPub(name, index, circuits[index], result, read_pub)


def measure_pubs(
    pubs: Iterable[MeasuredPub], measure: Callable[[MeasuredPub], Sequence[float]]
) -> tuple[list[tuple[str, int]], NDArray[Any]]:
    """Take some numbers of each PUB; the PUBs themselves are not kept.

    Returns:
        The place of each PUB, and a table with a row for each.
    """
    places, rows = zip(*((pub.place, measure(pub)) for pub in pubs), strict=True)
    return list(places), np.array(rows)


def measure_values(
    pubs: Iterable[MeasuredPub], measure: Callable[[MeasuredPub], Sequence[Reals] | None]
) -> tuple[dict[str, Column], Reals]:
    """Take some numbers of each value of Estimator PUBs: arrays of the PUB's shape, None for none.

    Returns:
        The coordinates of the dimension `value`, and the numbers, shape (numbers, values).
    """
    places: list[tuple[str, int, str, str]] = []
    numbers: list[Reals] = []
    for pub in pubs:
        if (arrays := measure(pub)) is not None:
            places += pub.positions()
            numbers.append(np.reshape(arrays, (len(arrays), -1)))
    if not places:
        return {}, np.empty(0)
    columns = zip(_VALUE_COORDINATES.items(), zip(*places, strict=True), strict=True)
    coordinates = {name: ("value", [*column], text) for (name, text), column in columns}
    return {**coordinates}, np.concatenate(numbers, axis=1)


def _suitable_workloads(
    run: Archive, workload: str | None, kind: PrimitiveKind, family: str | None
) -> list[str]:
    if workload is not None and workload not in run.workloads:
        listed = ", ".join(run.workloads) or "none"
        raise AnalysisError(f"workload={workload}: the run has no such workload; it has: {listed}")
    family = None if workload else family
    candidates = run.workloads if workload is None else (workload,)
    suitable = [name for name in candidates if _suits(run, name, kind, family)]
    if not suitable:
        needed = "a sampler workload" if kind == "sampler" else "an estimator workload"
        if family:
            needed += f" of {family} circuits (by the family in their metadata)"
        listed = ", ".join(f"'{name}'" for name in run.workloads) or "none"
        other = (
            f"'{workload}' is none" if workload else f"the run has none; its workloads: {listed}"
        )
        raise AnalysisError(f"it needs {needed}, and {other}")
    if not any(run.results[name].available for name in suitable):
        raise AnalysisError(
            f"the run has no results of {', '.join(suitable)}: there is nothing to analyse"
        )
    return suitable


def _suits(run: Archive, name: str, kind: PrimitiveKind, family: str | None) -> bool:
    pubs = run.pubs(name)
    if not len(pubs):
        return False
    first = pubs[0]
    if hasattr(first, "observables") != (kind == "estimator"):
        return False
    return not family or (first.circuit.metadata or {}).get("family") == family
