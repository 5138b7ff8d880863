from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qexp.archive.pubs import PubIdentity
from qexp.compare.matching import match_pubs

PUB = PubIdentity("sampler", "circuit", "isa", "values", "", 100, None, "")


def pubs(names: str) -> list[PubIdentity]:
    return [replace(PUB, logical=name) for name in names]


def test_moved_missing_and_new() -> None:
    found = match_pubs("main", pubs("abcd"), pubs("acbxe"))
    assert found.pairs == ((0, 0), (1, 2), (2, 1))
    assert found.moved == ((1, 2), (2, 1))
    assert (found.only_a, found.only_b) == ((3,), (3, 4))
    assert found.reasons == {3: ("circuit",)}
    assert not found.is_same


def test_repeated_pubs_are_paired_as_often_as_both_runs_have_them() -> None:
    found = match_pubs("main", pubs("aaab"), pubs("baa"))
    # In place where possible.
    assert found.pairs == ((1, 1), (2, 2), (3, 0))
    assert (found.only_a, found.only_b) == ((0,), ())


def test_other_parameters_make_another_pub_but_not_other_shots_or_isa_circuits() -> None:
    changed = [
        replace(PUB, parameters="others"),
        replace(PUB, observables='[{"Z":1}]', kind="estimator"),
        replace(PUB, isa="routed"),
        replace(PUB, shots=7),
    ]
    found = match_pubs("main", [PUB] * 4, changed)
    assert found.pairs == ((2, 2), (3, 3))
    assert (found.other_isa, found.other_target) == ((2,), (3,))
    assert found.reasons == {0: ("parameters",), 1: ("kind", "observables")}


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_every_pub_is_paired_once_or_left_over(a: str, b: str) -> None:
    found = match_pubs("main", pubs(a), pubs(b))
    assert sorted([i for i, _ in found.pairs] + [*found.only_a]) == list(range(len(a)))
    assert sorted([j for _, j in found.pairs] + [*found.only_b]) == list(range(len(b)))
    assert all(a[i] == b[j] for i, j in found.pairs)
    # As many as possible.
    assert not {a[i] for i in found.only_a} & {b[j] for j in found.only_b}
    assert found.is_same is (a == b)
