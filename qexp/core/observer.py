"""What a run tells whoever watches it. The terminal shows it; `Observer` itself is silent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qexp.core.model import JobOutcome, JobState, Limit, Partition, Plan, RunSummary

if TYPE_CHECKING:
    from pathlib import Path


_log = logging.getLogger(__name__)


class Observer:
    """Receives the stages of a run in order; every method may be overridden."""

    def backend_selected(self, name: str, num_qubits: int, engine: str) -> None:
        """The backend is resolved."""

    def pub_planned(self, workload: str, count: int) -> None:
        """`count` PUBs of a workload are generated, transpiled and checked."""

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """The plan is complete and on disk."""

    def warned(self, message: str) -> None:
        """Something that a researcher should know, but no error."""

    def resumed(self, plan: Plan, done: int, out: int, missing: int) -> None:
        """A run goes on: partitions with a result, with a job that is out, with neither."""

    def batch_opened(self, batch_id: str) -> None:
        """The batch exists."""

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """One job is submitted."""

    def submission_paused(self, reason: str, seconds: float) -> None:
        """The service takes no job now; the next attempt is at the latest in so many seconds."""

    def job_adopted(self, partition: int, job_id: str) -> None:
        """A job that was submitted earlier is found again."""

    def attempt_failed(self, outcome: JobOutcome) -> None:
        """A job failed, and is going to be submitted again."""

    def service_lost(self, reason: str, seconds: float) -> None:
        """The service cannot be reached; asked again in so many seconds."""

    def queue_seen(self, length: int) -> None:
        """Jobs of all users that wait for the backend."""

    def jobs_moved(self, states: Counter[JobState]) -> None:
        """Number of jobs in each state."""

    def job_collected(self, outcome: JobOutcome) -> None:
        """A job's outcome is on disk."""

    def detached(self, plan: Plan, out: int, batch_ids: Sequence[str]) -> None:
        """Everything is submitted, and the run is left with `out` jobs to be collected later."""

    def sealed(self, archive: Path, summary: RunSummary) -> None:
        """The archive is complete and final."""

    def analysed(self, name: str, summary: str) -> None:
        """An analysis of the sealed data is made, and stored if there was anything to say."""


class Guarded(Observer):
    """Passes everything on; what the other raises is logged, because it must not cost a result.

    Args:
        inner: Who watches.
    """

    def __init__(self, inner: Observer) -> None:
        self._inner = inner

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        told = getattr(object.__getattribute__(self, "_inner"), name)

        def tell(*arguments: Any) -> None:
            try:
                told(*arguments)
            except (Exception, SystemExit):
                # Rich ends the process when the reader of its output has gone.
                _log.warning("%s could not be shown", name, exc_info=True)

        return tell
