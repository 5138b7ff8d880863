"""Sessions and jobs as JSON, so that another emulator goes on where one stopped."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.emulator.state import Job, Session, now, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.emulator.simulate import Truth

MOMENTS = ("created", "started", "finished", "last_job_started", "last_job_completed")


def to_json(
    taken: Sequence[Job],
    kept: Mapping[str, Job],
    sessions: Mapping[str, Session],
    results: Mapping[str, Truth],
) -> dict[str, Any]:
    """Return all that a service remembers, as plain JSON.

    Args:
        taken: All jobs there ever were, in order of submission.
        kept: Those that were not deleted, by id.
        sessions: By id, in order of opening.
        results: What completed jobs measured, by job id.
    """
    return {
        "saved": stamp(now()),
        "sessions": [_plain(session) for session in sessions.values()],
        # The body is the raw text, read as JSON.
        "jobs": [{**_plain(job, leave_out="body"), "deleted": job.id not in kept} for job in taken],
        "results": {
            job_id: [{name: _encoded(array) for name, array in pub.items()} for pub in truth]
            for job_id, truth in results.items()
        },
    }


def sessions_from(saved: Mapping[str, Any]) -> dict[str, Session]:
    """Return the saved sessions, by id."""
    sessions = {}
    for entry in saved["sessions"]:
        session = Session(**_with_moments(entry) | {"timestamps": []})
        session.timestamps = [
            (status, datetime.fromisoformat(text)) for status, text in entry["timestamps"]
        ]
        sessions[session.id] = session
    return sessions


def jobs_from(saved: Mapping[str, Any]) -> tuple[list[Job], dict[str, Job]]:
    """Return all saved jobs in order of submission, and by id those that were not deleted.

    A job that was running is queued again: its run ended with the emulator that saved it.
    """
    taken, kept = [], {}
    for entry in saved["jobs"]:
        known = {name: value for name, value in entry.items() if name != "deleted"}
        job = Job(body=json.loads(known["raw"]), **_with_moments(known))
        if job.status == "Running":
            job.status, job.started = "Queued", None
        taken.append(job)
        if not entry["deleted"]:
            kept[job.id] = job
    return taken, kept


def results_from(saved: Mapping[str, Any]) -> dict[str, Truth]:
    """Return what completed jobs measured, by job id."""
    return {
        job_id: [{name: _decoded(array) for name, array in pub.items()} for pub in truth]
        for job_id, truth in saved["results"].items()
    }


def _plain(record: Job | Session, leave_out: str = "") -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return stamp(value)
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    names = (field.name for field in fields(record) if field.name != leave_out)
    return {name: plain(getattr(record, name)) for name in names}


def _with_moments(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name in MOMENTS and value is not None else value
        for name, value in entry.items()
    }


def _encoded(array: np.ndarray) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def _decoded(saved: Mapping[str, Any]) -> np.ndarray:
    raw = bytearray(base64.b64decode(saved["data"]))
    return np.frombuffer(raw, dtype=saved["dtype"]).reshape(saved["shape"])
