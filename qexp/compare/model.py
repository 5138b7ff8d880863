"""Results of the comparison of two runs, A and B, as plain frozen values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

ALPHA: Final = 0.01
"""Default level: largest probability of calling the data of two equal runs different."""

TOP: Final = 10
"""Default for the most rows of the tables of calibrations and PUBs."""

Verdict: TypeAlias = Literal["identical", "compatible", "different", "untested"]
"""Verdict on the data of the PUBs that both runs have: bit-identical; no more different than by
chance; more different; neither, since there is no PUB, or one that differs and has no test."""


@dataclass(frozen=True)
class Side:
    """One of the two runs, as its archive describes it."""

    path: str
    run_id: str
    experiment: str
    status: str
    engine: str
    backend: str
    seed: int
    created: str
    num_pubs: int
    num_results: int
    data_sha256: str
    simulator_version: int | None = None  # None where nothing was simulated here


@dataclass(frozen=True)
class Change:
    """A value that only B has (`"added"`), only A has (`"removed"`), or that differs.

    The key is a dotted path of the config, the name of a package, or another name.
    """

    key: str
    kind: Literal["added", "removed", "changed"]
    a: Any
    b: Any


@dataclass(frozen=True)
class WorkloadMatch:
    """PUBs of a workload that both runs have: same circuit as generated, parameters, observables.

    PUBs are given by their indices: in A for `other_isa` and `other_target`.
    """

    workload: str
    num_a: int
    num_b: int
    pairs: tuple[tuple[int, int], ...]  # index in A and in B of every PUB that both have
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    other_isa: tuple[int, ...]  # of `pairs`, transpiled to another circuit
    other_target: tuple[int, ...]  # of `pairs`, with other shots or another precision
    #: Index in `only_a` and `only_b` -> "circuit", "parameters", "observables", "kind" that differ.
    reasons: dict[int, tuple[str, ...]]

    @property
    def moved(self) -> tuple[tuple[int, int], ...]:
        """Pairs whose index differs."""
        return tuple(pair for pair in self.pairs if pair[0] != pair[1])

    @property
    def is_same(self) -> bool:
        """True if the same circuits were submitted in the same order."""
        odd = (self.moved, self.only_a, self.only_b, self.other_isa, self.other_target)
        return not any(odd)


@dataclass(frozen=True)
class Moved:
    """One value of a calibration in both runs."""

    quantity: str  # "T1", "T2", "readout error" or "gate error"
    where: str  # the qubit ("q3"), or the gate and its qubits ("cx 0-1")
    unit: str  # "s" or "1"
    a: float
    b: float

    @property
    def ratio(self) -> float:
        """Ratio of B to A; NaN where A is 0 or less."""
        return self.b / self.a if self.a > 0 else math.nan


@dataclass(frozen=True)
class Quantity:
    """Summary of all values of one quantity of a calibration; medians are NaN without values."""

    quantity: str
    unit: str
    num_a: int
    num_b: int
    num_common: int  # values of the same qubit or gate in both
    num_changed: int  # those of them that differ
    median_a: float
    median_b: float


@dataclass(frozen=True)
class Calibration:
    """Calibrations at the start of both runs."""

    known_a: bool
    known_b: bool
    date_a: str  # "" where not known
    date_b: str
    same_device: bool  # the backends have the same name; if not, `moved` is empty
    quantities: tuple[Quantity, ...]
    moved: tuple[Moved, ...]  # values that differ, those whose ratio is farthest from 1 first

    @property
    def is_same(self) -> bool:
        """True if both are equal, or neither run has one."""
        return (
            self.known_a == self.known_b
            and not self.moved
            and all(q.num_a == q.num_b == q.num_common for q in self.quantities)
            and (self.same_device or not self.known_a)
        )


@dataclass(frozen=True)
class PubComparison:
    """Data of one PUB in both runs; distances are the largest over its points."""

    workload: str
    a: int  # its index in A
    b: int  # its index in B
    kind: str  # "sampler" or "estimator"
    identical: bool  # bit by bit
    same_isa: bool  # if the ISA circuits differ, so may their noise
    num_points: int = 0  # distributions, or expectation values
    total_variation: float | None = None  # None for an estimator, as the next two
    expected_total_variation: float | None = None  # approximate, by chance, at the same point
    hellinger: float | None = None  # Hellinger distance
    max_difference: float | None = None  # of expectation values; None for a sampler
    max_z: float | None = None  # the same in units of its standard error
    chi2: float = 0.0  # statistic of the test
    dof: int = 0  # its degrees of freedom
    p_value: float | None = None  # of the test of this PUB alone; None without a test
    p_adjusted: float | None = None  # corrected for the number of PUBs; to compare with `alpha`
    problem: str = ""  # reason why there is no test


@dataclass(frozen=True)
class DataComparison:
    """Data of both runs, as far as they are of the same PUBs."""

    verdict: Verdict
    alpha: float  # largest probability of the verdict "different" where nothing differs
    p_value: float | None  # of all PUBs together; None where nothing was tested
    num_common: int  # PUBs of which both runs have a result
    num_identical: int  # those of them that are bit-identical
    num_tested: int
    is_whole: bool  # they are all PUBs with a result of both runs
    same_digest: bool  # `data_sha256` of both runs is equal
    pubs: tuple[PubComparison, ...] = ()  # empty where all are bit-identical

    @property
    def different(self) -> tuple[PubComparison, ...]:
        """PUBs that differ by themselves, at the level of the verdict."""
        return tuple(
            p for p in self.pubs if p.p_adjusted is not None and p.p_adjusted <= self.alpha
        )

    @property
    def untested(self) -> tuple[PubComparison, ...]:
        """PUBs that are not bit-identical and have no test."""
        return tuple(p for p in self.pubs if p.problem and not p.identical)


@dataclass(frozen=True)
class Comparison:
    """Comparison of two runs: `circuits` has the PUBs in common of each common workload."""

    a: Side
    b: Side
    run: tuple[Change, ...]  # in experiment, status, engine, backend, seed
    config: tuple[Change, ...]
    circuits: tuple[WorkloadMatch, ...]
    workloads_only_a: tuple[str, ...]
    workloads_only_b: tuple[str, ...]
    software: tuple[Change, ...]  # in Python, platform, packages and the repository
    calibration: Calibration
    data: DataComparison

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, with the properties that are derived from it."""
        from qexp.core.jsonable import to_jsonable

        plain: dict[str, Any] = to_jsonable(self)
        plain["differs"] = self.differs
        plain["data"]["num_different"] = len(self.data.different)
        plain["data"]["num_untested"] = len(self.data.untested)
        for item, moved in zip(plain["calibration"]["moved"], self.calibration.moved, strict=True):
            item["ratio"] = moved.ratio if math.isfinite(moved.ratio) else None
        for item, match in zip(plain["circuits"], self.circuits, strict=True):
            item["moved"] = [list(pair) for pair in match.moved]
        return plain

    @property
    def same_circuits(self) -> bool:
        """True if both runs have the same workloads of the same PUBs."""
        others = self.workloads_only_a or self.workloads_only_b
        return not others and all(match.is_same for match in self.circuits)

    @property
    def differs(self) -> bool:
        """True if the runs differ, apart from ids and times, and from data by chance."""
        return bool(
            self.run
            or self.config
            or self.software
            or not self.same_circuits
            or not self.calibration.is_same
            or self.data.verdict == "different"
            or self.data.untested
            or (self.a.num_results != self.b.num_results)
        )
