from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qexp.archive.circuit_digest import circuit_sha256
from qexp.archive.pub_table import PubIdentity, pub_identities
from qexp.archive.read import open_archive
from qexp.archive.writer import RunStore
from qexp.errors import ArchiveError
from tests.archives import (
    estimator_pub,
    header,
    outcome,
    sampler_jobs,
    sampler_pub,
    write_batch,
    write_partition,
    write_run,
)


def test_of_a_run_of_which_a_job_failed(tmp_path: Path) -> None:
    write_run(tmp_path, [*sampler_jobs([2]), None]).seal("partial", keep_parts=True)
    (pubs,) = pub_identities(tmp_path).values()
    assert [bool(pub.result) for pub in pubs] == [True, True, False, False]
    # One circuit, other parameter values for each.
    assert len({pub.logical for pub in pubs}) == 1
    assert len({pub.parameters for pub in pubs}) == 4
    assert {(pub.kind, pub.shots, pub.precision, pub.observables) for pub in pubs} == {
        ("sampler", 100, None, "")
    }
    with open_archive(tmp_path) as run:
        assert circuit_sha256(run.circuits()[0]) == pubs[0].logical


def planned(folder: Path, *pubs: object) -> tuple[PubIdentity, ...]:
    store = RunStore(folder)
    store.write_header(header())
    write_partition(store, 0, 0, pubs)
    store.seal("planned", keep_parts=False)
    return pub_identities(folder)["main"]


def test_of_a_run_without_results(tmp_path: Path) -> None:
    first, again, other = planned(tmp_path, estimator_pub(), estimator_pub(), estimator_pub(3))
    assert first == again
    assert first.question != other.question
    assert (first.kind, first.precision, first.shots, first.result) == ("estimator", 0.01, None, "")


def test_shots_are_no_part_of_the_question(tmp_path: Path) -> None:
    few, many = planned(tmp_path, sampler_pub(shots=100), sampler_pub(shots=200))
    assert few.question == many.question
    assert (few.shots, many.shots) == (100, 200)


def test_equal_results_have_equal_digests(tmp_path: Path) -> None:
    (job,) = sampler_jobs([1])
    store = RunStore(tmp_path)
    store.write_header(header())
    write_batch(store)
    write_partition(store, 0, 0, [sampler_pub(0), sampler_pub(0)])
    store.write_job(outcome(0, job * 2))
    store.seal("complete", keep_parts=False)
    one, other = pub_identities(tmp_path)["main"]
    assert one == other
    assert len(one.result) == 64


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "run.npy", np.zeros(2))
    with pytest.raises(ArchiveError, match="is not an HDF5 file"):
        pub_identities(tmp_path / "run.npy")
