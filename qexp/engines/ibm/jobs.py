"""Jobs as the service lists them, and the kind of failure of those without a result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from qexp.core.model import FailureKind, FoundJob, JobRequest, JobState
from qexp.engines.ibm.codes import (
    BATCH_OVER,
    CANCELLED,
    INVALID,
    QUOTA,
    TOO_LONG,
    key_to_lower,
    may_succeed_later,
    parse_code,
)
from qexp.engines.ibm.expected import ExpectedPub
from qexp.engines.private_api import set_status
from qexp.text import parse_time

_EXPIRED = re.compile(
    r"max(?:imum)?[ _-]*(?:ttl|time)\b|time to live|\b(?:session|batch)\b.*\bexpired", re.I
)
_RAN_TOO_LONG = re.compile(r"\bran too long", re.I)

_TOLERANCE = timedelta(seconds=1)
"""Tolerance between timestamps that the service reports."""


@dataclass
class Job:
    """A job that was submitted or adopted."""

    handle: Any  # IBM's RuntimeJobV2; None until an adopted job was listed or looked up
    request: JobRequest
    options: Mapping[str, Any]  # as finalised by the primitive
    expected: Sequence[ExpectedPub] | None = None  # the form of its result; None: not known yet
    state: JobState = "QUEUED"
    entry: dict[str, Any] = field(default_factory=dict)  # from the last listing
    missed: int = 0  # listings in a row that lacked the job
    lost: str = ""  # reason why the job counts as lost

    def update(self, entry: dict[str, Any]) -> None:
        """Store the job as listed, and its state."""
        self.entry, self.state, self.missed, self.lost = entry, read_state(entry), 0, ""

    def update_handle(self) -> None:
        """Give IBM's job object the state that was listed."""
        if isinstance(self.entry.get("state"), Mapping):
            set_status(self.handle, self.entry)


def read_page(reply: Any) -> tuple[list[dict[str, Any]], int]:
    """Return the jobs in a reply to a list request, and the number of jobs on all of its pages.

    Raises:
        TypeError: The reply is not a list of jobs.
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
    """Return the service's code for the failure of a job, or None."""
    return parse_code(state.get("reason_code") or state.get("reasonCode"))


def reason_text(state: Mapping[str, Any]) -> str:
    """Return the service's reason for the failure of a job, and its advice; "" if it has none."""
    return " ".join(str(state.get(name) or "") for name in ("reason", "reason_solution")).strip()


class Expiry:
    """The end of a batch's `max_time`, read from the service when first needed.

    `read_details` makes one request, and returns None if the service has none.
    """

    def __init__(self, read_details: Callable[[], Mapping[str, Any] | None]) -> None:
        self._read_details = read_details
        self._deadline: datetime | None = None

    def is_before(self, ended: str | None) -> bool:
        """Return whether the batch's time was over when a job ended (ISO 8601; None: now)."""
        if self._deadline is None:
            self._deadline = _deadline(self._read_details() or {})
        if self._deadline is None:
            return False
        return (parse_time(str(ended)) or datetime.now(UTC)) >= self._deadline - _TOLERANCE


def _deadline(details: Mapping[str, Any]) -> datetime | None:
    starts = (parse_time(str(details.get(name))) for name in ("started_at", "activated_at"))
    started, max_time_s = next(filter(None, starts), None), details.get("max_time")
    if started is None or not isinstance(max_time_s, int | float):
        return None
    return started + timedelta(seconds=max_time_s)


def classify_failure(
    entry: Mapping[str, Any], state: JobState, timestamps: Mapping[str, Any], expiry: Expiry
) -> FailureKind:
    """Return why a listed job ended as ERROR or CANCELLED, which decides if it is tried again.

    Of the timestamps in its metrics, `running` is missing if it never ran. The end of its batch is
    asked for only if nothing else decides.
    """
    fields = state_fields(entry)
    code, reason = reason_code(fields), str(fields.get("reason") or "")
    if code in TOO_LONG or _RAN_TOO_LONG.search(f"{fields.get('status')} {reason}"):
        return "too_long"
    if code in QUOTA:
        return "denied"
    if verdict := _verdict(fields, state):
        return verdict
    if not timestamps.get("running") and (
        code in BATCH_OVER
        or _EXPIRED.search(reason)
        or expiry.is_before(timestamps.get("finished"))
    ):
        return "expired"
    if state == "CANCELLED" or code in CANCELLED:
        return "cancelled"
    return "transient"


def _verdict(fields: Mapping[str, Any], state: JobState) -> FailureKind | None:
    """Return the kind of a failure that is the job's own fault, or None."""
    code, text = reason_code(fields), reason_text(fields)
    if state == "ERROR" and not _EXPIRED.search(text) and key_to_lower(code, text):
        return "too_large"
    return "refused" if code in INVALID and not may_succeed_later(text) else None
