"""Jobs as the service lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from qexp.core.model import FoundJob, JobRequest, JobState
from qexp.engines.ibm.codes import TOO_LONG, as_code


@dataclass
class Job:
    """A job that was submitted or adopted.

    Attributes:
        handle: IBM's `RuntimeJobV2`.
        request: What was asked for.
        options: The primitive's options as finalised.
        state: The last state that was seen.
        seen: What the last listing said of it.
        missed: Number of whole listings in a row that lacked it.
        lost: Why it counts as gone, or `""`.
    """

    handle: Any
    request: JobRequest
    options: Mapping[str, Any]
    state: JobState = "QUEUED"
    seen: dict[str, Any] = field(default_factory=dict)
    missed: int = 0
    lost: str = ""

    def see(self, entry: dict[str, Any]) -> None:
        """Take note of what the service says."""
        self.seen, self.state, self.missed = entry, state_of(entry), 0

    def tell_handle(self) -> None:
        """Tell IBM's job object what is known; it would ask for it once more."""
        if isinstance(self.seen.get("state"), Mapping):
            self.handle._set_status(self.seen)


def entries_of(reply: Any) -> tuple[list[dict[str, Any]], int]:
    """The jobs in the reply to a list request, and how many there are on all pages.

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


def found(entry: Mapping[str, Any]) -> FoundJob:
    """A listed job, whoever submitted it."""
    tags = entry.get("tags")
    return FoundJob(
        job_id=entry["id"],
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        state=state_of(entry),
        created=str(entry.get("created") or ""),
        batch_id=str(entry.get("session_id") or ""),
    )


def state_of(entry: Mapping[str, Any]) -> JobState:
    """The state of a job as the client would map it."""
    from qiskit_ibm_runtime.runtime_job_v2 import API_TO_JOB_STATUS

    state = state_entry(entry)
    status = str(state.get("status") or "").upper()
    if status.startswith("CANCELLED"):
        too_long = reason_code(state) in TOO_LONG or "TOO LONG" in status
        return "ERROR" if too_long else "CANCELLED"
    return cast(JobState, API_TO_JOB_STATUS.get(status, "INITIALIZING"))


def state_entry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `state` of a listed job; older replies have only a status."""
    state = entry.get("state")
    return state if isinstance(state, Mapping) else {"status": state or entry.get("status")}


def reason_code(state: Mapping[str, Any]) -> int | None:
    """The service's code for why a job failed, or None."""
    return as_code(state.get("reason_code") or state.get("reasonCode"))
