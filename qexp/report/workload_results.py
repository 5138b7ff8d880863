"""Results of a workload, compared with those of an ideal device as far as time allows."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.archive.pubs import PubTable
from qexp.archive.read import Archive
from qexp.archive.results import counts_of, joined_bits
from qexp.report.text import finite, is_finite, number

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives import PubResult

MAX_PUBS = 500
"""PUBs of a workload that are read, evenly spaced: enough for every figure, about ten seconds."""
MAX_POINTS = 600
"""Parameter sets of a workload that are read, over its PUBs."""
MAX_IDEAL_QUBITS = 12
MAX_AMPLITUDES = 2**29
"""Updates of amplitudes for a workload's ideal states; some ten seconds of Qiskit's statevector."""

_UNBOUND = (ArithmeticError, RuntimeError)
"""Errors that Qiskit raises where the value of a parameter is NaN or infinite."""


class CircuitSize(NamedTuple):
    """Depth, number of instructions, and number of gates on two or more qubits."""

    depth: int
    instructions: int
    entangling: int


class SampledPoint(NamedTuple):
    """Counts of one PUB at one of its parameter sets."""

    pub: int
    label: str  # such as "PUB 12" or "PUB 0 [2, 1]"
    size: CircuitSize
    counts: Mapping[str, int]
    ideal: Mapping[str, float] | None  # outcome -> probability, None where it is not known
    fidelity: float | None  # Hellinger fidelity of the two, None where `ideal` is


@dataclass(frozen=True)
class EstimatedPoint:
    """One expectation value of a PUB."""

    pub: int
    label: str  # such as "PUB 12" or "PUB 0 [2, 1]"
    observable: str  # its name, or its terms if it has none
    terms: str  # Pauli strings and their weights
    ev: float  # as measured
    std: float  # standard error, NaN where the primitive gave none that is finite
    exact: float | None  # value of an ideal device, None where it is not known
    setting: float | None = None  # value of the PUB's parameter, where it has just one

    @property
    def error_bar(self) -> tuple[float, float] | None:
        """Ends of one standard error around the value, where it is known."""
        return (self.ev - self.std, self.ev + self.std) if self.std > 0 else None

    @property
    def deviation(self) -> float | None:
        """Deviation from the exact value in standard errors, where both are known."""
        return None if self.exact is None or not self.std > 0 else (self.ev - self.exact) / self.std

    @property
    def tip(self) -> str:
        """The point in one line."""
        text = f"{self.label}, {self.observable}: {number(self.ev, 4)}"
        text += f" ± {number(self.std, 2)}" if is_finite(self.std) else ""
        text += f", exact {number(self.exact, 4)}" if self.exact is not None else ""
        if self.deviation is not None:
            text += f" ({number(self.deviation, 2)} standard errors off)"
        return text


@dataclass
class WorkloadResults:
    """The part of a workload's results that is shown."""

    name: str
    num_pubs: int
    num_available: int  # PUBs with a result
    shown: tuple[int, ...]  # indices of the PUBs that were read
    kind: str = "sampler"
    sizes: list[CircuitSize] = field(default_factory=list)  # of the ISA circuits
    sampled: list[SampledPoint] = field(default_factory=list)
    estimated: list[EstimatedPoint] = field(default_factory=list)  # only finite values
    num_not_finite: int = 0  # values that are NaN or infinite
    used_qubits: set[int] = field(default_factory=set)  # physical qubits
    #: Pair of qubits, the lower first -> number of gates on it.
    used_pairs: Counter[tuple[int, int]] = field(default_factory=Counter)

    @cached_property
    def judged(self) -> list[SampledPoint]:
        """Points with a fidelity, best first."""
        known = [point for point in self.sampled if point.fidelity is not None]
        return sorted(known, key=lambda point: -(point.fidelity or 0.0))

    @property
    def fidelities(self) -> list[float]:
        """Fidelities of `judged`."""
        return [point.fidelity for point in self.judged if point.fidelity is not None]

    @property
    def errors(self) -> list[float]:
        """Absolute deviations from the exact values, where these are known."""
        return [abs(point.ev - point.exact) for point in self.estimated if point.exact is not None]

    @property
    def deviations(self) -> list[float]:
        """Absolute deviations in standard errors, where these are known."""
        return [abs(point.deviation) for point in self.estimated if point.deviation is not None]

    @property
    def is_part(self) -> bool:
        """True if not all PUBs were read."""
        return len(self.shown) < self.num_pubs


def read_workload(archive: Archive, name: str, max_pubs: int = MAX_PUBS) -> WorkloadResults:
    """Read the results of at most `max_pubs` PUBs and compare them with an ideal device.

    Raises:
        ArchiveError: The archive is damaged.
    """
    stored, table, pubs = archive.results[name], archive.pub_table(name), archive.pubs(name)
    isa_circuits = archive.circuits(name, isa=True)
    # A workload without results is read for its circuits.
    shown = evenly_spaced(stored.available or range(len(table)), max_pubs)
    results = WorkloadResults(name, len(table), len(stored.available), shown)
    ideal = _IdealDevice()
    for index in shown:
        summary = table[index]
        results.kind = summary.kind
        entangling = _count_gates(isa_circuits[index], results)
        size = CircuitSize(summary.isa_depth, summary.isa_size, entangling)
        results.sizes.append(size)
        room = MAX_POINTS - len(results.sampled) - len(results.estimated) - results.num_not_finite
        if not stored.available or room <= 0:
            continue
        pub, result = pubs[index], stored[index]
        if results.kind == "sampler":
            results.sampled += _sampled(index, pub, result, size, ideal, room)
        else:
            points = list(_estimated(index, pub, result, table, ideal, room))
            results.estimated += [point for point in points if is_finite(point.ev)]
            results.num_not_finite += sum(not is_finite(point.ev) for point in points)
    return results


