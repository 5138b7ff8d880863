"""Pairs of points with the same circuits, and tests of what the swept keys change.

Points that differ in their shot noise have errors of their own: those of a difference add up in
quadrature. What one change of a key does is tested over all pairs that differ in it alone, and the
p-values of all tests are corrected together, by Holm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from qexp.analysis.lines import REPLICATES
from qexp.archive.pubs import PubIdentity
from qexp.compare.homogeneity import holm
from qexp.compare.model import DataComparison
from qexp.compare.runs import compare_runs
from qexp.core.jsonable import as_text, dumps

TestName: TypeAlias = Literal["z", "t", "Wilcoxon"]
#: The scatter of fewer differences says less than their own errors.
_MIN_SCATTERED: Final = 3
#: From so many pairs on a test by ranks finds almost as much as the t-test, and assumes less.
_MIN_RANKED: Final = 10


@dataclass(frozen=True)
class Pair:
    """Two points with the same circuits, parameter values and observables."""

    a: int  # index of the first point
    b: int  # index of the second point
    changes: Mapping[str, tuple[Any, Any]]  # key -> both values; `{}` for points of two sweeps
    same_isa: bool  # the circuits are the same as transpiled, too

    @property
    def change(self) -> str:
        """The changes as a text: `primitive.shots 100 -> 200`."""
        each = (f"{key} {as_text(a)} -> {as_text(b)}" for key, (a, b) in self.changes.items())
        return ", ".join(each)


@dataclass(frozen=True)
class Difference:
    """The effect of one change on one number: B minus A, over all pairs that differ in it alone.

    The test is `"z"` for one or two pairs, by their own errors; `"t"` below 10 pairs; `"Wilcoxon"`.
    There is none for a pair without errors.
    """

    change: str  # as `Pair.change`
    name: str  # `ANALYSIS_variable`, or workload, PUB, observable (and its repetition) of `evs`
    pairs: tuple[Pair, ...]  # pairs in which both points have the number
    differences: tuple[float, ...]  # of each pair
    errors: tuple[float, ...]  # standard error of each, NaN where it is not known
    test: TestName | None = None
    p_value: float | None = None  # of that test
    p_adjusted: float | None = None  # corrected for the number of tests by Holm

    @property
    def mean(self) -> float:
        """Mean of the differences."""
        return float(np.mean(self.differences))

    @property
    def error(self) -> float:
        """Standard error of the mean by the errors of all pairs, NaN where one is not known."""
        return float(np.sqrt(np.sum(np.square(self.errors)))) / len(self.errors)


@dataclass(frozen=True)
class ComparedPair:
    """All data of a pair, compared PUB by PUB."""

    pair: Pair
    data: DataComparison  # as of two runs
    p_adjusted: float | None  # p-value corrected for the number of pairs by Holm; None: no test

    @property
    def distance(self) -> float | None:
        """Largest total variation distance, or difference of expectation values; None: equal."""
        distances = (
            pub.max_difference if pub.total_variation is None else pub.total_variation
            for pub in self.data.pubs
        )
        return max((one for one in distances if one is not None), default=None)


Identities: TypeAlias = Mapping[str, Sequence[PubIdentity]]
Numbers: TypeAlias = Mapping[str, tuple[float, float]]
"""Name -> number of a point and its standard error, NaN without one."""


def find_pairs(
    draws: Sequence[Mapping[str, Any]], identities: Sequence[Identities | None]
) -> tuple[Pair, ...]:
    """Find the pairs of a sweep, by the digests of circuits in the archives.

    Of each key the first value that is declared is compared with every other one, with equal values
    of all other keys. Where no key changes alone, as in a list of points, the first point with the
    same circuits is compared with every other one. Points that differ in seeds only are replicates,
    no pairs. Of each point there are its draws and its identities, None without an archive.
    """
    groups: dict[Any, list[int]] = {}
    for index, of in enumerate(identities):
        if of:
            same = tuple((name, tuple(p.measurement_key for p in of[name])) for name in sorted(of))
            groups.setdefault(same, []).append(index)
    first: dict[str, str] = {}
    for draw in draws:
        for name, value in draw.items():
            first.setdefault(name, dumps(value))
    pairs = []
    for members in groups.values():
        by_draw = {_mark(draws[index]): index for index in reversed(members)}
        paired: set[int] = set()
        for b in members:
            for key, value in draws[b].items():
                if key in REPLICATES or dumps(value) == first[key]:
                    continue
                a = by_draw.get(_mark(draws[b], key, first[key]))
                if a is not None:
                    paired |= {a, b}
                    pairs.append(_pair(a, b, draws, identities))
        left = [index for index in members if index not in paired]
        others = [_pair(members[0], b, draws, identities) for b in left if b != members[0]]
        pairs += [pair for pair in others if not pair.changes.keys() <= {*REPLICATES}]
    return tuple(sorted(pairs, key=lambda pair: (pair.a, pair.b)))


def equal_points(
    a: Sequence[Mapping[str, Any]],
    b: Sequence[Mapping[str, Any]],
    identities: tuple[Sequence[Identities | None], Sequence[Identities | None]],
) -> tuple[Pair, ...]:
    """Pair the points of two sweeps that have equal draws, and archives."""
    by_draw = {_mark(draw): index for index, draw in enumerate(b)}
    found = ((index, by_draw.get(_mark(draw))) for index, draw in enumerate(a))
    return tuple(
        Pair(i, k, {}, _isa(identities[0][i]) == _isa(identities[1][k]))
        for i, k in found
        if k is not None and identities[0][i] and identities[1][k]
    )


def compare_data_of(
    pairs: Sequence[Pair], a: Sequence[Path], b: Sequence[Path], alpha: float
) -> tuple[ComparedPair, ...]:
    """Compare all data of each pair, given the folders that `Pair.a` and `Pair.b` count.

    Raises:
        ArchiveError: An archive is damaged.
    """
    data = [compare_runs(a[pair.a], b[pair.b], alpha=alpha).data for pair in pairs]
    adjusted = iter(holm([one.p_value for one in data if one.p_value is not None]))
    return tuple(
        ComparedPair(pair, one, None if one.p_value is None else next(adjusted))
        for pair, one in zip(pairs, data, strict=True)
    )


def differences(
    pairs: Sequence[Pair], a: Sequence[Numbers], b: Sequence[Numbers]
) -> tuple[Difference, ...]:
    """Compare the numbers that both points of a pair have, its `a` and `b`; test each change."""
    found: dict[tuple[str, str], list[tuple[Pair, float, float]]] = {}
    for pair in pairs:
        numbers_a, numbers_b = a[pair.a], b[pair.b]
        for name in numbers_a.keys() & numbers_b.keys():
            (value_a, std_a), (value_b, std_b) = numbers_a[name], numbers_b[name]
            if np.isfinite(value_b - value_a):
                one = (pair, value_b - value_a, float(np.hypot(std_a, std_b)))
                found.setdefault((pair.change, name), []).append(one)
    tested = []
    for (change, name), items in sorted(found.items(), key=lambda item: item[0]):
        of, values, errors = map(tuple, zip(*items, strict=True))
        test = paired_test(values, errors)
        tested.append(Difference(change, name, of, values, errors, *test))
    adjusted = iter(holm([one.p_value for one in tested if one.p_value is not None]))
    return tuple(
        one if one.p_value is None else replace(one, p_adjusted=next(adjusted)) for one in tested
    )


def paired_test(
    values: Sequence[float], errors: Sequence[float]
) -> tuple[TestName | None, float | None]:
    """Test if the mean of differences is 0; return the test and its p-value, see `Difference`."""
    from scipy import stats

    number, error = len(values), float(np.sqrt(np.sum(np.square(errors))))
    if 0 < number < _MIN_SCATTERED and error > 0:
        return "z", float(2 * stats.norm.sf(abs(sum(values)) / error))
    if number < 2 or np.ptp(values) == 0:
        # Such as numbers that are exact.
        return None, None
    if number < _MIN_RANKED:
        return "t", float(stats.ttest_1samp(values, 0.0).pvalue)
    return "Wilcoxon", float(stats.wilcoxon(values).pvalue)


def _pair(
    a: int,
    b: int,
    draws: Sequence[Mapping[str, Any]],
    identities: Sequence[Identities | None],
) -> Pair:
    keys = dict.fromkeys((*draws[a], *draws[b]))
    values = {key: (draws[a].get(key), draws[b].get(key)) for key in keys}
    changes = {key: (x, y) for key, (x, y) in values.items() if dumps(x) != dumps(y)}
    return Pair(a, b, changes, _isa(identities[a]) == _isa(identities[b]))


def _isa(identities: Identities | None) -> dict[str, list[str]]:
    return {name: [pub.isa for pub in pubs] for name, pubs in (identities or {}).items()}


def _mark(draw: Mapping[str, Any], key: str = "", value: str = "") -> tuple[tuple[str, str], ...]:
    """Return the values of a point, with another value of one key, to be compared."""
    return tuple(sorted((k, value if k == key else dumps(v)) for k, v in draw.items()))
