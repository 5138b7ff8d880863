"""Parts as a process that resumes a run reads them, intact and damaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import qexp
from qexp.archive.parts import read_config_yaml
from qexp.archive.pubs import pub_rows
from qexp.archive.writer import RunStore
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from tests.archives import (
    estimator_pub,
    header,
    outcome,
    sampler_jobs,
    sampler_pub,
    started,
    write_batch,
    write_partition,
    write_run,
)


def flip(path: Path, position: int, bit: int = 0) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1 << bit
    path.write_bytes(raw)


def test_a_store_touches_nothing_before_it_writes(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run")
    assert not store.has_header
    assert store.read_partitions() == ()
    assert store.job_states() == {}
    assert list(tmp_path.iterdir()) == []
    store.write_header(header())
    assert store.has_header


def test_the_header_is_read_as_plain_json(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(ArchiveError, match=r"no header\.json"):
        store.read_header()
    store.write_header(header())
    assert store.read_header() == json.loads(dumps(header()))
    assert RunStore(tmp_path).read_header()["seed"] == 7


def test_partitions_are_read_as_written_in_order(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    written = [
        write_partition(store, 2, 0, [sampler_pub(0)], "b"),
        write_partition(store, 0, 0, [sampler_pub(1), sampler_pub(2)], "a"),
        write_partition(store, 1, 2, [sampler_pub(3)], "a"),
    ]
    assert store.read_partitions() == tuple(sorted(written, key=lambda p: p.index))


def test_every_flipped_bit_of_a_part_is_noticed(tmp_path: Path) -> None:
    store = started(tmp_path)
    partition = write_partition(store, 0, 0, [sampler_pub()])
    reads = {"header.json": store.read_header, "partition-000000.h5": store.read_partitions}
    for name, read in reads.items():
        path = tmp_path / "parts" / name
        size = path.stat().st_size
        for position in [0, 9, *range(50, size - 65, size // 40), size - 64, size - 1]:
            flip(path, position, position % 8)
            with pytest.raises(ArchiveError, match=f"{name} is damaged") as caught:
                read()
            assert "\n" not in str(caught.value)
            flip(path, position, position % 8)
    assert len(store.load_isa_pubs(partition)) == 1


def test_a_partition_that_is_not_the_planned_one_is_not_submitted(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    planned = store.write_partition(*planned_partition(0))
    path = tmp_path / "parts" / "partition-000000.h5"
    assert planned == hashlib.sha256(path.read_bytes()).hexdigest()
    store.check_part(0, planned)
    store.write_partition(*planned_partition(1))
    with pytest.raises(ArchiveError, match="not the one that was planned"):
        store.check_part(0, planned)
    flip(path, 3000)
    with pytest.raises(ArchiveError, match="damaged"):
        store.check_part(0, planned)
    path.unlink()
    with pytest.raises(ArchiveError, match="is missing") as caught:
        store.check_part(0, planned)
    assert "\n" not in str(caught.value)


def planned_partition(seed: int):  # type: ignore[no-untyped-def]
    from qexp.core.model import Partition, PlannedPub

    pub = sampler_pub(seed)
    partition = Partition(0, "main", 0, 1, 100, None, 1000, 2000, 12.5, "end")
    return partition, pub_rows("main", [PlannedPub("main", 0, pub, pub)], str)


def test_small_columns_share_a_dataset_and_large_ones_have_their_own(tmp_path: Path) -> None:
    store = started(tmp_path)
    partition = write_partition(store, 0, 0, [sampler_pub(), estimator_pub(), sampler_pub(1)])
    with h5py.File(tmp_path / "parts" / "partition-000000.h5") as file:
        found = {name for name in ("pubs/main/shots", "circuits/main/isa/qpy") if name in file}
        assert found == {"circuits/main/isa/qpy"}
    pubs = store.load_isa_pubs(partition)
    assert [pub.shots for pub in (pubs[0], pubs[2])] == [sampler_pub().shots, sampler_pub(1).shots]
    assert pubs[1].precision == estimator_pub().precision
    values = estimator_pub().parameter_values.as_array()
    assert np.array_equal(pubs[1].parameter_values.as_array(), values)


def test_a_plan_that_was_not_committed_is_discarded(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.discard_plan()
    store.write_header(header())
    write_partition(store, 0, 0, [sampler_pub()])
    write_batch(store)
    (tmp_path / "parts" / ".partition-000001.h5.tmp").write_bytes(b"killed here")
    store.discard_plan()
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["header.json"]
    assert store.read_partitions() == ()


def test_a_plan_is_never_discarded_once_a_job_ran(tmp_path: Path) -> None:
    store = write_run(tmp_path, [None])
    before = sorted((tmp_path / "parts").iterdir())
    with pytest.raises(ArchiveError, match="not discarded"):
        store.discard_plan()
    assert sorted((tmp_path / "parts").iterdir()) == before


def test_job_states_say_how_every_attempt_ended(tmp_path: Path) -> None:
    store = write_run(tmp_path, [*sampler_jobs([1]), None])
    refused = outcome(1, None, job_id="", attempt=2, failure="refused", error="Too wide")
    store.write_job(refused)
    store.write_job(outcome(1, None, attempt=12, state="CANCELLED", failure="cancelled"))
    assert RunStore(tmp_path).job_states() == {
        (0, 1): ("job-0", "DONE", None),
        (1, 1): ("job-1", "ERROR", "transient"),
        (1, 2): ("", "ERROR", "refused"),
        (1, 12): ("job-1", "CANCELLED", "cancelled"),
    }


def test_a_damaged_job_part_is_left_out_and_can_be_fetched_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = sampler_jobs([1, 1, 1])
    with qexp.open_archive(
        write_run(tmp_path / "whole", jobs).seal("complete", keep_parts=False)
    ) as run:
        expected = run.data_sha256
    store = write_run(tmp_path / "run", jobs)
    parts = tmp_path / "run" / "parts"
    flip(parts / "job-000000-01.h5", 5000)
    cut = parts / "job-000001-01.h5"
    cut.write_bytes(cut.read_bytes()[:70])
    assert list(store.job_states()) == [(2, 1)]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "job-000000-01.h5 is damaged" in caplog.text
    assert (parts / "job-000000-01.h5.damaged").exists()
    for index in (0, 1):
        store.write_job(outcome(index, jobs[index]))
    with qexp.open_archive(store.seal("complete", keep_parts=False)) as run:
        assert run.data_sha256 == expected


def test_batches_keep_earlier_details(tmp_path: Path) -> None:
    store = started(tmp_path)
    store.write_batch(0, {"state": "open"}, None, batch_id="b0", follows=None)
    RunStore(tmp_path).write_batch(0, None, {"state": "closed"}, batch_id="b0", follows=None)
    store.write_batch(1, None, None, batch_id="b1", follows="b0")
    flip(tmp_path / "parts" / "batch-001.json", 5)
    store.write_batch(1, {"state": "new"}, None, batch_id="b1", follows="b0")
    with qexp.open_archive(store.seal("failed", keep_parts=True)) as run:
        first, second = run.batches
        assert (first.id, first.follows, second.id, second.follows) == ("b0", None, "b1", "b0")
        assert (first.opened, first.final) == ({"state": "open"}, {"state": "closed"})
        assert (second.opened, second.final) == ({"state": "new"}, None)
        assert run.details == {"state": "closed"}


def test_the_recorded_config_is_found_before_and_after_sealing(tmp_path: Path) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))
    config = header().config_yaml
    assert read_config_yaml(tmp_path) == config
    store.seal("complete", keep_parts=False)
    assert not store.has_header
    assert read_config_yaml(tmp_path) == config
    (tmp_path / "other").mkdir()
    with pytest.raises(ArchiveError, match="no run"):
        read_config_yaml(tmp_path / "other")
