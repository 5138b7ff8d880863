"""Results of the comparison of two runs, A and B, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

ALPHA: Final = 0.01
"""Default level: largest probability of calling the data of two equal runs different."""

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

    Attributes:
        pairs: Index in A and index in B of every PUB that both have.
        only_a: Indices of the PUBs that only A has.
        only_b: Indices of the PUBs that only B has.
        other_isa: Index in A of those in `pairs` that were transpiled to another circuit.
        other_target: Index in A of those in `pairs` with other shots or another precision.
        reasons: For an index in `only_a` and `only_b`, what differs: `"circuit"`, `"parameters"`,
            `"observables"`, `"kind"`.
    """

    workload: str
    num_a: int
    num_b: int
    pairs: tuple[tuple[int, int], ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    other_isa: tuple[int, ...]
    other_target: tuple[int, ...]
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
        return self.b / self.a if self.a > 0 else float("nan")


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
    """Data of one PUB in both runs.

    Attributes:
        a: Its index in A.
        b: Its index in B.
        kind: `"sampler"` or `"estimator"`.
        identical: True if the data are bit-identical.
        same_isa: True if the ISA circuits are the same, too; if not, their noise may differ.
        num_points: Number of distributions, or of expectation values.
        total_variation: Largest over its points; None for an estimator.
        expected_total_variation: Its approximate value by chance, at the same point.
        hellinger: Hellinger distance, largest over its points; None for an estimator.
        max_difference: Largest abs difference of expectation values; None for a sampler.
        max_z: Largest abs difference in units of its standard error; None for a sampler.
        chi2: Statistic of the test, with `dof` degrees of freedom.
        p_value: P-value of the test of this PUB alone; None without a test.
        p_adjusted: P-value corrected for the number of PUBs; to be compared with `alpha`.
        problem: Reason why there is no test, `""` if there is one.
    """

    workload: str
    a: int
    b: int
    kind: str
    identical: bool
    same_isa: bool
    num_points: int = 0
    total_variation: float | None = None
    expected_total_variation: float | None = None
    hellinger: float | None = None
    max_difference: float | None = None
    max_z: float | None = None
    chi2: float = 0.0
    dof: int = 0
    p_value: float | None = None
    p_adjusted: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class DataComparison:
    """Data of both runs, as far as they are of the same PUBs.

    Attributes:
        alpha: Level of the verdict: the largest probability of `"different"` where nothing differs.
        p_value: P-value of all PUBs together; None where nothing was tested.
        num_common: Number of PUBs of which both runs have a result.
        num_identical: Number of these that are bit-identical.
        num_tested: Number of these that were tested.
        is_whole: True if these are all PUBs with a result of both runs.
        same_digest: True if `data_sha256` of both runs is equal.
        pubs: One per PUB that was tested or could not be; empty where all are bit-identical.
    """

    verdict: Verdict
    alpha: float
    p_value: float | None
    num_common: int
    num_identical: int
    num_tested: int
    is_whole: bool
    same_digest: bool
    pubs: tuple[PubComparison, ...] = ()

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
