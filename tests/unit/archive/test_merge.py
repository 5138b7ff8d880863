"""Attempts, batches and the journal in the archive, in whatever order they came."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qexp
from qexp.archive.verify import verify
from qexp.archive.writer import RunStore
from qexp.errors import ArchiveError
from tests.archives import (
    assert_same_result,
    header,
    outcome,
    properties,
    sampler_jobs,
    sampler_pub,
    started,
    write_batch,
    write_partition,
    write_run,
)

FIRST, SECOND = sampler_jobs([2, 2], seed=1), sampler_jobs([2, 2], seed=2)


def planned(run_dir: Path, num_partitions: int = 2) -> RunStore:
    store = started(run_dir)
    for number in range(2):
        write_batch(store, number)
    for index in range(num_partitions):
        write_partition(store, index, 2 * index, [sampler_pub(2 * index + k) for k in range(2)])
    return store


def attempt(partition: int, number: int, results: Any, **changes: Any) -> Any:
    ids = {"job_id": f"job-{partition}.{number}", "batch_id": f"batch-{min(number, 2)}"}
    return outcome(partition, results, **(ids | {"attempt": number} | changes))


def test_all_attempts_are_kept_with_their_reasons_and_batches(tmp_path: Path) -> None:
    store = planned(tmp_path)
    store.write_job(attempt(1, 2, FIRST[1]))
    store.write_job(attempt(1, 1, None, failure="expired", error="max_time"))
    store.write_job(attempt(0, 1, FIRST[0], backend_properties=properties(5.0)))
    with qexp.open_archive(store.seal("complete", keep_parts=False)) as run:
        assert [(job.partition, job.attempt, job.batch) for job in run.jobs] == [
            (0, 1, 0),
            (1, 1, 0),
            (1, 2, 1),
        ]
        assert [job.failure for job in run.jobs] == [None, "expired", None]
        assert [(batch.id, batch.follows) for batch in run.batches] == [
            ("batch-1", None),
            ("batch-2", "batch-1"),
        ]
        assert [job.spans[0].size for job in run.jobs] == [100] * 3
        assert run.snapshots[run.jobs[0].snapshot or 0] == properties(5.0)
        assert run.results["main"].available == (0, 1, 2, 3)
        assert_same_result(run.results["main"][3], FIRST[1][1])
        with h5py.File(run.path) as file:
            assert list(file["pubs/main/job"][:]) == [0, 0, 2, 2]
            assert file["jobs/attempt"].dtype == file["jobs/batch"].dtype == "i4"


def test_a_pub_without_result_points_to_the_last_attempt(tmp_path: Path) -> None:
    store = planned(tmp_path)
    store.write_job(attempt(0, 1, None))
    refused = {"job_id": "", "batch_id": "", "failure": "refused", "error": "Not ISA"}
    store.write_job(attempt(0, 2, None, **refused))
    with qexp.open_archive(store.seal("failed", keep_parts=True)) as run:
        last = run.jobs[1]
        assert (last.job_id, last.state, last.failure, last.batch) == ("", "ERROR", "refused", None)
        with pytest.raises(ArchiveError, match=r"PUB 1 .*Not ISA"):
            run.results["main"][1]
        with pytest.raises(ArchiveError, match="no job has run it"):
            run.results["main"][2]


@pytest.mark.parametrize("also_failed", [False, True])
def test_the_first_finished_result_wins(tmp_path: Path, also_failed: bool) -> None:
    store = planned(tmp_path)
    if also_failed:
        store.write_job(attempt(0, 1, SECOND[0][:1], state="CANCELLED", failure="cancelled"))
    store.write_job(attempt(0, 3, SECOND[0]))
    store.write_job(attempt(0, 2, FIRST[0]))
    store.write_job(attempt(1, 1, FIRST[1]))
    with qexp.open_archive(store.seal("complete", keep_parts=False)) as run:
        for index, expected in enumerate([*FIRST[0], *FIRST[1]]):
            assert_same_result(run.results["main"][index], expected)
        assert [job.num_results for job in run.jobs][-3:] == [2, 2, 2]
        with h5py.File(run.path) as file:
            (group,) = file["results/main"].values()
            assert group["reg0"].shape[0] == 4
            winner = int(also_failed)
            assert list(file["pubs/main/job"][:]) == [winner, winner, winner + 2, winner + 2]
        assert run.verify() == []


EVENTS = [
    attempt(0, 1, None, failure="transient"),
    attempt(0, 2, FIRST[0]),
    attempt(1, 1, FIRST[1]),
    attempt(1, 2, SECOND[1]),
    attempt(2, 1, None, failure="lost"),
    attempt(2, 2, None, failure="refused", job_id=""),
]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan of three partitions; QPY differs each time it is made."""
    folder = tmp_path_factory.mktemp("plan")
    planned(folder, 3)
    return folder


