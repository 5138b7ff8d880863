from __future__ import annotations

import pytest

from qexp.core.spec import ExecutionPolicy
from qexp.journal.events import (
    BatchOpened,
    Cancelled,
    Collected,
    Ended,
    NotSubmitted,
    Planned,
    Resumed,
    Submitted,
    Submitting,
)
from qexp.journal.ledger import Ledger, Piece

PLANNED = Planned(("a", "b", "c"))
POLICY = ExecutionPolicy(retries=1)


def ledger(*events: object) -> Ledger:
    state = Ledger()
    for event in (PLANNED, BatchOpened("b0", "t"), *events):
        state.apply(event)  # type: ignore[arg-type]
    return state


def attempt(partition: int, number: int = 1) -> tuple[Submitting, Submitted]:
    return (
        Submitting(partition, number, "b0", f"tag{partition}.{number}"),
        Submitted(partition, number, "b0", f"job{partition}.{number}"),
    )


def wanted(state: Ledger, policy: ExecutionPolicy = POLICY) -> list[int]:
    """The partitions that are wanted whole."""
    pieces = state.wanted(policy)
    assert all(piece == Piece(piece.partition) for piece in pieces)
    return [piece.partition for piece in pieces]


def test_everything_is_wanted_at_first():
    assert wanted(ledger()) == [0, 1, 2]


def test_an_attempt_that_may_have_a_job_is_open_and_not_wanted():
    state = ledger(Submitting(1, 1, "b0", "tag"))
    assert wanted(state) == [0, 2]
    (unclear,) = state.open_attempts()
    assert (unclear.partition, unclear.job) == (1, None)


def test_a_partition_with_a_result_is_done():
    state = ledger(*attempt(0), Collected(0, 1, "job0.1", "DONE"))
    assert state.done == {0}
    assert state.open_attempts() == []
    assert wanted(state) == [1, 2]


def test_a_failure_is_wanted_as_often_as_the_policy_says():
    once = (*attempt(0), Collected(0, 1, "job0.1", "ERROR", "transient"))
    twice = (*once, *attempt(0, 2), Collected(0, 2, "job0.2", "ERROR", "transient"))
    assert 0 in wanted(ledger(*once))
    assert 0 not in wanted(ledger(*twice))
    assert 0 in wanted(ledger(*twice, Resumed("host", 1, "0")))


@pytest.mark.parametrize(
    ("failure", "is_wanted"), [("refused", False), ("too_large", False), ("denied", True)]
)
def test_a_refusal_outlives_the_process_that_met_it(failure, is_wanted):
    state = ledger(
        Submitting(0, 1, "b0", "tag"), NotSubmitted(0, 1, "no", failure), Resumed("host", 1, "0")
    )
    assert (0 in wanted(state)) is is_wanted


def test_a_refusal_is_tried_again_once_if_the_policy_says_so():
    again = ExecutionPolicy(retry_refused=True)
    refused = (Submitting(0, 1, "b0", "tag"), NotSubmitted(0, 1, "no", "refused"))
    assert 0 not in wanted(ledger(*refused), again)
    resumed = (*refused, Resumed("host", 1, "0"))
    assert 0 in wanted(ledger(*resumed), again)
    twice = (*resumed, Submitting(0, 2, "b0", "tag2"), NotSubmitted(0, 2, "no", "refused"))
    assert 0 not in wanted(ledger(*twice), again)


def test_a_cancelled_run_stays_so_until_a_batch_is_opened():
    assert not ledger().is_cancelled
    assert ledger(Cancelled(), Resumed("host", 1, "0"), Ended("partial")).is_cancelled
    assert not ledger(Cancelled(), BatchOpened("b1", "t")).is_cancelled


def test_an_event_of_an_attempt_that_never_began_is_refused():
    with pytest.raises(ValueError, match="attempt 2 of partition 0 was never begun"):
        ledger(*attempt(0), Collected(0, 2, "job", "DONE"))


def test_a_resumed_run_has_not_ended():
    assert ledger(Ended("partial")).ended == "partial"
    assert ledger(Ended("partial"), Resumed("host", 1, "0")).ended is None


def test_the_budget_given_last_is_in_force():
    given = (Resumed("host", 1, "0", anew=(word,)) for word in ("budget.qpu=9", "budget.qpu=10"))
    assert ledger(*given, Resumed("host", 1, "0")).anew == ("budget.qpu=10",)
    assert ledger(Resumed("host", 1, "0")).anew == ()
