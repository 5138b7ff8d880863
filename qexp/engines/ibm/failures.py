"""The kind of failure of a job without result, which decides whether it is tried again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from qexp.core.model import FailureKind, JobState
from qexp.engines.ibm.codes import BATCH_OVER, CANCELLED, INVALID, QUOTA, TOO_LONG
from qexp.engines.ibm.jobs import reason_code, state_fields
from qexp.text import parse_time

_EXPIRED = re.compile(
    r"max(?:imum)?[ _-]*(?:ttl|time)\b|time to live|\b(?:session|batch)\b.*\bexpired", re.I
)
_RAN_TOO_LONG = re.compile(r"\bran too long", re.I)
_TOLERANCE = timedelta(seconds=1)
"""Tolerance between timestamps that the service reports."""


class Expiry:
    """The moment at which a batch's `max_time` is over; asked for when needed, then remembered.

    Args:
        read_details: The batch's details by one request; None if the service has none.
    """

    def __init__(self, read_details: Callable[[], Mapping[str, Any] | None]) -> None:
        self._read_details = read_details
        self._deadline: datetime | None = None

    def is_before(self, ended: str | None) -> bool:
        """Return whether the batch's time was over when a job ended.

        Args:
            ended: ISO 8601; None if the service does not say, which means now.
        """
        if self._deadline is None:
            self._deadline = _deadline(self._read_details() or {})
        if self._deadline is None:
            return False
        return (parse_time(str(ended)) or datetime.now(UTC)) >= self._deadline - _TOLERANCE


def classify_failure(
    entry: Mapping[str, Any], state: JobState, timestamps: Mapping[str, Any], expiry: Expiry
) -> FailureKind:
    """Return the kind of failure of a job in state ERROR or CANCELLED.

    Args:
        entry: The job as listed.
        state: Its state.
        timestamps: As in its metrics: `running` is missing if it never ran.
        expiry: Of its batch; asked only if nothing else decides.
    """
    fields = state_fields(entry)
    code, reason = reason_code(fields), str(fields.get("reason") or "")
    if code in TOO_LONG or _RAN_TOO_LONG.search(f"{fields.get('status')} {reason}"):
        return "too_long"
    if code in QUOTA:
        return "denied"
    if code in INVALID:
        return "refused"
    if not timestamps.get("running") and (
        code in BATCH_OVER
        or _EXPIRED.search(reason)
        or expiry.is_before(timestamps.get("finished"))
    ):
        return "expired"
    if state == "CANCELLED" or code in CANCELLED:
        return "cancelled"
    return "transient"


def _deadline(details: Mapping[str, Any]) -> datetime | None:
    started = parse_time(str(details.get("started_at"))) or parse_time(
        str(details.get("activated_at"))
    )
    max_time_s = details.get("max_time")
    if started is None or not isinstance(max_time_s, int | float):
        return None
    return started + timedelta(seconds=max_time_s)