@pytest.fixture(scope="module")
def in_order(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive where everything came in order and was sealed once."""
    folder = tmp_path_factory.mktemp("in-order") / "run"
    shutil.copytree(plan, folder)
    store = RunStore(folder)
    for event in EVENTS:
        store.write_job(event)
    path = store.seal("partial", keep_parts=False)
    with qexp.open_archive(path) as run:
        assert run.results["main"].available == (0, 1, 2, 3)
        for index, expected in enumerate([*FIRST[0], *FIRST[1]]):
            assert_same_result(run.results["main"][index], expected)
    return path


@settings(max_examples=8)
@given(st.permutations(range(len(EVENTS))), st.sets(st.integers(0, len(EVENTS) - 1), max_size=1))
def test_neither_order_nor_partial_seals_change_the_archive(
    plan: Path, in_order: Path, order: list[int], sealed_after: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        shutil.copytree(plan, run_dir)
        for position, index in enumerate(order):
            RunStore(run_dir).write_job(EVENTS[index])
            if position in sealed_after:
                RunStore(run_dir).seal("partial", keep_parts=True)
                assert verify(run_dir) == []
        path = RunStore(run_dir).seal("partial", keep_parts=False)
        assert path.read_bytes() == in_order.read_bytes()


def test_the_journal_is_in_the_archive_without_torn_tail_and_secrets(tmp_path: Path) -> None:
    store = RunStore(tmp_path, redact=lambda text: text.replace("s3cret", "***"))
    store.write_header(header())
    lines = ['{"event":"Started","host":"größe\u2028 s3cret"}', '{"event":"Ended"}', '{"torn']
    (tmp_path / "journal.jsonl").write_text("\n".join(lines), "utf-8")
    with qexp.open_archive(store.seal("failed", keep_parts=True)) as run:
        assert run.journal == [
            {"event": "Started", "host": "größe\u2028 ***"},
            {"event": "Ended"},
        ]
    (tmp_path / "journal.jsonl").write_bytes(b"")
    with qexp.open_archive(store.seal("failed", keep_parts=True)) as run:
        assert run.journal == []


def as_schema_1_0(path: Path) -> Path:
    """Remove what schema 1.0 did not have."""
    with h5py.File(path, "r+") as file:
        del file["batches"], file["journal"], file["file_sha256"], file["hex_digit"]
        for name in ("attempt", "batch", "failure"):
            del file["jobs"][name]
        file.attrs["qexp_schema"] = "1.0"
    return path


def test_an_archive_of_schema_1_0_is_read(tmp_path: Path) -> None:
    store = write_run(tmp_path, [*sampler_jobs([2]), None])
    (tmp_path / "journal.jsonl").write_text(json.dumps({"event": "Started"}) + "\n")
    with qexp.open_archive(as_schema_1_0(store.seal("partial", keep_parts=False))) as run:
        assert run.schema == "1.0"
        assert run.journal == []
        (batch,) = run.batches
        assert (batch.id, batch.follows) == ("batch-1", None)
        assert batch.opened == {"id": "batch-1", "state": "open"}
        assert [(job.attempt, job.batch, job.failure) for job in run.jobs] == [(1, 0, None)] * 2
        assert_same_result(run.results["main"][1], sampler_jobs([2])[0][1])
        assert run.verify() == []


def test_a_planned_run_has_no_batches(tmp_path: Path) -> None:
    store = started(tmp_path, sampler_pub())
    with qexp.open_archive(store.seal("planned", keep_parts=True)) as run:
        assert run.batches == ()
        assert run.journal == []
    assert store.has_header
