"""Error codes and texts of IBM's service that decide how qexp goes on.

Looked up on 2026-11-22 and 2026-11-29 in the error code registry
(https://quantum.cloud.ibm.com/docs/errors) and in its longer form of 2023 (docs/errors.rst in the
repository of qiskit-ibm-runtime). 4317 is from issue 1124 there, 5302 from issue 1042; public
programs take 1217 as the answer to a submission to a closed session. Codes in none of these sets
decide nothing. No code is final if the text beside it says that another try may succeed: codes
have been given new meanings before.
"""

from __future__ import annotations

import re
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

TOO_LARGE: Final = {
    1001: "max_payload_bytes",
    1102: "max_circuits",
    3242: "max_circuits",
    3248: "max_circuits",
    6002: "max_circuits",
    8031: "max_circuits",
}
"""The job is too large, but its parts need not be: the key of `partition` that would cut it."""

INVALID: Final = frozenset(
    {1002, 1003, 1101, *range(1103, 1110), 1204, 1205}
    | {3211, 3215, 3218, 3220, 3224, 3226, 3229, 3230, 3236, 3237, 3239, 3243, 3249}
    | {6001, 6003, *range(7000, 7007)}
    | {*range(8000, 8005), *range(8006, 8010), 8011, 8013, 8014, *range(8016, 8025)}
    | {8026, 8027, 8029, 8030, 8033, 8035, 8036, 8037, 8039, 8041, 8042, 8044}
)
"""The job itself is invalid: its circuits, options or tags.

Left out although they are in the registry: 1005 (gates that the backend lacks now), and 6000, which
was "too many shots" in 2023 and has been reported with "internal error, retry" since.
"""

_MAY_SUCCEED = re.compile(
    r"\binternal\b.{0,20}\berror|\bretry\b|(?<!correct your program and )\btry\b.{0,30}\bagain\b"
    r"|\btimed? ?-?out\b|\btemporar|\bunavailable\b|\bcontact\b",
    re.I,
)
_TOO_LARGE = re.compile(r"\btoo (?:large|big|many)\b|\bexceed", re.I)
_OF_ANOTHER_SIZE = re.compile(
    r"\b(?:shots|seconds|time|ttl|duration|cost|tags|samples|pulses)\b"
    r"|\b(?:number of|many) qubits\b",
    re.I,
)
_SUBJECTS = (
    ("max_circuits", re.compile(r"\bpublish", re.I)),  # 5302: it is the result that is too large
    ("max_payload_bytes", re.compile(r"\bpayload|\bbody\b|\bbytes?\b|\brequest entity", re.I)),
    ("max_control_instructions", re.compile(r"\binstructions?\b", re.I)),
    ("max_executions", re.compile(r"\bexecutions\b", re.I)),
    ("max_circuits", re.compile(r"\b(?:circuits|experiments|pubs|job)\b", re.I)),
)
"""The part of a job whose size a text is about, and the key of `partition` that bounds it."""


def may_succeed_later(text: str) -> bool:
    """Return whether a text of the service says that trying again may help."""
    return _MAY_SUCCEED.search(text) is not None


def key_to_lower(code: int | None, text: str) -> str | None:
    """Return the key of `partition` that would make a job smaller which is too large, else None.

    By the service's code, or its message.
    """
    if may_succeed_later(text):
        return None
    if code in TOO_LARGE:
        return TOO_LARGE[code]
    if not _TOO_LARGE.search(text) or _OF_ANOTHER_SIZE.search(text):
        return None
    return next((key for key, words in _SUBJECTS if words.search(text)), None)


def advice(key: str) -> str:
    """Return the clause that follows the reason of a job that is too large."""
    return (
        f"lower partition.{key}, and python -m qexp resume RUN --retry-refused tries it again in "
        "smaller pieces"
    )


def parse_code(value: Any) -> int | None:
    """Read a code: a number or digits; formerly a word, which gives None."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
