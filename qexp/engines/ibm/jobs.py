"""Jobs as the service lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from qexp.core.model import FoundJob, JobRequest, JobState
from qexp.engines.ibm.codes import TOO_LONG, parse_code
from qexp.engines.private_api import set_status


@dataclass
class Job:
    """A job that was submitted or adopted.

    Attributes:
        handle: IBM's `RuntimeJobV2`.
        request: What was asked for.
        options: The primitive's options as finalised.
        state: The last state that was seen.
        entry: The job in the last listing.
        missed: Number of whole listings in a row that lacked it.
        lost: Why it counts as lost, or `""`.
    """

    handle: Any
    request: JobRequest
    options: Mapping[str, Any]
    state: JobState = "QUEUED"
    entry: dict[str, Any] = field(default_factory=dict)
    missed: int = 0
    lost: str = ""

    def update(self, entry: dict[str, Any]) -> None:
        """Take over what the service lists."""
        self.entry, self.state, self.missed = entry, read_state(entry), 0

    def update_handle(self) -> None:
        """Give IBM's job object the state that is known."""
        if isinstance(self.entry.get("state"), Mapping):
            set_status(self.handle, self.entry)


def read_page(reply: Any) -> tuple[list[dict[str, Any]], int]:
    """Read the reply to a list request.

    Returns:
        The jobs on this page, and how many there are on all pages.

    Raises:
        TypeError: It is no such reply.
    """
    entries = reply.get("jobs") if isinstance(reply, dict) else None
    count = reply.get("count") if isinstance(reply, dict) else None
    if not isinstance(entries, list) or not isinstance(count, int):
        raise TypeError("it lists no jobs")
    if not all(isinstance(each, dict) and isinstance(each.get("id"), str) for each in entries):
        raise TypeError("it lists a job without an id")
    return entries, count


def read_job(entry: Mapping[str, Any]) -> FoundJob:
    """Read a listed job, whoever submitted it."""
    tags = entry.get("tags")
    return FoundJob(
        job_id=entry["id"],
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        state=read_state(entry),
        created=str(entry.get("created") or ""),
        batch_id=str(entry.get("session_id") or ""),
    )


def read_state(entry: Mapping[str, Any]) -> JobState:
    """Read the state of a listed job as the client would map it."""
    from qiskit_ibm_runtime.runtime_job_v2 import API_TO_JOB_STATUS

    fields = state_fields(entry)
    status = str(fields.get("status") or "").upper()
    if status.startswith("CANCELLED"):
        too_long = reason_code(fields) in TOO_LONG or "TOO LONG" in status
        return "ERROR" if too_long else "CANCELLED"
    return cast(JobState, API_TO_JOB_STATUS.get(status, "INITIALIZING"))


def state_fields(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `state` of a listed job; older replies have only a status."""
    state = entry.get("state")
    return state if isinstance(state, Mapping) else {"status": state or entry.get("status")}


def reason_code(state: Mapping[str, Any]) -> int | None:
    """Return the service's code for why a job failed, or None."""
    return parse_code(state.get("reason_code") or state.get("reasonCode"))
