from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from qexp.archive.writer import RunStore
from qexp.errors import ArchiveError
from qexp.journal.events import BatchOpened, Interrupted, Started, Submitted, Submitting
from qexp.journal.file import Journal
from qexp.listing.read import summarise_sealed, summarise_unfinished
from qexp.listing.summary import seconds_between
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


def summary(path: Path) -> dict[str, Any]:
    known = summarise_sealed(path).to_json()
    assert json.loads(json.dumps(known)) == known
    return known


def test_a_partial_run_says_what_is_missing_and_why(runs: Path) -> None:
    known = summary(runs / "e" / "r1-partial" / "run.h5")
    assert known["is_intact"] is True
    assert known["can_resume"] is True
    assert known["took_s"] == 12
    (missing,) = known["missing"]
    assert (missing["workload"], missing["first"], missing["stop"]) == ("main", 3, 5)
    assert missing["job_id"] == "job-2"
    assert missing["reason"] == "transient (code 1305): Queue was closed"
    assert [job["state"] for job in known["jobs_run"]] == ["DONE", "DONE", "ERROR"]
    assert known["jobs_run"][1]["queued_s"] == 1
    assert known["jobs_run"][1]["ran_s"] == 10
    assert known["workloads"][0]["shots"] == [100]
    (batch,) = known["batches"]
    assert (batch["id"], batch["state"]) == ("batch-1", "closed")
    assert known["software"]["distributions"] == ["numpy==2.0", "qiskit==2.6"]


def test_calibrations_have_an_age_and_medians(runs: Path) -> None:
    first, second = summary(runs / "e" / "r1-partial" / "run.h5")["calibrations"]
    assert first["age_s"] == 0
    assert (first["is_at_start"], second["is_at_start"]) == (True, False)
    assert (first["jobs"], second["jobs"]) == (2, 1)
    assert first["median_t1_s"] == pytest.approx(0.5e-6)
    assert first["median_t2_s"] is None
    assert second["median_readout_error"] == 0.01


def test_a_planned_run_has_no_jobs(runs: Path) -> None:
    known = summary(runs / "e" / "r3-planned" / "run.h5")
    assert (known["jobs_run"], known["batches"], known["usage_s"]) == ([], [], None)
    assert known["missing"][0]["reason"] == "not submitted"


def test_an_interrupted_run_says_which_jobs_were_out(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write_header(header())
    write_batch(store)
    for index in range(3):
        write_partition(store, index, index, [sampler_pub()])
    store.write_job(outcome(0, *sampler_jobs([1])))
    with Journal(tmp_path) as journal:
        for event in (
            Started("host", 1, "0.1"),
            BatchOpened("batch-1", "token"),
            Submitting(1, 1, "batch-1", "tag"),
            Submitted(1, 1, "batch-1", "job-1"),
            Interrupted("the service is\nout of reach"),
        ):
            journal.append(event)
    known = summary(store.seal("partial", keep_parts=True))
    assert known["stopped"] == "the service is out of reach"
    assert [item["reason"] for item in known["missing"]] == [
        "submitted, and not collected",
        "not submitted",
    ]


def test_several_workloads_and_precisions(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write_header(header())
    write_partition(store, 0, 0, [sampler_pub(shots=None)], "states")
    write_partition(store, 1, 0, [estimator_pub()], "energy")
    known = summary(store.seal("planned", keep_parts=True))
    of = {workload["name"]: workload for workload in known["workloads"]}
    assert (of["states"]["kind"], of["states"]["shots"]) == ("sampler", [])
    assert (of["energy"]["kind"], of["energy"]["precision"]) == ("estimator", [0.01])


def test_a_damaged_file_is_marked_or_refused(runs: Path) -> None:
    assert summary(runs / "e" / "r6-flipped" / "run.h5")["is_intact"] is False
    with pytest.raises(ArchiveError, match="r7-cut"):
        summary(runs / "e" / "r7-cut" / "run.h5")


def test_an_unfinished_run_says_which_jobs_are_out(runs: Path) -> None:
    known = summarise_unfinished(runs / "e" / "r4-unfinished").to_json()
    assert known["status"] == "unfinished"
    assert [(one["job_id"], one["state"]) for one in known["attempts"]] == [
        ("job-0", "DONE"),
        ("job-1", "OUT"),
    ]
    assert known["batches"] == [{"id": "b1", "follows": None, "is_closed": False}]


def test_reading_changes_no_file(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    shutil.copy(runs / "e" / "r0-complete" / "run.h5", path)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    summary(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("end", ["", None, "soon", "2026-01-01T00:00:01"])
def test_an_unknown_time_gives_no_duration(end: str | None) -> None:
    assert seconds_between("2026-01-01T00:00:00+00:00", end) is None


def test_a_run_of_one_failed_job(tmp_path: Path) -> None:
    known = summary(write_run(tmp_path, [None]).seal("failed", keep_parts=True))
    assert known["jobs_done"] == 0
    assert known["missing"][0]["stop"] == 2
