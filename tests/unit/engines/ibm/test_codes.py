from __future__ import annotations

import pytest

from qexp.engines.ibm import codes
from qexp.engines.ibm.codes import key_to_lower, may_succeed_later, parse_code

FINAL = codes.INVALID | codes.TOO_LARGE.keys()
# "Retry the action", "Try to run the job again", "Contact IBM": docs/errors.rst of 2023.
TRY_AGAIN = (
    {1000, 1006, 1008, 1010, 1011, 1999, 2100, 2400, 2404, 2405, 2412}
    | {3202, 3203, 3204, 3208, 3210, 3212, 3213, 3214, 3233, 3234, 3235, 3251, 3253, 3300, 3301}
    | {5203, 5204, 9999}
)


def test_no_code_that_the_registry_says_to_try_again_is_final() -> None:
    assert not FINAL & TRY_AGAIN
    assert not FINAL & {1004, 1005, 1007, 1009, 6000}


def test_every_code_means_one_thing() -> None:
    sets = [codes.RATE_LIMIT, codes.PENDING_LIMIT, codes.BATCH_OVER, codes.QUOTA, codes.TOO_LONG]
    sets += [codes.CANCELLED, codes.INVALID, frozenset(codes.TOO_LARGE)]
    assert len(frozenset().union(*sets)) == sum(map(len, sets))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An internal error occurred.", True),
        ("Internal Server Error", True),
        ("Retry the action. If it happens again, contact IBM Quantum.", True),
        ("Try to run the job again.", True),
        ("Backend is currently not accepting jobs, try again later.", True),
        ("Timed out.", True),
        ("Timeout getting the result.", True),
        ("Temporarily unavailable", True),
        ("Correct your program and try again.", False),
        ("The instruction h on qubits (0,) is not supported.", False),
        ("Job not valid.", False),
        ("", False),
    ],
)
def test_what_may_succeed_later(text: str, expected: bool) -> None:
    assert may_succeed_later(text) is expected


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (1001, "", "max_payload_bytes"),
        (3242, "Circuit count exceeded.", "max_circuits"),
        (None, "Request Entity Too Large", "max_payload_bytes"),
        (5302, "Failed to publish job: nats: maximum payload exceeded", "max_circuits"),
        (None, "The instructions of qubit 3 exceed 26.8 million.", "max_control_instructions"),
        (None, "The number of executions exceeds 10000000.", "max_executions"),
        (None, "Too many PUBs", "max_circuits"),
        (None, "The job exceeds its maximum execution time.", None),
        (None, "The batch exceeded its max_ttl, and the job its TTL.", None),
        (None, "Too many shots given (2 > 1) in the circuits.", None),
        (None, "The number of qubits of the circuits exceeds 5.", None),
        (1233, "9 tags exceed the maximum of 8.", None),
        (1102, "Internal error, retry.", None),
        (3211, "Job not valid.", None),
    ],
)
def test_the_key_that_makes_a_job_smaller(
    code: int | None, text: str, expected: str | None
) -> None:
    assert key_to_lower(code, text) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(7, 7), ("7", 7), ("bad_request", None), (None, None), (1e999, None)]
)
def test_a_code_is_a_number_or_digits(value: object, expected: int | None) -> None:
    assert parse_code(value) == expected
