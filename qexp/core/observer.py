"""What a run tells whoever watches it. The terminal shows it; `Observer` itself is silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qexp.core.model import JobOutcome, JobState, Limit, Partition, Plan

if TYPE_CHECKING:
    from pathlib import Path


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

    def batch_opened(self, batch_id: str) -> None:
        """The batch exists."""

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """One job is submitted."""

    def queue_seen(self, length: int) -> None:
        """Jobs of all users that wait for the backend."""

    def jobs_moved(self, states: Counter[JobState]) -> None:
        """Number of jobs in each state."""

    def job_collected(self, outcome: JobOutcome) -> None:
        """A job's outcome is on disk."""

    def sealed(self, archive: Path, outcomes: Sequence[JobOutcome]) -> None:
        """The archive is complete and final."""
