from __future__ import annotations

import pytest

from qexp.batch.status import partition_state
from qexp.core.model import FoundJob, JobState
from qexp.journal.events import Adopted, Collected, Cut, Event, NotSubmitted, Submitted, Submitting
from qexp.journal.ledger import Ledger

BEGUN = Submitting(0, 1, "b0", "tag1")
OUT = (BEGUN, Submitted(0, 1, "b0", "job1"))
PIECES = (
    Cut(0, (0, 2, 4)),
    Adopted(0, 1, "b0", "", "job1", first=0, stop=2),
    Adopted(0, 2, "b0", "", "job2", first=2, stop=4),
)


@pytest.mark.parametrize(
    ("events", "listed", "state"),
    [
        ((), {}, "unsubmitted"),
        ((BEGUN,), {}, "unsubmitted"),
        ((BEGUN,), {"tag1": "QUEUED"}, "queued"),
        ((BEGUN, NotSubmitted(0, 1, "no job", "lost")), {}, "failed"),
        ((BEGUN, NotSubmitted(0, 1, "no job", "lost")), {"tag1": "DONE"}, "done"),
        (OUT, {}, "unlisted"),
        (OUT, {"job1": "INITIALIZING"}, "queued"),
        (OUT, {"job1": "CANCELLED"}, "failed"),
        ((*OUT, Collected(0, 1, "job1", "DONE")), {}, "done"),
        ((*OUT, Collected(0, 1, "job1", "ERROR", "transient")), {"job1": "ERROR"}, "failed"),
        # A partition is as far as the piece that is least far.
        (PIECES, {"job1": "DONE", "job2": "QUEUED"}, "queued"),
        (PIECES, {"job1": "DONE", "job2": "DONE"}, "done"),
        ((*OUT, *PIECES), {"job1": "RUNNING", "job2": "ERROR"}, "running"),
    ],
)
def test_how_far_a_partition_is(
    events: tuple[Event, ...], listed: dict[str, JobState], state: str
) -> None:
    ledger = Ledger()
    for event in events:
        ledger.apply(event)
    jobs = {name: FoundJob(name, (), each) for name, each in listed.items()}
    assert partition_state(ledger, jobs, 0) == state
