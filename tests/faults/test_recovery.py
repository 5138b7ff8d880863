"""A run that is resumed finds all of its jobs, whoever submitted them, and pays for none twice."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from qexp.errors import EngineError, UnfinishedError
from qexp.experiment import run
from tests.emulator import faults
from tests.faults.conftest import CIRCUITS, PARTITIONS, Scenario

LAST = faults.POST_JOB.tagged(rf"qexp-job:{PARTITIONS - 1}\.1:.*")


def copied(scenario: Scenario) -> Scenario:
    """The same run in another folder, as `cp -r` makes it."""
    folder = scenario.run_dir.with_name("copy")
    shutil.copytree(scenario.run_dir, folder)
    return replace(scenario, run_dir=folder)


def interrupted(scenario: Scenario, endpoint: faults.Endpoint) -> None:
    """Begin a run, and lose the service for good at a request."""
    scenario.allow(outage_s=0.2)
    gone = faults.gone_at(endpoint)
    scenario.inject(gone)
    with pytest.raises((UnfinishedError, EngineError)):
        scenario.run()
    gone.stop()
    scenario.allow(outage_s=30.0)


@pytest.mark.parametrize("endpoint", [faults.OPEN_SESSION, faults.POST_JOB, LAST])
def test_two_folders_of_one_run_that_are_resumed_one_after_the_other(
    either: Scenario, endpoint: faults.Endpoint
) -> None:
    interrupted(either, endpoint)
    copy = copied(either)
    either.resume()
    copy.resume()
    for scenario in (either, copy):
        scenario.assert_complete()
    assert len(either.emulator.job_ids) == PARTITIONS
    assert [job.job_id for job in either.jobs()] == [job.job_id for job in copy.jobs()]
    with either.archive() as one, copy.archive() as other:
        assert one.data_sha256 == other.data_sha256
        assert one.usage_s == other.usage_s
        # The batch that the other folder opened is known, with its details.
        assert set(either.emulator.session_ids) >= {batch.id for batch in other.batches}
        assert {job.batch for job in other.jobs} <= set(range(len(other.batches)))


def test_jobs_of_a_copy_that_was_cut_in_other_pieces(scenario: Scenario) -> None:
    """The last job was too large as one, so that the original has run it in two."""
    interrupted(scenario, faults.POST_JOB)
    copy = copied(scenario)
    scenario.allow(retry_refused=True)
    too_large = faults.status(
        faults.POST_JOB.tagged(r"qexp-pubs:main:2-4:.*"), 413, error=3209, times=None
    )
    scenario.inject(too_large)
    scenario.resume()
    assert scenario.counts()["cut"] == 1
    ran = Counter({0: 1, 1: 2, 2: 1})
    assert scenario.emulator.runs_per_partition() == ran
    copy.resume()
    assert scenario.emulator.runs_per_partition() == ran
    with scenario.archive() as one, copy.archive() as other:
        assert one.status == other.status == "complete"
        assert copy.measured(other) == set(range(CIRCUITS))
        assert one.data_sha256 == other.data_sha256
        assert sorted((job.first, job.stop) for job in other.jobs if job.state == "DONE") == [
            (0, 2), (2, 3), (3, 4), (4, 5),
        ]  # fmt: skip


def test_another_run_in_a_folder_of_the_same_name_gets_jobs_of_its_own(scenario: Scenario) -> None:
    scenario.run()
    shutil.rmtree(scenario.run_dir)
    interrupted(scenario, faults.OPEN_SESSION)
    scenario.resume()
    with scenario.archive() as archive:
        assert archive.status == "complete"
        ids = [job.job_id for job in archive.jobs]
    assert ids == scenario.emulator.job_ids[PARTITIONS:]


def test_one_404_is_no_reason_to_run_a_job_again(either: Scenario) -> None:
    """The first listings of a resumed run lack a job, and its first look-up says 404."""
    emulator = either.emulator
    emulator.hold()
    run(replace(either.spec(), stop_after="submit"), either.run_dir, either.watcher)
    hidden = emulator.job_ids[1]

    def without_one(text: str) -> str:
        page = json.loads(text)
        page["jobs"] = [job for job in page["jobs"] if job["id"] != hidden]
        return json.dumps({**page, "count": len(page["jobs"])})

    either.inject(
        faults.edited(faults.LIST_JOBS, without_one, times=4),
        faults.then(faults.JOB, emulator.release),
        faults.status(faults.JOB.where(lambda path: path.endswith(hidden)), 404, error=1291),
    )
    either.resume()
    either.assert_complete()
    assert len(emulator.job_ids) == PARTITIONS


def test_a_job_that_is_gone_is_asked_for_as_long_as_an_outage_may_last(scenario: Scenario) -> None:
    emulator = scenario.emulator
    emulator.hold()
    run(replace(scenario.spec(), stop_after="submit"), scenario.run_dir, scenario.watcher)
    gone = emulator.job_ids[1]
    emulator.delete_job(gone)
    emulator.release()
    scenario.allow(outage_s=0.5)
    scenario.resume()
    scenario.assert_complete()
    assert scenario.failures() == {(1, 1): "lost"}
    asked = [record for record in emulator.journal if record.path == f"/jobs/{gone}"]
    assert len(asked) > 1


def test_jobs_of_earlier_versions_are_found_by_their_old_tags(scenario: Scenario) -> None:
    """Before the tags said which PUBs a job holds, they named its partition only."""
    emulator = scenario.emulator
    emulator.hold()
    scenario.allow(outage_s=0.2)
    gone = faults.gone_after(LAST)
    scenario.inject(gone)
    with pytest.raises(UnfinishedError):
        scenario.run()
    gone.stop()
    for job_id in emulator.job_ids:
        _drop_tags(emulator, job_id, "qexp-pubs:")
    _forget_lines(scenario.run_dir, {"submitting", "submitted", "batch_closed"})
    emulator.release()
    scenario.allow(outage_s=30.0)
    scenario.resume()
    scenario.assert_complete()
    assert len(emulator.job_ids) == PARTITIONS


def _drop_tags(emulator, job_id: str, beginning: str) -> None:
    job = emulator._queue.job(job_id)
    job.tags = [tag for tag in job.tags if not tag.startswith(beginning)]


def _forget_lines(run_dir: Path, events: set[str]) -> None:
    """The lines as a disk may lose them."""
    path = run_dir / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if json.loads(line)["event"] not in events))
