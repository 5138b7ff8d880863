"""An emulator goes on with the sessions and jobs that another one saved."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit_ibm_runtime import Batch

from tests.emulator import IBMEmulator
from tests.unit.emulator.conftest import Bench


def counts(emulator: IBMEmulator, job_id: str) -> dict[str, int]:
    result = emulator.service().job(job_id).result()
    found: dict[str, int] = result[0].data.meas.get_counts()
    return found


@pytest.fixture
def state(ibm_emulator: IBMEmulator, bench: Bench, tmp_path: Path) -> Path:
    """A batch with three jobs: one is complete, one runs, one is queued; and one was deleted."""
    batch = Batch(bench.backend, max_time=600)
    deleted = bench.submit(batch)
    first = bench.submit(batch, "qexp-job:0.1:aa")
    ibm_emulator.wait_until_idle()
    bench.service.delete_job(deleted.job_id())
    ibm_emulator.stall_next_job()
    bench.submit(batch, "qexp-job:1.1:bb")
    bench.submit(batch, "qexp-job:2.1:cc")
    ibm_emulator.wait_until_running()
    batch.close()
    path = tmp_path / "state.json"
    ibm_emulator.save(path)
    assert ibm_emulator.job_states()[first.job_id()] == "Completed"
    return path


def test_jobs_are_found_again_and_go_on(ibm_emulator: IBMEmulator, state: Path):
    first, *pending = ibm_emulator.job_ids
    measured = ibm_emulator.results[first]
    with IBMEmulator() as other:
        other.hold()
        other.load(state)
        assert other.job_ids == ibm_emulator.job_ids
        assert other.session_ids == ibm_emulator.session_ids
        assert other.jobs_by_tag() == ibm_emulator.jobs_by_tag()
        assert other.runs_per_partition() == {0: 1}
        # A run that was cut off begins again.
        assert list(other.job_states().values()) == ["Completed", "Queued", "Queued"]
        before = counts(ibm_emulator, first)
        assert counts(other, first) == before
        for pub, expected in zip(other.results[first], measured, strict=True):
            np.testing.assert_array_equal(pub["meas"], expected["meas"])
        other.release()
        other.wait_until_idle()
        assert set(other.job_states().values()) == {"Completed"}
        # All jobs are alike, and equal jobs give equal data.
        assert [counts(other, job_id) for job_id in pending] == [before, before]
        (session,) = other.session_ids
        details = Batch.from_id(session, other.service()).details()
        assert (details["state"], details["max_time"]) == ("closed", 600)
        assert len(other.journal.find("POST", "/jobs")) == 0
        used_s = other.service().usage()["usage_consumed_seconds"]
    ibm_emulator.end_stall()
    ibm_emulator.wait_until_idle()
    assert used_s == ibm_emulator.service().usage()["usage_consumed_seconds"]


def test_saved_and_loaded_is_what_was_saved(state: Path, tmp_path: Path):
    again = tmp_path / "again.json"
    with IBMEmulator() as other:
        other.hold()
        other.load(state)
        other.save(again)

    def lasting(path: Path) -> Any:
        saved = json.loads(path.read_text())
        for job in saved["jobs"]:
            if job["status"] == "Running":
                job |= {"status": "Queued", "started": None}
        for session in saved["sessions"]:
            # The clock of an active session stood still.
            active = dict(session["timestamps"])["active"]
            ran = datetime.fromisoformat(saved["saved"]) - datetime.fromisoformat(active)
            session["timestamps"] = [status for status, _ in session["timestamps"]]
            assert timedelta(0) < ran < timedelta(seconds=600)
        return {key: value for key, value in saved.items() if key != "saved"}

    assert lasting(again) == lasting(state)


def test_the_time_on_disk_does_not_count_towards_max_ttl(state: Path):
    saved = json.loads(state.read_text())
    long_ago = timedelta(days=700)

    def aged(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key == "raw" else aged(item) for key, item in value.items()}
        if isinstance(value, list):
            return [aged(item) for item in value]
        try:
            return (datetime.fromisoformat(value) - long_ago).isoformat()
        except (TypeError, ValueError):
            return value

    state.write_text(json.dumps(aged(saved)))
    with IBMEmulator() as other:
        other.hold()
        other.load(state)
        (session,) = other.session_ids
        assert Batch.from_id(session, other.service()).details()["state"] == "active"
        other.release()
        other.wait_until_idle()
        assert set(other.job_states().values()) == {"Completed"}


def test_no_token_is_saved(ibm_emulator: IBMEmulator, state: Path):
    text = state.read_text()
    assert ibm_emulator.env["QISKIT_IBM_TOKEN"] not in text
    assert "eyJ0eXAi" not in text
    assert "Bearer" not in text


def test_an_emulator_that_has_jobs_loads_no_others(ibm_emulator: IBMEmulator, state: Path):
    with pytest.raises(ValueError, match="cannot load others"):
        ibm_emulator.load(state)


def test_by_hand_it_goes_on_from_a_file(state: Path, tmp_path: Path):
    def served(path: Path, end: signal.Signals) -> Any:
        with subprocess.Popen(
            [sys.executable, "-m", "tests.emulator", "--state", str(path)],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("export ")
            process.send_signal(end)
        assert process.returncode == 0
        return json.loads(path.read_text())

    before = json.loads(state.read_text())
    after = served(state, signal.SIGINT)
    assert [job["id"] for job in after["jobs"]] == [job["id"] for job in before["jobs"]]
    assert {job["status"] for job in after["jobs"]} <= {"Completed", "Queued"}
    assert served(tmp_path / "new.json", signal.SIGTERM)["jobs"] == []
