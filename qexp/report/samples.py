"""What was sampled and estimated beside what an ideal device gives, of a part of each workload."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexp.archive.counts import counts_of
from qexp.report.text import is_finite

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qexp.archive.read import Archive
    from qexp.core.model import Pub

MAX_PUBS = 500
"""Of each workload, evenly spaced: enough for every picture, about ten seconds of work."""
MAX_POINTS = 600
"""Parameter sets of a workload, over its PUBs."""
MAX_IDEAL_QUBITS = 12
MAX_AMPLITUDES = 2**29
"""Updates of amplitudes for a workload's ideal states; some ten seconds of Qiskit's statevector."""

_UNBOUND = (ArithmeticError, RuntimeError)
"""What Qiskit raises where a parameter's value is NaN or infinite."""


@dataclass(frozen=True)
class Shape:
    """What a circuit costs a device: `depth`, `size` and gates on two or more qubits, as ISA."""

    depth: int
    size: int
    entangling: int


@dataclass(frozen=True)
class Sample:
    """What one PUB gave at one of its parameter sets.

    Attributes:
        pub: Index of the PUB.
        point: Index of the parameter set in the PUB's shape.
        circuit: Name of the circuit.
        counts: Outcome -> number of shots.
        ideal: Outcome -> probability, None where it is not known.
        fidelity: Hellinger fidelity of the two, None where `ideal` is.
    """

    pub: int
    point: tuple[int, ...]
    circuit: str
    shape: Shape
    counts: Mapping[str, int]
    ideal: Mapping[str, float] | None
    fidelity: float | None

    @property
    def label(self) -> str:
        """Such as `PUB 12` or `PUB 0 [2, 1]`."""
        return _label(self.pub, self.point)


@dataclass(frozen=True)
class Estimate:
    """One expectation value.

    Attributes:
        observable: Its name, or its terms if it has none.
        terms: Its Pauli strings and their weights.
        ev: As measured, finite.
        std: Its standard error, NaN where the primitive gave none that is finite.
        exact: What an ideal device gives, finite; None where it is not known.
        setting: The value of the PUB's parameter, where it has just one that is finite.
    """

    pub: int
    point: tuple[int, ...]
    circuit: str
    shape: Shape
    observable: str
    terms: str
    ev: float
    std: float
    exact: float | None
    setting: float | None = None

    @property
    def label(self) -> str:
        """Such as `PUB 12` or `PUB 0 [2, 1]`."""
        return _label(self.pub, self.point)


