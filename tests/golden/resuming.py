"""Unfinished runs of old code, resumed by the code under test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import qexp
from tests.emulator import IBMEmulator
from tests.golden.commands import apart, here
from tests.golden.facts import data_of, listed, shown
from tests.golden.runs import INPUTS, SEALED, STATE_NAME, unpack

RUNS = (
    "1.1/partial",
    "1.2/partial",
    "1.2/planned",
    "1.2/interrupted",
    "1.2/ibm-partial",
    "1.2/ibm-out",
)


def resumed(key: str, target: Path, *arguments: str) -> dict[str, Any]:
    """Unpack a run below `target` and resume it; return facts about it before and after.

    Args:
        key: One of `RUNS`.
        target: Folder for the run and for the files that generators read.
        *arguments: Arguments of the main job, which then resumes the run by `run_dir`; without
            any, the verb `resume` does.
    """
    run = unpack(key, target)
    shutil.copytree(INPUTS, target, dirs_exist_ok=True)
    before = {"listed": listed(run), "shown": shown(run)}
    assert here("verify", run, folder=target).code == 0
    kept = [job["job_id"] for job in _jobs(before["shown"]) if job["state"] == "DONE"]
    how = ("run", *arguments, f"run_dir={run}") if arguments else ("resume", run)
    submitted = None
    if "ibm" in key:
        submitted = _on_service(run, how)
    else:
        ended = apart(*how, folder=target)
        assert ended.code == 0, ended.err
    return {"before": before, "after": _after(run, kept, submitted), "data": data_of(run)}


def _jobs(told: dict[str, Any]) -> list[dict[str, Any]]:
    # `show` lists jobs of a sealed run, attempts of another one.
    found: list[dict[str, Any]] = told.get("jobs_run") or told.get("attempts") or []
    return found


def _on_service(run: Path, how: tuple[Any, ...]) -> dict[str, int]:
    """Resume against an emulator with the saved state; return the number of POST requests."""
    state = run / STATE_NAME
    with IBMEmulator() as emulator:
        if state.exists():
            emulator.load(state)
        env = {name: value for name, value in emulator.env.items() if name != "HOME"}
        known = emulator.job_ids
        ended = apart(*how, folder=run.parent, env=env)
        assert ended.code == 0, ended.err
        with qexp.open_archive(run) as archive:
            found = {job.job_id for job in archive.jobs}
        assert set(known) <= found
        return {path: len(emulator.journal.find("POST", path)) for path in ("/jobs", "/sessions")}


def _after(run: Path, kept: list[str], submitted: dict[str, int] | None) -> dict[str, Any]:
    with qexp.open_archive(run) as archive:
        assert archive.verify() == []
        jobs = {job.job_id: job for job in archive.jobs}
        # Nothing that had been collected is run again.
        assert all(jobs[job_id].state == "DONE" for job_id in kept)
        found = {
            "status": archive.status,
            "kept": kept,
            "submitted": submitted,
            "jobs": [
                [job.workload, job.first, job.stop, job.state, job.failure or ""]
                for job in archive.jobs
            ],
            "batches": len(archive.batches),
            "files": sorted(
                path.relative_to(run).as_posix()
                for path in run.rglob("*")
                if path.is_file() and path.name not in {"run.log", ".lock", STATE_NAME}
            ),
        }
    assert (run / SEALED).exists()
    return found
