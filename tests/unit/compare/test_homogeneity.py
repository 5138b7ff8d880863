"""Tests of two samples: agreement with SciPy, false alarms, and differences that are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from qiskit.quantum_info import hellinger_distance as qiskit_distance
from scipy.stats import chi2_contingency, fisher_exact, norm

from qexp.compare.homogeneity import (
    TestResult,
    _pooled,
    aligned_counts,
    expectations,
    expected_total_variation,
    hellinger_distance,
    holm,
    homogeneity,
    jointly,
    parities,
    sampled,
    total_variation,
)

counts = st.integers(2, 40).flatmap(
    lambda size: st.tuples(
        arrays(np.int64, size, elements=st.integers(0, 300)),
        arrays(np.int64, size, elements=st.integers(0, 300)),
    )
)


@given(
    st.integers(1, 12).flatmap(
        lambda width: st.tuples(
            arrays(np.uint8, st.tuples(st.integers(0, 30), st.just(width))),
            arrays(np.uint8, st.tuples(st.integers(0, 30), st.just(width))),
        )
    )
)
def test_counts_of_any_width(samples: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = samples
    of_a, of_b = aligned_counts(a, b)
    both = [Counter(bytes(row) for row in sample) for sample in samples]
    known = {(both[0][outcome], both[1][outcome]) for outcome in both[0] | both[1]}
    assert set(zip(of_a.tolist(), of_b.tolist(), strict=True)) == known
    assert (of_a.sum(), of_b.sum()) == (len(a), len(b))


@given(counts, st.integers(100, 9000))
def test_as_scipy_where_nothing_is_rare(pair: tuple[np.ndarray, np.ndarray], floor: int) -> None:
    a, b = pair[0] + floor, pair[1] + floor
    found, pooled = homogeneity([(a, b)])
    known = chi2_contingency(np.array([a, b]), correction=False)
    assert pooled == 0
    assert found.dof == known.dof
    assert found.chi2 == pytest.approx(known.statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)


@given(counts)
def test_pooled_cells_are_large_enough_and_nothing_is_lost(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    a, b = pair
    n_a, n_b = int(a.sum()), int(b.sum())
    if not n_a or not n_b:
        assert homogeneity([pair])[0] == TestResult(0.0, 0, 1.0)
        return
    share = min(n_a, n_b) / (n_a + n_b)
    (x, y), rare = _pooled(a, b, share)
    assert (x.sum(), y.sum()) == (n_a, n_b)
    assert 0 <= rare <= n_a + n_b
    assert len(x) == 1 or ((x + y) * share >= 5).all()


@given(counts)
def test_the_order_of_the_samples_does_not_matter(pair: tuple[np.ndarray, np.ndarray]) -> None:
    there, back = homogeneity([pair])[0], homogeneity([pair[::-1]])[0]
    assert there.dof == back.dof
    assert there.chi2 == pytest.approx(back.chi2)


@given(counts)
def test_equal_samples_do_not_differ(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found, _ = homogeneity([(pair[0], pair[0])])
    assert (found.chi2, found.p_value) == (0.0, 1.0)


def test_points_add_up() -> None:
    one, other = (np.array([60, 40]), np.array([45, 55])), (np.array([9, 91]), np.array([20, 80]))
    parts = [homogeneity([point])[0] for point in (one, other)]
    both, _ = homogeneity([one, other])
    assert both.chi2 == pytest.approx(sum(part.chi2 for part in parts))
    assert both.dof == sum(part.dof for part in parts) == 2


@given(st.integers(0, 40), st.integers(0, 40), st.integers(40, 90), st.integers(40, 90))
def test_one_bit_is_fishers_test(ones_a: int, ones_b: int, n_a: int, n_b: int) -> None:
    a, b = (np.arange(n)[:, None] < ones for n, ones in ((n_a, ones_a), (n_b, ones_b)))
    table = [[ones_a, n_a - ones_a], [ones_b, n_b - ones_b]]
    tails = [fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    expected = 1.0 if ones_a + ones_b == 0 else min(1.0, 2 * min(tails))
    assert parities([(a, b)]) == pytest.approx(expected, rel=1e-6)


def test_products_of_bits_are_compared() -> None:
    rng = np.random.default_rng(4)
    independent = rng.random((2000, 20)) < 0.5
    correlated = independent.copy()
    correlated[:, 7] = correlated[:, 3] ^ (rng.random(2000) < 0.3)
    # Each bit by itself is a fair coin in both.
    assert parities([(independent, correlated)]) < 1e-20
    assert parities([(independent, independent[::-1])]) == 1.0
    assert parities([]) == 1.0


def family(
    rng: np.random.Generator, p: np.ndarray, q: np.ndarray, shots: tuple[int, int]
) -> list[TestResult]:
    """Tests of many PUBs; `p` and `q` have shape (PUBs, outcomes)."""
    pairs = zip(rng.multinomial(shots[0], p), rng.multinomial(shots[1], q), strict=True)
    seen = [(a[a + b > 0], b[a + b > 0]) for a, b in pairs]
    return [homogeneity([pair])[0] for pair in seen]


def random_distributions(rng: np.random.Generator, num: int, outcomes: int) -> np.ndarray:
    """Porter-Thomas distributions, like those of random circuits."""
    weights = rng.exponential(size=(num, outcomes))
    return weights / weights.sum(axis=1, keepdims=True)


ALPHA = 0.05
# Of 100 families, at most this many are called different in 999 of 1000 cases if 5 are expected.
MOST_OF_100 = 13


@pytest.mark.parametrize(
    ("outcomes", "shots"),
    [(32, (4096, 4096)), (2, (4096, 1000)), (256, (1000, 1000)), (32, (4096, 500))],
)
def test_false_alarms_among_hundreds_of_pubs(outcomes: int, shots: tuple[int, int]) -> None:
    rng = np.random.default_rng(20261126)
    alarms = 0
    for _ in range(100):
        p = random_distributions(rng, 200, outcomes)
        p_value, p_adjusted = jointly(family(rng, p, p, shots))
        alarms += p_value <= ALPHA
        # Whoever is called different by itself is so for the verdict, too.
        assert min(p_adjusted) >= p_value
    assert alarms <= MOST_OF_100


def test_false_alarms_of_outcomes_that_are_never_seen_twice() -> None:
    rng = np.random.default_rng(20261127)
    alarms = 0
    for _ in range(60):
        tests = []
        for _ in range(5):
            p = rng.random(40)
            a, b = rng.random((300, 40)) < p, rng.random((200, 40)) < p
            pair = aligned_counts(np.packbits(a, axis=1), np.packbits(b, axis=1))
            tests.append(sampled([pair], lambda a=a, b=b: [(a, b)]))
        assert all(test.dof <= 1 for test in tests)
        alarms += jointly(tests)[0] <= ALPHA
    assert alarms <= 9  # 3 are expected


def test_false_alarms_of_expectation_values() -> None:
    rng = np.random.default_rng(20261128)
    alarms = 0
    for _ in range(200):
        tests = []
        for _ in range(100):
            exact, stds = rng.uniform(-1, 1, (3, 2)), rng.uniform(0.01, 0.02, (3, 2))
            # Values of one PUB may be estimated from the same shots.
            noise = rng.normal(size=(2, 1, 2))
            tests.append(
                expectations(exact + stds * noise[0], stds, exact + stds * noise[1], stds)[0]
            )
        alarms += jointly(tests)[0] <= ALPHA
    assert alarms <= 21  # 10 are expected


def test_one_pub_that_differs_is_found_among_500() -> None:
    rng = np.random.default_rng(3)
    p = random_distributions(rng, 500, 32)
    q = p.copy()
    order = np.argsort(p[123])
    q[123, order[-1]] -= 0.06
    q[123, order[:16]] += 0.06 / 16
    p_value, p_adjusted = jointly(family(rng, p, q, (4096, 4096)))
    assert p_value < 1e-6
    assert [k for k, value in enumerate(p_adjusted) if value <= 0.01] == [123]


def test_a_little_in_all_pubs_is_found_though_none_differs_by_itself() -> None:
    rng = np.random.default_rng(5)
    p = random_distributions(rng, 500, 32)
    q = 0.97 * p + 0.03 / 32
    p_value, p_adjusted = jointly(family(rng, p, q, (4096, 4096)))
    assert min(p_adjusted) > 0.01
    assert p_value < 1e-6


def test_expectation_values() -> None:
    a, b = np.array([[0.5, 0.1]]), np.array([[0.5, 0.14]])
    stds = np.array([[0.006, 0.006]])
    found, z = expectations(a, stds, b, stds * 4 / 3)
    assert z == pytest.approx(4)
    assert found.p_value == pytest.approx(2 * 2 * norm.sf(4))
    assert found.dof == 1


def test_exact_expectation_values_differ_by_more_than_rounding() -> None:
    nothing = np.zeros(2)
    same, _ = expectations(np.array([0.3, 1.0]), nothing, np.array([0.3 + 1e-15, 1.0]), nothing)
    other, _ = expectations(np.array([0.3, 1.0]), nothing, np.array([0.3 + 1e-6, 1.0]), nothing)
    assert same.p_value == 1.0
    assert other.p_value < 1e-9


def test_expectation_values_that_are_not_finite_are_left_out() -> None:
    one = np.array([np.nan, 0.2, np.inf])
    found, z = expectations(one, np.full(3, 0.1), np.array([0.0, 0.2, 0.0]), np.full(3, 0.1))
    assert (found.p_value, z) == (1.0, 0.0)
    assert expectations(one[:1], one[:1], one[:1], one[:1])[0] == TestResult(0.0, 0, 1.0)


def test_holm() -> None:
    # Holm (1979) by hand: sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, then made monotone.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, found in zip(p_values, adjusted, strict=True):
        assert p <= found <= 1
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    assert sorted(adjusted) == [x for _, x in sorted(zip(p_values, adjusted, strict=True))]


def test_one_pub_and_none() -> None:
    test = homogeneity([(np.array([60, 40]), np.array([40, 60]))])[0]
    p_value, p_adjusted = jointly([test])
    assert p_value == p_adjusted[0] == test.p_value
    assert jointly([])[0] == 1.0


def test_the_distance_that_is_expected_by_chance() -> None:
    rng = np.random.default_rng(8)
    p = random_distributions(rng, 1, 32)[0]
    drawn = [(rng.multinomial(4096, p), rng.multinomial(1000, p)) for _ in range(300)]
    seen = [0.5 * np.abs(a / 4096 - b / 1000).sum() for a, b in drawn]
    expected = [expected_total_variation(a, b) for a, b in drawn]
    assert np.mean(expected) == pytest.approx(np.mean(seen), rel=0.02)


six_counts = st.lists(st.integers(0, 1000), min_size=6, max_size=6).filter(any)


@given(six_counts, six_counts)
def test_metrics_and_their_inequality(p: Sequence[int], q: Sequence[int]) -> None:
    a, b = np.array(p), np.array(q)
    h, tv = hellinger_distance(a, b), total_variation(a, b)
    assert h == pytest.approx(qiskit_distance(dict(enumerate(p)), dict(enumerate(q))), abs=1e-7)
    assert 0 <= tv <= 1 + 1e-12
    # Le Cam: H^2 <= TV <= sqrt(2) H
    assert h * h <= tv + 1e-9 <= 2**0.5 * h + 2e-7
    assert tv == pytest.approx(total_variation(b, a))


def test_known_values() -> None:
    zero, one = np.array([1, 0]), np.array([0, 1])
    assert total_variation(np.array([3, 1]), np.array([0.5, 0.5])) == pytest.approx(0.25)
    assert total_variation(zero, one) == 1
    assert hellinger_distance(zero, one) == 1
    assert hellinger_distance(zero, 7 * zero) == 0
