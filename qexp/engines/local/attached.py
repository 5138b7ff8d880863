"""An earlier local batch. It ended with its process, and so did its jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from qexp.core.model import FoundJob, JobRequest, JobState
from qexp.errors import BatchOverError, LostJobError


class AttachedBatch:
    """What is left of a local batch of an earlier process: its id.

    Args:
        backend_name: Name of the backend, for `details()`.
        batch_id: The batch's id.
    """

    def __init__(self, *, backend_name: str, batch_id: str) -> None:
        self._backend_name = backend_name
        self._id = batch_id

    @property
    def id(self) -> str:
        """The batch's id."""
        return self._id

    def details(self) -> dict[str, Any]:
        """What is still known of it: some of the fields of `LocalBatch.details()`."""
        return {
            "id": self._id,
            "backend_name": self._backend_name,
            "state": "closed",
            "accepting_jobs": False,
            "mode": "local",
        }

    def submit(self, request: JobRequest) -> NoReturn:
        """Refuse the job.

        Raises:
            BatchOverError: Always.
        """
        raise BatchOverError(
            f"Partition {request.partition.index} was not submitted: batch {self._id} ended with "
            "the process that opened it; open a new batch."
        )

    def find(self, tag: str) -> tuple[FoundJob, ...]:  # noqa: ARG002 - part of the protocol
        """None: no job outlives its process."""
        return ()

    def adopt(
        self,
        job_id: str,
        request: JobRequest,  # noqa: ARG002 - part of the protocol
    ) -> NoReturn:
        """Refuse it.

        Raises:
            LostJobError: Always: no job outlives its process.
        """
        self._lost(job_id)

    def strays(self) -> tuple[FoundJob, ...]:
        """None: no job outlives its process."""
        return ()

    def cancel_job(self, job_id: str) -> None:
        """Nothing: every job has ended."""

    def cancel(self) -> None:
        """Nothing: every job has ended."""

    def close(self) -> None:
        """Nothing: the batch is closed."""

    def abandon(self) -> None:
        """Nothing: the batch is closed."""

    def queue_length(self) -> None:
        """None: a simulator has no queue."""

    def states(self) -> Mapping[str, JobState]:
        """None: it has no jobs any more."""
        return {}

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        """Return at once: no job is left that could change."""

    def collect(self, job_id: str) -> NoReturn:
        """Refuse it.

        Raises:
            LostJobError: Always: no job outlives its process.
        """
        self._lost(job_id)

    def _lost(self, job_id: str) -> NoReturn:
        raise LostJobError(
            f"Job {job_id} is lost: it ended with the process that opened batch {self._id}; "
            "submit it again."
        )
