from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import qexp
from qexp.archive.pubs import PubIdentity
from qexp.sweeps.pairs import Pair, differences, equal_points, find_pairs


def identity(circuit: str, isa: str = "i") -> dict[str, Any]:
    return {"main": (PubIdentity("sampler", circuit, isa, "p", "", 100, None, "r"),)}


def found(draws: list[dict[str, Any]], circuits: str) -> list[tuple[int, int, str]]:
    """Pairs, given a letter for the circuits of each point; `-` has no archive."""
    identities = [None if letter == "-" else identity(letter) for letter in circuits]
    return [(pair.a, pair.b, pair.change) for pair in find_pairs(draws, identities)]


def product(**keys: list[Any]) -> list[dict[str, Any]]:
    draws: list[dict[str, Any]] = [{}]
    for key, values in keys.items():
        draws = [{**draw, key: value} for draw in draws for value in values]
    return draws


def test_points_with_equal_circuits_are_pairs_of_one_key() -> None:
    draws = product(n=[2, 3], shots=[10, 20, 30])
    assert found(draws, "aaabbb") == [
        (0, 1, "shots 10 -> 20"),
        (0, 2, "shots 10 -> 30"),
        (3, 4, "shots 10 -> 20"),
        (3, 5, "shots 10 -> 30"),
    ]


def test_each_option_is_compared_with_the_others_equal() -> None:
    draws = product(dd=[False, True], twirl=[False, True])
    assert found(draws, "aaaa") == [
        (0, 1, "twirl false -> true"),
        (0, 2, "dd false -> true"),
        (1, 3, "dd false -> true"),
        (2, 3, "twirl false -> true"),
    ]


def test_points_without_an_archive_or_with_other_circuits_are_no_pairs() -> None:
    draws = product(shots=[10, 20, 30])
    assert found(draws, "a-a") == [(0, 2, "shots 10 -> 30")]
    assert found(draws, "abc") == []


def test_points_of_a_list_are_compared_with_the_first() -> None:
    draws = [{"dd": False, "t": 0}, {"dd": True, "t": 1}, {"dd": True, "t": 2}]
    assert found(draws, "aaa") == [
        (0, 1, "dd false -> true, t 0 -> 1"),
        (0, 2, "dd false -> true, t 0 -> 2"),
    ]


def test_replicates_are_no_pairs() -> None:
    assert found(product(seed=[1, 2, 3]), "aaa") == []
    assert found(product(seed=[1, 2], shots=[10, 20]), "aaaa") == [
        (0, 1, "shots 10 -> 20"),
        (2, 3, "shots 10 -> 20"),
    ]


def test_a_pair_says_if_it_has_the_same_isa_circuits() -> None:
    draws = product(level=[1, 2])
    (pair,) = find_pairs(draws, [identity("a", "x"), identity("a", "y")])
    assert not pair.same_isa


def test_equal_points_of_two_sweeps() -> None:
    a, b = product(n=[1, 2, 3]), product(n=[3, 2])
    known = [identity("a"), identity("b"), identity("c")]
    pairs = equal_points(a, b, (known, [identity("c", "other"), None]))
    assert pairs == (Pair(2, 0, {}, same_isa=False),)


def numbers(*values: float, std: float = 0.3) -> list[dict[str, tuple[float, float]]]:
    return [{"fit_p": (value, std)} for value in values]


def change(number: int) -> list[Pair]:
    return [Pair(2 * k, 2 * k + 1, {"dd": (False, True)}, same_isa=True) for k in range(number)]


def test_one_pair_or_two_are_tested_by_their_errors() -> None:
    both = numbers(1.0, 2.0, std=0.3)
    (one,) = differences(change(1), both, both)
    assert (one.change, one.name, one.mean) == ("dd false -> true", "fit_p", 1.0)
    assert one.error == pytest.approx(np.hypot(0.3, 0.3))
    assert one.test == "z"
    assert one.p_value == pytest.approx(2 * stats.norm.sf(1 / one.error))
    both = numbers(1.0, 2.0, 3.0, 4.5, std=0.3)
    (two,) = differences(change(2), both, both)
    assert (two.mean, two.test) == (1.25, "z")
    assert two.error == pytest.approx(0.3)
    assert two.p_value == pytest.approx(2 * stats.norm.sf(1.25 / 0.3))


def test_few_pairs_are_tested_by_t() -> None:
    values = [1.0, 1.5, 2.0, 2.25, 3.0, 3.125]
    both = numbers(*values)
    (one,) = differences(change(3), both, both)
    assert one.differences == (0.5, 0.25, 0.125)
    assert one.error == pytest.approx(np.sqrt(6 * 0.09) / 3)
    assert one.test == "t"
    assert one.p_value == pytest.approx(stats.ttest_rel(values[1::2], values[::2]).pvalue)


def test_many_pairs_are_tested_by_ranks() -> None:
    values = np.random.default_rng(1).random(20).tolist()
    both = numbers(*values)
    (one,) = differences(change(10), both, both)
    assert one.test == "Wilcoxon"
    assert one.p_value == pytest.approx(stats.wilcoxon(values[1::2], values[::2]).pvalue)


def test_there_is_no_test_without_errors_or_scatter() -> None:
    both = numbers(1.0, 2.0, std=np.nan)
    (one,) = differences(change(1), both, both)
    assert np.isnan(one.error)
    assert (one.test, one.p_value, one.p_adjusted) == (None, None, None)
    both = numbers(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    (one,) = differences(change(3), both, both)
    assert one.test is None


def test_p_values_are_corrected_for_the_number_of_tests() -> None:
    both = [{"fit_p": (k, 0.3), "fit_q": (k / 2, 0.3)} for k in range(2)]
    p, q = differences(change(1), both, both)
    assert p.p_adjusted == pytest.approx(2 * p.p_value)
    assert q.p_adjusted == q.p_value


def test_a_sweep_compares_its_own_pairs(grid) -> None:
    sweep = qexp.open_sweep(grid.path)
    assert [(pair.a, pair.b, pair.change) for pair in sweep.pairs()] == [
        (0, 2, "twirled false -> true"),
        (1, 3, "twirled false -> true"),
    ]
    by_name = {one.name: one for one in sweep.differences()}
    assert by_name["fit_decay"].differences == (0.75, 0.75)
    first = by_name['evs main 0 {"IY":0.3333333333333333} 1']
    assert first.differences == pytest.approx((0.05, 0.1))
    assert first.errors == pytest.approx((np.hypot(0.03, 0.03),) * 2)
    assert len(by_name) == 6


def test_a_sweep_is_compared_with_another(grid) -> None:
    sweep, other = qexp.open_sweep(grid.path), qexp.open_sweep(grid.path)
    assert len(sweep.pairs_with(other)) == 4
    assert all(one.mean == 0 for one in sweep.differences(other))
