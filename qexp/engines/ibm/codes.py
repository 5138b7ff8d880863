"""Error codes of IBM's service that decide how qexp goes on.

Looked up on 2026-11-22 in the error code registry (https://quantum.cloud.ibm.com/docs/errors) and
in its longer form of 2023 (docs/errors.rst in the repository of qiskit-ibm-runtime). 4317 is from
issue 1124 there; public programs take 1217 as the answer to a submission to a closed session.
Codes in none of these sets decide nothing.
"""

from __future__ import annotations

from typing import Any, Final

RATE_LIMIT: Final = frozenset({1202})
"""Too many requests."""

PENDING_LIMIT: Final = frozenset({1012, 3458})
"""The account has as many jobs waiting or running as it may; 1012 is the older code."""

BATCH_OVER: Final = frozenset({1217, 4001})
"""The session is closed: the answer to a submission, or the end of a job queued in it."""

QUOTA: Final = frozenset({4317})
"""The account's time is used up."""

TOO_LONG: Final = frozenset({1305, 5201})
"""The job ran into its time limit; the service may call it cancelled."""

CANCELLED: Final = frozenset({5202})
"""The job was cancelled."""

INVALID: Final = frozenset(
    {1001, 1002, 1003, 1005, *range(1101, 1110), 1204, 1205}
    | {3211, 3215, 3218, 3220, 3224, 3226, 3229, 3230, 3236, 3237, 3239, 3242, 3243, 3248, 3249}
    | {*range(6000, 6004), *range(7000, 7007), *range(8000, 8045)}
)
"""The job itself is invalid: its circuits, options, size or tags."""


def parse_code(value: Any) -> int | None:
    """Read a code: a number or digits; formerly a word, which gives None."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
