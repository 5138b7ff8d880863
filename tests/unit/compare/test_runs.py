"""Two archives, compared as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.primitives import DataBin, PubResult, SamplerPubResult

from qexp.archive.pubs import PubIdentity
from qexp.archive.schema import ARCHIVE_NAME
from qexp.compare.data import compare_pub
from qexp.compare.model import PubComparison
from qexp.compare.printer import data_verdict
from qexp.compare.runs import compare_runs, match_pubs
from qexp.errors import ArchiveError, NotReproducedError
from qexp.reproduction import reproduction_verdict
from tests.archives import estimator_pub, header, sampler_pub
from tests.unit.compare.runs import estimated, sampled, write, write_estimator

OTHER = header().environment | {"python": "3.12.1", "distributions": ["numpy==2.1"]}


def test_a_run_and_itself(tmp_path: Path) -> None:
    path = write(tmp_path, [sampled(1), sampled(2)])
    found = compare_runs(path, tmp_path)
    assert found.data.verdict == "identical"
    assert found.data.same_digest
    assert (found.data.num_common, found.data.pubs, found.data.p_value) == (2, (), None)
    assert not found.differs


def test_every_difference_is_found(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1)])
    b = write(
        tmp_path / "b",
        [sampled(2), sampled(3)],
        engine="ibm",
        seed=8,
        config_yaml="seed: 8\ncircuits:\n  depth: 5\n",
        environment=OTHER,
        backend=header().backend | {"name": "ibm_real"},
    )
    found = compare_runs(a, b)
    assert [(c.key, c.a, c.b) for c in found.run] == [
        ("engine", "local", "ibm"),
        ("backend", "fake_lima", "ibm_real"),
        ("seed", 7, 8),
    ]
    assert [c.key for c in found.config] == ["seed"]
    assert [c.key for c in found.software] == ["python", "numpy", "qiskit"]
    assert found.circuits[0].only_b == (1,)
    assert not found.calibration.same_device
    assert found.data.verdict == "compatible"
    assert not found.data.is_whole
    assert found.differs


def test_data_that_differ_by_chance(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(k) for k in range(8)])
    b = write(tmp_path / "b", [sampled(100 + k) for k in range(8)])
    found = compare_runs(a, b)
    data = found.data
    assert (data.verdict, data.num_tested, data.different) == ("compatible", 8, ())
    assert data.p_value is not None
    assert data.p_value > 0.01
    for pub in data.pubs:
        assert (pub.num_points, pub.dof) == (3, 3 * 7)
        assert pub.total_variation is not None
        assert pub.expected_total_variation is not None
        assert 0.3 < pub.total_variation / pub.expected_total_variation < 3
    # Noise is no difference.
    assert not found.differs


def test_one_pub_that_differs_is_named(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(k) for k in range(8)])
    results = [sampled(100 + k, bias=0.55 if k == 5 else 0.5) for k in range(8)]
    found = compare_runs(a, write(tmp_path / "b", results)).data
    assert found.verdict == "different"
    assert [pub.a for pub in found.different] == [5]
    assert data_verdict(found).startswith("statistically different: 1 by themselves (8 PUBs, p ")


def test_other_shots_and_pubs_at_other_indices(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1), sampled(2, bias=0.3)])
    swapped = [sampler_pub(1, shots=500), sampler_pub(0, shots=500)]
    b = write(tmp_path / "b", [sampled(3, 500, bias=0.3), sampled(4, 500)], pubs=swapped)
    found = compare_runs(a, b)
    assert found.circuits[0].moved == ((0, 1), (1, 0))
    assert found.circuits[0].other_target == (0, 1)
    assert found.data.verdict == "compatible"


def test_a_partial_run_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1), None], status="partial")
    b = write(tmp_path / "b", [sampled(1), sampled(2)])
    data = compare_runs(a, b).data
    assert (data.verdict, data.num_common, data.is_whole, data.same_digest) == (
        "identical",
        1,
        False,
        False,
    )
    assert data_verdict(data) == "bit-identical (1 PUB that both runs have)"


def test_runs_without_data_are_not_identical(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [None], status="failed")
    b = write(tmp_path / "b", [None], status="failed")
    data = compare_runs(a, b).data
    assert (data.verdict, data.same_digest) == ("untested", False)
    assert data_verdict(data) == "nothing to compare: no PUB of which both runs have a result"


def test_other_circuits_are_not_compared(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1)])
    b = write(tmp_path / "b", [sampled(1)], pubs=[sampler_pub(9)])
    found = compare_runs(a, b)
    assert found.circuits[0].reasons == {0: ("parameters",)}
    assert (found.data.verdict, found.data.num_common) == ("untested", 0)


def test_expectation_values(tmp_path: Path) -> None:
    a = write_estimator(tmp_path / "a", [estimated(1), estimated(2)])
    same = compare_runs(a, write_estimator(tmp_path / "b", [estimated(3), estimated(4)])).data
    assert same.verdict == "compatible"
    shifted = [estimated(3), estimated(4, shift=0.1)]
    other = compare_runs(a, write_estimator(tmp_path / "c", shifted)).data
    assert other.verdict == "different"
    (pub,) = other.different
    assert (pub.a, pub.kind, pub.num_points, pub.total_variation) == (1, "estimator", 4, None)
    assert pub.max_z is not None
    assert pub.max_difference is not None
    assert pub.max_z == pytest.approx(pub.max_difference / (0.01 * 2**0.5))


def kerneled(value: complex) -> PubResult:
    return PubResult(DataBin(shape=(), meas=np.full((4, 1), value)), {})


@pytest.mark.parametrize(
    ("b", "problem"),
    [
        (kerneled(2j), "neither counts nor expectation values"),
        (estimated(1), "other registers or shapes"),
        (sampled(1), "other registers or shapes"),
        (
            PubResult(DataBin(shape=(), evs=np.array(np.nan), stds=np.array(1.0)), {}),
            "other registers or shapes",
        ),
    ],
)
def test_data_for_which_there_is_no_test(tmp_path: Path, b: Any, problem: str) -> None:
    pubs = [estimator_pub()]
    first = write(tmp_path / "a", [kerneled(1j)], pubs=pubs)
    data = compare_runs(first, write(tmp_path / "b", [b], pubs=pubs)).data
    assert (data.verdict, data.num_tested) == ("untested", 0)
    assert data.pubs[0].problem == problem
    assert data_verdict(data).startswith("not identical, and of no kind that can be tested")


def values(evs: Any, stds: Any, **more: Any) -> PubResult:
    """A result of `estimator_pub`: 2 points, two observables."""
    fields = {"evs": evs, "stds": stds, **more}
    arrays = {name: np.array(value, float).reshape(2, 2) for name, value in fields.items()}
    return PubResult(DataBin(shape=(2, 2), **arrays), {})


NAN, ZEROS, STDS = np.nan, [0.0] * 4, [0.01] * 4
LACKING = "evs or stds that are not finite, and not the same in both"


@pytest.mark.parametrize(
    ("a", "b", "problem"),
    [
        (values(ZEROS, [NAN] * 4), values([1] * 4, [NAN] * 4), "no finite evs with finite stds"),
        (values([NAN] * 4, STDS), values([NAN] * 4, ZEROS), "no finite evs with finite stds"),
        (values(ZEROS, STDS), values([NAN, 0, 0, 0], STDS), LACKING),
        (values(ZEROS, STDS), values(ZEROS, [np.inf, 0.01, 0.01, 0.01]), LACKING),
        (values([NAN, 0, 0, 0], STDS), values([np.inf, 0, 0, 0], STDS), LACKING),
        # The one that differs has no standard error in either.
        (
            values([0, 0, 0, 0.1], [0.01, 0.01, 0.01, NAN]),
            values([0, 0, 0, 0.2], [0.01, 0.01, 0.01, NAN]),
            LACKING,
        ),
    ],
)
def test_values_that_cannot_be_tested_are_not_called_compatible(
    tmp_path: Path, a: PubResult, b: PubResult, problem: str
) -> None:
    found = compare_runs(write_estimator(tmp_path / "a", [a]), write_estimator(tmp_path / "b", [b]))
    assert (found.data.verdict, found.data.p_value) == ("untested", None)
    assert found.data.untested[0].problem == problem
    assert found.differs


def test_values_that_are_not_finite_in_both_hide_no_others(tmp_path: Path) -> None:
    a = write_estimator(tmp_path / "a", [values([NAN, 0, np.inf, 0], STDS)])
    same = write_estimator(tmp_path / "b", [values([NAN, 0.01, np.inf, 0], STDS)])
    other = write_estimator(tmp_path / "c", [values([NAN, 0.1, np.inf, 0], STDS)])
    found = compare_runs(a, same).data
    assert (found.verdict, found.pubs[0].num_points) == ("compatible", 2)
    assert found.pubs[0].max_difference == pytest.approx(0.01)
    assert compare_runs(a, other).data.verdict == "different"


@pytest.mark.parametrize(
    "evs", [np.array([[1j, 0], [0, 0]]), np.zeros((2, 2), complex), np.zeros((2, 2), object)]
)
def test_values_that_are_not_real_have_no_test(evs: Any) -> None:
    odd = SimpleNamespace(data={"evs": evs, "stds": np.full((2, 2), 0.01)})
    pub = PubComparison("main", 0, 0, "estimator", identical=False, same_isa=True)
    assert compare_pub(pub, odd, odd).problem == "neither counts nor expectation values"


def test_estimators_with_another_field_are_compared(tmp_path: Path) -> None:
    a = write_estimator(tmp_path / "a", [values(ZEROS, STDS)])
    more = values([0.01] * 4, STDS, ensemble_standard_error=STDS)
    found = compare_runs(a, write_estimator(tmp_path / "b", [more])).data
    assert (found.verdict, found.num_tested) == ("compatible", 1)
    more = values([0.1] * 4, STDS, ensemble_standard_error=STDS)
    found = compare_runs(a, write_estimator(tmp_path / "c", [more])).data
    assert found.verdict == "different"


def test_a_pub_without_a_test_is_not_covered_by_the_others(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1), sampled(2), sampled(3)])
    odd = SamplerPubResult(DataBin(shape=(3,), reg0=sampled(2).data.reg0), {})
    found = compare_runs(a, write(tmp_path / "b", [sampled(1), odd, sampled(4)]))
    assert (found.data.verdict, found.data.num_tested) == ("untested", 2)
    assert [pub.a for pub in found.data.untested] == [1]
    assert found.differs
    assert data_verdict(found.data).startswith(
        "not all tested: 1 PUB not identical, of no kind that can be tested; the others compatible"
        " (3 PUBs, 1 bit-identical, p "
    )
    assert found.to_json()["data"]["num_untested"] == 1
    with pytest.raises(NotReproducedError, match=r"of 1 of 3 PUBs .* cannot be tested: other reg"):
        reproduction_verdict(found)
    # A test that finds a difference says more.
    worse = [sampled(1), odd, sampled(4, bias=0.7)]
    assert compare_runs(a, write(tmp_path / "c", worse)).data.verdict == "different"


def test_a_damaged_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1)])
    damaged = bytearray(a.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ARCHIVE_NAME).write_bytes(damaged)
    with pytest.raises(ArchiveError) as caught:
        compare_runs(a, tmp_path / "b")
    assert "\n" not in str(caught.value)
    assert "is not what was sealed: restore it from a copy" in str(caught.value)
    assert str(caught.value).endswith(f"python -m qexp verify {tmp_path}/b/run.h5")


def test_json_holds_everything(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sampled(1)])
    b = write(tmp_path / "b", [sampled(2, bias=0.7)], seed=8)
    found = compare_runs(a, b)
    plain = found.to_json()
    assert plain["differs"] is True
    assert plain["run"] == [{"key": "seed", "kind": "changed", "a": 7, "b": 8}]
    assert plain["data"]["verdict"] == "different"
    assert plain["data"]["num_different"] == 1
    assert plain["data"]["pubs"][0]["total_variation"] == found.data.pubs[0].total_variation
    assert plain["circuits"][0]["pairs"] == [[0, 0]]
    assert replace(found, run=()).to_json() != plain


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
