r"""Whether two samples are of one distribution: tests that hold for rare outcomes and many PUBs.

*Counts of outcomes*: Pearson's chi-square test of homogeneity (`homogeneity`). What is rarely seen
is pooled, since the distribution of the statistic is that of chi-square only for cells with about
5 expected counts or more (Cochran, Biometrics 10, 417 (1954)). Which outcomes are pooled depends on
the two samples together only, so that the test stays one at its level.

*Many outcomes, each seen a few times*: pooling would leave little to compare, so that single bits
and products of two bits (`parities`) are compared as well, by Fisher's exact test with
Bonferroni's correction, which holds however the bits are correlated.

*Expectation values*: differences in units of their standard errors (`expectations`), Bonferroni
within a PUB, because values of one PUB may be estimated from the same shots.

*Many PUBs* (`jointly`): half of the level goes to single PUBs, corrected by Holm, half to the sum
of all statistics, which finds what is a little different everywhere. Holm (Scand. J. Statist. 6, 65
(1979)), not Benjamini and Hochberg: that any PUB is called different although none is, is then as
improbable as the level says; theirs bounds the share of such PUBs among those that are called so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

#: Smallest expected counts of a cell.
MIN_EXPECTED: Final = 5.0
#: From this share of pooled counts on, bits and products of bits are compared, too.
MAX_POOLED: Final = 0.1
#: Largest difference of expectation values that is rounding, relative to 1 or to their size.
ROUNDING: Final = 1e-9
#: So many of the most different bits and products of bits are tested exactly.
_EXACT: Final = 20


@dataclass(frozen=True)
class TestResult:
    """What one test found.

    Attributes:
        chi2: Statistic; under the null hypothesis distributed as chi-square, or smaller.
        dof: Its degrees of freedom; 0 where there is nothing to compare.
        p_value: Probability of a difference like this under the null hypothesis, or more.
    """

    __test__ = False

    chi2: float
    dof: int
    p_value: float


@dataclass(frozen=True)
class Joint:
    """What the tests of many PUBs say together.

    Attributes:
        p_value: Of the null hypothesis that no PUB differs.
        p_adjusted: For each PUB, comparable with the level as it is.
    """

    p_value: float
    p_adjusted: tuple[float, ...]


def aligned_counts(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[Counts, Counts]:
    """Counts of the outcomes of two samples, in the same order of outcomes.

    Args:
        a: Packed bits, shape (shots, bytes).
        b: As `a`; the number of shots may differ, the number of bytes must not.

    Returns:
        Two arrays of shape (outcomes,), of the outcomes that were seen in either.
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
        found, labels = np.unique(outcomes, return_inverse=True)
        size = len(found)
    of_a, of_b = (
        np.bincount(part, minlength=size) for part in (labels[: len(a)], labels[len(a) :])
    )
    seen = (of_a + of_b) > 0
    return of_a[seen], of_b[seen]


def homogeneity(points: Sequence[tuple[Counts, Counts]]) -> tuple[TestResult, float]:
    r"""Pearson's test that two samples are of one distribution, at each of several points.

    At a point with :math:`a_x + b_x = t_x` counts of outcome x, the statistic is :math:`\sum_x
    (a_x n_b - b_x n_a)^2 / (n_a n_b t_x)`, as for any 2 x k table of contingency. Statistics and
    degrees of freedom of independent points add up.

    Args:
        points: For each point the counts of both samples, as `aligned_counts` returns them.

    Returns:
        The result, and the share of all counts that were pooled.
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
    """Pool outcomes until all have the expected counts; how many counts were in rare ones."""
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
    """Fisher's exact test of every bit and every product of two bits, corrected for their number.

    Args:
        points: For each point the bits of both samples, shape (shots, bits).

    Returns:
        The p-value; valid for any number of shots, and for correlated bits.
    """
    found = [_parity_counts(a, b) for a, b in points if len(a) and len(b)]
    if not found:
        return 1.0
    ones_a, ones, n_a, n = (np.concatenate(column) for column in zip(*found, strict=True))
    if not len(ones):
        return 1.0
    # All that Fisher's test is conditioned on, so that it may decide what is tested exactly.
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
    """Of each parity that is not constant: how often it is 1 in `a` and in both; shots of each."""
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
    """The test of one Sampler PUB: `homogeneity`, and `parities` where much had to be pooled.

    Args:
        points: For each point of the PUB the counts of both samples.
        bits: Returns for each point their bits, shape (shots, bits); called only if needed.
    """
    found, pooled = homogeneity(points)
    if pooled <= MAX_POOLED:
        return found
    p_value = min(1.0, 2 * min(found.p_value, parities(bits())))
    return TestResult(found.chi2, found.dof, p_value)


def expectations(
    evs_a: NDArray[Any], stds_a: NDArray[Any], evs_b: NDArray[Any], stds_b: NDArray[Any]
) -> tuple[TestResult, float]:
    r"""The test of one Estimator PUB: :math:`z = (a - b) / \sqrt{\sigma_a^2 + \sigma_b^2}`.

    Values that are not finite are left out. Differences as small as rounding are none, where both
    standard errors are 0.

    Args:
        evs_a: Expectation values of the first run, of any shape; the others have the same.
        stds_a: Their standard errors.
        evs_b: Expectation values of the second run.
        stds_b: Their standard errors.

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

    # What it counts in a sum over PUBs, as if it were the square of one normal variable.
    return TestResult(float(chdtri(1, p_value)) if p_value else z * z, 1, p_value), z


def jointly(tests: Sequence[TestResult]) -> Joint:
    """What tests of independent PUBs say together.

    Args:
        tests: One for each PUB, those of which nothing differs included.

    Returns:
        A p-value of 1 where there is no test.
    """
    if not tests:
        return Joint(1.0, ())
    halves = 1 if len(tests) == 1 else 2
    single = [min(1.0, halves * p) for p in holm([test.p_value for test in tests])]
    dof, chi2 = sum(test.dof for test in tests), math.fsum(test.chi2 for test in tests)
    whole = 1.0 if halves == 1 else min(1.0, halves * _chi2_tail(dof, chi2))
    return Joint(min(whole, *single) if halves > 1 else single[0], tuple(single))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number by Holm's step-down method, in the order given.

    Rejecting those that are at most alpha keeps the probability of any false rejection below alpha,
    however the tests depend on each other. Source: S. Holm, Scand. J. Statist. 6, 65 (1979).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def expected_total_variation(a: Counts, b: Counts) -> float:
    r"""About what the total variation distance of two samples of one distribution is by chance.

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
