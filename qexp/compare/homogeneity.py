r"""Tests that two samples are of one distribution, valid for rare outcomes and many PUBs.

*Counts of outcomes*: Pearson's chi-square test of homogeneity (`homogeneity`). Rare outcomes are
pooled, since the statistic has a chi-square distribution only for cells with about 5 expected
counts or more (Cochran, Biometrics 10, 417 (1954)). The choice of pooled outcomes depends only on
the sum of the two samples, so that the level of the test is kept.

*Many outcomes, each seen a few times*: pooling would leave little to compare, so that single bits
and products of two bits (`parities`) are compared as well, by Fisher's exact test with Bonferroni's
correction, which is valid for any correlation of the bits.

*Expectation values*: differences in units of their standard errors (`expectations`), Bonferroni
within a PUB, because values of one PUB may be estimated from the same shots.

*Many PUBs* (`jointly`): half of the level goes to single PUBs, corrected by Holm, half to the sum
of all statistics, which finds a small difference that all PUBs share. Holm (Scand. J. Statist. 6,
65 (1979)) bounds the probability that any PUB is called different although none is; Benjamini and
Hochberg would only bound the share of false alarms among the PUBs that are called different.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.int64]

#: Smallest expected count of a cell.
MIN_EXPECTED: Final = 5.0
#: Above this share of pooled counts, bits and products of bits are compared, too.
MAX_POOLED: Final = 0.1
#: Largest difference of expectation values due to rounding, relative to 1 or to their size.
ROUNDING: Final = 1e-9
#: Number of bits and products of bits, the most different ones, that are tested exactly.
_EXACT: Final = 20


@dataclass(frozen=True)
class TestResult:
    """Result of one test."""

    __test__ = False

    chi2: float  # under the null hypothesis it has a chi-square distribution, or is smaller
    dof: int  # its degrees of freedom; 0 where there is nothing to compare
    p_value: float  # probability of such a difference, or a larger one, under the null hypothesis


def aligned_counts(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[Counts, Counts]:
    """Count the outcomes that occur in either of two samples, in the same order, shape (outcomes,).

    Samples are packed bits, shape (shots, bytes), of the same number of bytes.
    """
    both = np.concatenate([a, b])
    num_bytes = both.shape[-1]
    if num_bytes <= 8:
        wide = np.zeros((len(both), 8), dtype=np.uint8)
        wide[:, :num_bytes] = both
        outcomes = wide.view("<u8").ravel()
    else:
        outcomes = np.ascontiguousarray(both).view(f"V{num_bytes}").ravel()
        outcomes = np.unique(outcomes, return_inverse=True)[1]
    if num_bytes <= 2:
        labels, size = outcomes.astype(np.int64), 1 << (8 * num_bytes)
    else:
        values, labels = np.unique(outcomes, return_inverse=True)
        size = len(values)
    of_a, of_b = (
        np.bincount(part, minlength=size) for part in (labels[: len(a)], labels[len(a) :])
    )
    seen = (of_a + of_b) > 0
    return of_a[seen], of_b[seen]


def homogeneity(points: Sequence[tuple[Counts, Counts]]) -> tuple[TestResult, float]:
    r"""Apply Pearson's test that two samples are of one distribution, at each of several points.

    At a point with :math:`a_x + b_x = t_x` counts of outcome x, the statistic is :math:`\sum_x
    (a_x n_b - b_x n_a)^2 / (n_a n_b t_x)`, as for any 2 x k table of contingency. Statistics and
    degrees of freedom of independent points add up.
    `points` has the counts of both samples at each, as `aligned_counts` returns them.

    Returns:
        The result, and the share of all counts that are of pooled outcomes.
    """
    chi2, dof, pooled, total = 0.0, 0, 0, 0
    for a, b in points:
        n_a, n_b = int(a.sum()), int(b.sum())
        total += n_a + n_b
        if not n_a or not n_b:
            continue
        (a, b), rare = _pooled(a, b, min(n_a, n_b) / (n_a + n_b))  # noqa: PLW2901
        pooled += rare
        difference = a * float(n_b) - b * float(n_a)
        chi2 += float(np.sum(difference**2 / (float(n_a) * n_b * (a + b))))
        dof += len(a) - 1
    return TestResult(chi2, dof, _chi2_tail(dof, chi2)), pooled / total if total else 0.0


def _pooled(a: Counts, b: Counts, smaller: float) -> tuple[tuple[Counts, Counts], int]:
    """Pool rare outcomes into one cell; return all cells, and the number of counts pooled."""
    order = np.argsort(-(a + b), kind="stable")[: np.count_nonzero(a + b)]
    a, b = a[order], b[order]
    kept = int(np.count_nonzero((a + b) * smaller >= MIN_EXPECTED))
    rare = int((a[kept:] + b[kept:]).sum())
    if rare and rare * smaller < MIN_EXPECTED:
        kept -= 1
    first = max(kept, 0)
    starts = [*range(first), *([first] if first < len(a) else [])]
    return (np.add.reduceat(a, starts), np.add.reduceat(b, starts)), rare


def parities(points: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> float:
    """Apply Fisher's exact test to every bit and product of two bits, corrected for their number.

    `points` has the bits of both samples at each, shape (shots, bits). Return the p-value; it is
    valid for any number of shots, and for correlated bits.
    """
    counts = [_parity_counts(a, b) for a, b in points if len(a) and len(b)]
    if not counts:
        return 1.0
    ones_a, ones, n_a, n = (np.concatenate(column) for column in zip(*counts, strict=True))
    if not len(ones):
        return 1.0
    # The correction below counts all of them: testing only the most different ones is no bias.
    spread = ones * (n - ones) / n * n_a * (n - n_a) / n
    distance = np.abs(ones_a - ones * n_a / n) / np.sqrt(spread)
    most = np.argsort(-distance, kind="stable")[:_EXACT]

    from scipy.stats import hypergeom

    least = np.minimum(
        hypergeom.cdf(ones_a[most], n[most], ones[most], n_a[most]),
        hypergeom.sf(ones_a[most] - 1, n[most], ones[most], n_a[most]),
    )
    return min(1.0, float(2 * len(ones) * least.min()))


def _parity_counts(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
    """Return, for each parity that varies, its number of ones and of shots, in `a` and in both."""
    first, second = np.triu_indices(a.shape[1], 1)
    ones = []
    for sample in (a, b):
        padded = np.pad(sample, ((0, -len(sample) % 64), (0, 0)))
        words = np.packbits(np.ascontiguousarray(padded.T), axis=1).view(np.uint64)
        columns = (words, words[first] ^ words[second])
        ones.append(
            np.concatenate([np.bitwise_count(c).sum(axis=1, dtype=np.int64) for c in columns])
        )
    together, total = ones[0] + ones[1], len(a) + len(b)
    varies = (together > 0) & (together < total)
    count = int(np.count_nonzero(varies))
    return ones[0][varies], together[varies], np.full(count, len(a)), np.full(count, total)


def sampled(
    points: Sequence[tuple[Counts, Counts]],
    bits: Callable[[], Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]],
) -> TestResult:
    """Test one Sampler PUB: `homogeneity`, and `parities` where much had to be pooled.

    `points` has the counts of both samples for each parameter set; `bits` returns their bits, shape
    (shots, bits).
    """
    test, pooled = homogeneity(points)
    if pooled <= MAX_POOLED:
        return test
    return replace(test, p_value=min(1.0, 2 * min(test.p_value, parities(bits()))))


def expectations(
    evs_a: NDArray[Any], stds_a: NDArray[Any], evs_b: NDArray[Any], stds_b: NDArray[Any]
) -> tuple[TestResult, float]:
    r"""Test one Estimator PUB by :math:`z = (a - b) / \sqrt{\sigma_a^2 + \sigma_b^2}`.

    Values that are not finite are left out. Where both standard errors are 0, differences as small
    as rounding do not count.

    All arrays have one shape, whatever it is.

    Returns:
        The result, with 1 degree of freedom; and the largest abs(z).
    """
    a, s_a, b, s_b = (np.asarray(x, float).ravel() for x in (evs_a, stds_a, evs_b, stds_b))
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(s_a) & np.isfinite(s_b)
    if not finite.any():
        return TestResult(0.0, 0, 1.0), 0.0
    a, s_a, b, s_b = a[finite], s_a[finite], b[finite], s_b[finite]
    floor = ROUNDING * np.maximum(1.0, np.abs(a))
    z = float((np.abs(a - b) / np.sqrt(s_a**2 + s_b**2 + floor**2)).max())
    p_value = min(1.0, len(a) * math.erfc(z / math.sqrt(2)))

    from scipy.special import chdtri

    # For the sum over PUBs: the square of a normal variable with this p-value.
    return TestResult(float(chdtri(1, p_value)) if p_value else z * z, 1, p_value), z


def jointly(tests: Sequence[TestResult]) -> tuple[float, list[float]]:
    """Combine the tests of independent PUBs, those that do not differ included.

    Return the p-value of the null hypothesis that no PUB differs, 1 if there are no tests; and that
    of each PUB, corrected so that it can be compared with the level.
    """
    if not tests:
        return 1.0, []
    halves = 1 if len(tests) == 1 else 2
    single = [min(1.0, halves * p) for p in holm([test.p_value for test in tests])]
    dof, chi2 = sum(test.dof for test in tests), math.fsum(test.chi2 for test in tests)
    whole = 1.0 if halves == 1 else min(1.0, halves * _chi2_tail(dof, chi2))
    return min(whole, *single), single


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down method; the order is kept.

    Rejecting those that are at most alpha keeps the probability of any false rejection below alpha,
    for any dependence between the tests. Source: S. Holm, Scand. J. Statist. 6, 65 (1979).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def total_variation(a: NDArray[Any], b: NDArray[Any]) -> float:
    r"""Return the total variation distance, :math:`\frac12 \sum_x |p_x - q_x|`, between 0 and 1.

    Counts or probabilities have shape (outcomes,); each array is normalised by its sum, above 0.
    Source: Nielsen and Chuang, Quantum Computation and Quantum Information, eq. 9.1.
    """
    return 0.5 * math.fsum(np.abs(a / a.sum() - b / b.sum()).tolist())


def hellinger_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    r"""Return the Hellinger distance, :math:`\sqrt{1 - \sum_x \sqrt{p_x q_x}}`, between 0 and 1.

    Arguments are those of `total_variation`. Source: as `qiskit.quantum_info.hellinger_distance`.
    """
    overlap = math.fsum(np.sqrt(a / a.sum() * (b / b.sum())).tolist())
    # Rounding may leave the overlap of equal distributions a little above 1.
    return math.sqrt(max(0.0, 1.0 - overlap))


def expected_total_variation(a: Counts, b: Counts) -> float:
    r"""Return the approximate total variation distance of two samples of one distribution.

    :math:`\sum_x \sqrt{p_x (1 - p_x) (1/n_a + 1/n_b) / 2\pi}` with p of both samples together: half
    of the mean absolute value of a normal variable, :math:`\sigma \sqrt{2/\pi}`, per outcome.
    """
    n_a, n_b = int(a.sum()), int(b.sum())
    p = (a + b) / (n_a + n_b)
    return float(np.sqrt(p * (1 - p) * (1 / n_a + 1 / n_b) / (2 * math.pi)).sum())


def _chi2_tail(dof: int, chi2: float) -> float:
    if not dof:
        return 1.0

    from scipy.special import chdtrc

    return float(chdtrc(dof, chi2))