@dataclass(frozen=True)
class Measured:
    """The part of a workload that is shown.

    Attributes:
        workload: Its name.
        kind: `"sampler"` or `"estimator"`.
        num_pubs: PUBs that it has.
        num_available: Those with a result.
        shown: Indices of the PUBs of which anything below is.
        shapes: Shapes of their ISA circuits.
        num_not_finite: Expectation values that are left out of `estimates`: NaN or infinite.
        used_qubits: Physical qubits that these act on.
        used_pairs: Pairs of them, the lower first, with the number of gates on them.
    """

    workload: str
    kind: str
    num_pubs: int
    num_available: int
    shown: tuple[int, ...]
    shapes: tuple[Shape, ...] = ()
    samples: tuple[Sample, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    used_qubits: frozenset[int] = frozenset()
    used_pairs: Mapping[tuple[int, int], int] = field(default_factory=dict)
    num_not_finite: int = 0

    @cached_property
    def judged(self) -> tuple[Sample, ...]:
        """Samples with a fidelity, best first."""
        known = [sample for sample in self.samples if sample.fidelity is not None]
        return tuple(sorted(known, key=lambda sample: -(sample.fidelity or 0.0)))

    @cached_property
    def compared(self) -> tuple[Estimate, ...]:
        """Estimates whose exact value is known."""
        return tuple(estimate for estimate in self.estimates if estimate.exact is not None)


def evenly(items: Sequence[int], count: int) -> tuple[int, ...]:
    """At most so many of the items, evenly spaced, the first and the last among them."""
    if len(items) <= count:
        return tuple(items)
    return tuple(items[k] for k in np.linspace(0, len(items) - 1, count).round().astype(int))


def measure(archive: Archive, workload: str, max_pubs: int = MAX_PUBS) -> Measured:
    """Read a workload's results and compare them with what an ideal device gives.

    Args:
        archive: The run.
        workload: Name of a workload.
        max_pubs: Most PUBs to read.

    Raises:
        ArchiveError: The archive is damaged where nothing of the workload can be told without.
    """
    return _Reader(archive, workload).read(max_pubs)


class _Reader:
    """Reads one workload, with a budget for ideal states."""

    def __init__(self, archive: Archive, workload: str) -> None:
        self._workload = workload
        self._results = archive.results[workload]
        self._pubs = archive.pubs(workload)
        self._isa = archive.circuits(workload, isa=True)
        self._amplitudes = 0
        self._points = 0
        self._used_qubits: set[int] = set()
        self._used_pairs: dict[tuple[int, int], int] = {}
        self._not_finite = 0

    def read(self, max_pubs: int) -> Measured:
        available = self._results.available
        # Without any result, the circuits are shown still.
        shown = evenly(available or range(len(self._pubs)), max_pubs)
        samples: list[Sample] = []
        estimates: list[Estimate] = []
        shapes: list[Shape] = []
        kind = "sampler"
        for index in shown:
            pub = self._pubs[index]
            kind = "estimator" if hasattr(pub, "observables") else "sampler"
            shape = self._shape(self._isa[index])
            shapes.append(shape)
            if not available or self._points >= MAX_POINTS:
                continue
            if kind == "sampler":
                samples.extend(self._samples(index, pub, shape))
            else:
                estimates.extend(self._estimates(index, pub, shape))
        return Measured(
            self._workload,
            kind,
            len(self._pubs),
            len(available),
            shown,
            tuple(shapes),
            tuple(samples),
            tuple(estimates),
            frozenset(self._used_qubits),
            self._used_pairs,
            self._not_finite,
        )

    def _shape(self, circuit: QuantumCircuit) -> Shape:
        """The shape of an ISA circuit, whose qubits are noted as used."""
        position = {qubit: k for k, qubit in enumerate(circuit.qubits)}
        entangling = 0
        for item in circuit.data:
            if item.name in ("barrier", "delay"):
                continue
            qubits = [position[qubit] for qubit in item.qubits]
            self._used_qubits.update(qubits)
            if len(qubits) == 2:
                pair = (min(qubits), max(qubits))
                self._used_pairs[pair] = self._used_pairs.get(pair, 0) + 1
            entangling += len(qubits) > 1
        return Shape(circuit.depth(), circuit.size(), entangling)

    def _samples(self, index: int, pub: Pub, shape: Shape) -> Iterator[Sample]:
        from qiskit.quantum_info import hellinger_fidelity

        result = self._results[index]
        registers = [name for name, value in result.data.items() if hasattr(value, "get_counts")]
        if not registers:
            return
        bits = result.data[registers[0]] if len(registers) == 1 else result.join_data(registers)
        for point in self._some_points(bits.shape):
            counts = counts_of(bits[point] if point else bits)
            ideal = self._ideal(pub, point)
            fidelity = hellinger_fidelity(counts, ideal) if ideal and counts else None
            yield Sample(index, point, pub.circuit.name, shape, counts, ideal, fidelity)

    def _estimates(self, index: int, pub: Any, shape: Shape) -> Iterator[Estimate]:
        data = self._results[index].data
        if "evs" not in data:
            return
        evs = np.asarray(data["evs"], dtype=float)
        unknown = np.full(evs.shape, np.nan)
        stds = np.asarray(data["stds"], dtype=float) if "stds" in data else unknown
        values, observables = pub.parameter_values, pub.observables
        sets, which = np.broadcast_arrays(
            np.arange(values.size).reshape(values.shape),
            np.arange(observables.size).reshape(observables.shape),
        )
        settings = values.as_array().ravel() if values.num_parameters == 1 else None
        labels = [_observable_label(terms) for terms in observables.ravel().tolist()]
        named = (pub.circuit.metadata or {}).get("observables")
        names = labels
        if isinstance(named, list) and observables.shape == (len(named),):
            names = [str(name) for name in named]
        exact = self._exact_values(pub)
        for point in self._some_points(evs.shape):
            if not is_finite(evs[point]):
                self._not_finite += 1
                continue
            observable = int(which[point])
            yield Estimate(
                index,
                point,
                pub.circuit.name,
                shape,
                names[observable],
                labels[observable],
                float(evs[point]),
                float(stds[point]) if is_finite(stds[point]) else math.nan,
                None if exact is None else _known(exact[point]),
                None if settings is None else _known(settings[int(sets[point])]),
            )

    def _some_points(self, shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for point in np.ndindex(*shape):
            if self._points >= MAX_POINTS:
                return
            self._points += 1
            yield point

    def _affords(self, circuit: QuantumCircuit, times: int = 1) -> bool:
        """Whether so many ideal states of a circuit are within what is left of the budget."""
        if circuit.num_qubits > MAX_IDEAL_QUBITS:
            return False
        self._amplitudes += times * (circuit.size() + 16) << circuit.num_qubits
        return self._amplitudes <= MAX_AMPLITUDES

    def _exact_values(self, pub: Any) -> NDArray[np.float64] | None:
        from qexp.analysis.exact import NotExactError
        from qexp.analysis.exact_evs import exact_values

        if not self._affords(pub.circuit, pub.parameter_values.size):
            return None
        try:
            return exact_values(pub, MAX_IDEAL_QUBITS)
        except (NotExactError, *_UNBOUND):
            return None

    def _ideal(self, pub: Any, point: tuple[int, ...]) -> Mapping[str, float] | None:
        from qexp.analysis.exact import ideal_probabilities

        if not self._affords(pub.circuit):
            return None
        try:
            bound = _bound(pub, point)
        except _UNBOUND:
            return None
        found = ideal_probabilities(bound, MAX_IDEAL_QUBITS)
        return found if found and all(map(is_finite, found.values())) else None


def _bound(pub: Any, point: tuple[int, ...]) -> QuantumCircuit:
    """The circuit of a PUB with the parameter values at a point."""
    if not pub.circuit.num_parameters:
        circuit: QuantumCircuit = pub.circuit
        return circuit
    bound: QuantumCircuit = pub.parameter_values.bind(pub.circuit, point)
    return bound


def _observable_label(terms: Mapping[str, float]) -> str:
    """`ZZI`, `0.5·ZZ − 1.25·XI`."""
    texts = []
    for pauli, weight in terms.items():
        sign = "−" if weight < 0 else "+"
        size = "" if abs(weight) == 1 else f"{abs(weight):.4g}·"
        texts.append(f"{sign} {size}{pauli}")
    joined = " ".join(texts)
    return joined[2:] if joined.startswith("+") else joined.replace("− ", "−", 1)


def _known(value: Any) -> float | None:
    return float(value) if is_finite(value) else None


def _label(pub: int, point: tuple[int, ...]) -> str:
    return f"PUB {pub}" + (f" [{', '.join(map(str, point))}]" if point else "")
