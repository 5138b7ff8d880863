"""The summary of a run that has no archive yet: what its parts and its journal say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qexp.journal.file import read_ledger
from qexp.journal.ledger import Attempt
from qexp.listing.entry import as_fields
from qexp.listing.reading import entry_of_unfinished


def summarise_unfinished(path: str) -> Iterator[dict[str, Any]]:
    """What is known of a run before it is sealed, as plain JSON.

    Called in a process of its own, see `qexp.archive.isolated`.

    Args:
        path: The run's folder.

    Raises:
        ArchiveError: There is no run in it, or what is there is damaged.
    """
    folder = Path(path)
    ledger = read_ledger(folder)
    yield {
        **as_fields(entry_of_unfinished(folder)),
        "path": path,
        "attempts": [_attempt(attempt) for attempt in ledger.all_attempts()],
        "batches": [
            {"id": batch.batch, "follows": batch.follows, "is_closed": batch.batch in ledger.closed}
            for batch in ledger.batches
        ],
        "can_resume": True,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "partition": attempt.partition,
        "attempt": attempt.number,
        "job_id": attempt.job,
        "batch": attempt.batch,
        "state": attempt.state or ("OUT" if attempt.failure is None else "ERROR"),
        "failure": attempt.failure,
    }