def evenly_spaced(items: Sequence[int], count: int) -> tuple[int, ...]:
    """Return at most `count` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= count:
        return tuple(items)
    return tuple(items[k] for k in np.linspace(0, len(items) - 1, count).round().astype(int))


def _count_gates(circuit: QuantumCircuit, results: WorkloadResults) -> int:
    """Note the qubits and pairs that an ISA circuit uses; count gates on two or more qubits."""
    position = {qubit: k for k, qubit in enumerate(circuit.qubits)}
    entangling = 0
    for item in circuit.data:
        if item.name not in ("barrier", "delay"):
            qubits = [position[qubit] for qubit in item.qubits]
            results.used_qubits.update(qubits)
            entangling += len(qubits) > 1
            if len(qubits) == 2:
                results.used_pairs[min(qubits), max(qubits)] += 1
    return entangling


def _sampled(
    index: int, pub: Any, result: PubResult, size: CircuitSize, ideal: _IdealDevice, room: int
) -> Iterator[SampledPoint]:
    """Yield the counts of a Sampler PUB, all registers joined."""
    from qiskit.quantum_info import hellinger_fidelity

    bits = joined_bits(result)
    if bits is None:
        return
    for point in islice(np.ndindex(*bits.shape), room):
        counts = counts_of(bits[point] if point else bits)
        expected = ideal.probabilities(pub, point)
        fidelity = hellinger_fidelity(counts, expected) if expected and counts else None
        yield SampledPoint(index, _label(index, point), size, counts, expected, fidelity)


def _estimated(
    index: int, pub: Any, result: PubResult, table: PubTable, ideal: _IdealDevice, room: int
) -> Iterator[EstimatedPoint]:
    """Yield the expectation values of an Estimator PUB."""
    data = result.data
    if "evs" not in data:
        return
    evs = np.asarray(data["evs"], dtype=float)
    stds = np.asarray(data["stds"] if "stds" in data else np.full_like(evs, np.nan), dtype=float)
    terms: Any = table.observables(index)
    names: Any = (pub.circuit.metadata or {}).get("observables")
    is_named = isinstance(names, list) and pub.observables.shape == (len(names),)
    values = table.parameter_values(index)
    exact = ideal.values(pub)
    for point in islice(np.ndindex(*evs.shape), room):
        observable, std = _format_terms(terms[point]), float(stds[point])
        yield EstimatedPoint(
            index,
            _label(index, point),
            # One name stands for all points, several for those of the last axis.
            str(names[point[-1] % len(names)]) if is_named else observable,
            observable,
            float(evs[point]),
            std if is_finite(std) else math.nan,
            None if exact is None else finite(exact[point]),
            finite(values[point][0]) if values.shape[-1] == 1 else None,
        )


class _IdealDevice:
    """Simulates circuits exactly, within the limits of a workload."""

    def __init__(self) -> None:
        self._amplitudes = 0

    def probabilities(self, pub: Any, point: tuple[int, ...]) -> Mapping[str, float] | None:
        """Return the probabilities of a Sampler PUB's outcomes at a point, None where not known."""
        from qexp.analysis.exact import ideal_probabilities

        circuit = pub.circuit
        if not self._affords(circuit):
            return None
        try:
            bound = pub.parameter_values.bind(circuit, point) if circuit.num_parameters else circuit
        except _UNBOUND:
            return None
        ideal = ideal_probabilities(bound, MAX_IDEAL_QUBITS)
        return ideal if ideal and all(map(is_finite, ideal.values())) else None

    def values(self, pub: Any) -> NDArray[np.float64] | None:
        """Return the exact values of an Estimator PUB, None where they are not known."""
        from qexp.analysis.exact import NotExactError
        from qexp.analysis.exact_evs import exact_values

        if not self._affords(pub.circuit, pub.parameter_values.size):
            return None
        try:
            return exact_values(pub, MAX_IDEAL_QUBITS)
        except (NotExactError, *_UNBOUND):
            return None

    def _affords(self, circuit: QuantumCircuit, times: int = 1) -> bool:
        if circuit.num_qubits > MAX_IDEAL_QUBITS:
            return False
        self._amplitudes += times * (circuit.size() + 16) << circuit.num_qubits
        return self._amplitudes <= MAX_AMPLITUDES


def _label(pub: int, point: tuple[int, ...]) -> str:
    return f"PUB {pub}" + (f" [{', '.join(map(str, point))}]" if point else "")


def _format_terms(observable: str) -> str:
    """Format an observable of `PubTable`: `ZZI`, `0.5·ZZ − 1.25·XI`."""
    if not observable.startswith("{"):
        return observable
    texts = []
    for pauli, weight in json.loads(observable).items():
        size = "" if abs(weight) == 1 else f"{abs(weight):.4g}·"
        texts.append(f"{'−' if weight < 0 else '+'} {size}{pauli}")
    joined = " ".join(texts)
    return joined[2:] if joined.startswith("+") else joined.replace("− ", "−", 1)
