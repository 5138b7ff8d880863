"""A batch on this machine: jobs run one after the other, in the order of submission."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from qexp.core.model import FINAL_STATES, FailureKind, JobOutcome, JobRequest, JobState
from qexp.engines.local.job import LocalJob, Simulate, Simulated, timestamp, timestamp_or_none
from qexp.errors import BatchOverError, EngineError, LostJobError

# A signal's handler can do no more than set a flag: how long until that is looked at.
_SLICE_S = 0.05


class LocalBatch:
    """Runs jobs in one worker thread; times, states and usage are what really happened.

    Args:
        backend_name: Name of the backend, for `details()`.
        simulate: Loads and simulates the PUBs of one job.
        prepare: Is told of a job before it is simulated, and already when the one before it is, so
            that no worker process has to wait between two jobs.
        release: Called when nothing is left to simulate, or when it is to end.
        max_time_s: As on the service: from this long after the start of the first job on, the
            running job finishes, queued jobs fail and no job is accepted. None means no limit.
        clock: Seconds since the epoch, never decreasing.
    """

    def __init__(
        self,
        *,
        backend_name: str,
        simulate: Simulate,
        prepare: Callable[[JobRequest], None] = lambda _request: None,
        release: Callable[[], None] = lambda: None,
        max_time_s: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._id = f"local-{uuid4()}"
        self._backend_name = backend_name
        self._simulate = simulate
        self._prepare = prepare
        self._release = release
        self._max_time_s = max_time_s
        self._clock = clock or _steady_clock()
        self._condition = threading.Condition()
        self._jobs: dict[str, LocalJob] = {}
        self._queue: deque[LocalJob] = deque()
        self._worker: threading.Thread | None = None
        self._changes = 0
        self._changes_seen = 0
        self._opened = self._clock()
        self._started: float | None = None
        self._last_started: float | None = None
        self._last_completed: float | None = None
        self._closed: float | None = None
        self._usage_s = 0.0

    @property
    def id(self) -> str:
        """The batch's id, `local-<uuid>`."""
        return self._id

    def details(self) -> dict[str, Any]:
        """All fields of `qiskit_ibm_runtime.Batch.details()`, with `mode` `"local"`.

        `interactive_timeout` and `active_timeout` are None: nothing here ends for being idle.
        """
        with self._condition:
            ended = self._ended()
            closed_at = None
            if ended is not None and self._all_final():
                closed_at = max(ended, self._last_completed or ended)
            started, last_started = self._started, self._last_started
            last_completed, usage_s = self._last_completed, self._usage_s
        history = (("open", self._opened), ("active", started), ("closed", closed_at))
        reached = [(state, at) for state, at in history if at is not None]
        return {
            "id": self._id,
            "backend_name": self._backend_name,
            "interactive_timeout": None,
            "max_time": self._max_time_s,
            "active_timeout": None,
            "state": reached[-1][0],
            "accepting_jobs": ended is None,
            "last_job_started": timestamp_or_none(last_started),
            "last_job_completed": timestamp_or_none(last_completed),
            "started_at": timestamp_or_none(started),
            "closed_at": timestamp_or_none(closed_at),
            "activated_at": timestamp_or_none(started),
            "mode": "local",
            "usage_time": usage_s,
            "timestamps": [{"status": state, "timestamp": timestamp(at)} for state, at in reached],
        }

    def submit(self, request: JobRequest) -> str:
        """Queue one job and return its id.

        Raises:
            BatchOverError: The batch is closed or its `max_time` is over.
        """
        with self._condition:
            if self._closed is not None:
                raise BatchOverError(
                    f"Partition {request.partition.index} was not submitted: batch {self._id} is "
                    "closed; open a new batch."
                )
            if self._expired():
                raise BatchOverError(
                    f"Partition {request.partition.index} was not submitted: {self._over()}"
                )
            job = LocalJob(
                id=str(uuid4()),
                batch_id=self._id,
                request=request,
                partition=request.partition.index,
                created=self._clock(),
            )
            self._jobs[job.id] = job
            self._queue.append(job)
            if self._worker is None:
                # A daemon, so that Ctrl-C does not have to wait for the queue.
                self._worker = threading.Thread(target=self._work, name=self._id, daemon=True)
                self._worker.start()
            self._changed()
        return job.id

    def cancel(self) -> None:
        """Close, and cancel every queued job; the one that is running finishes."""
        self._close_and_drop("Cancelled before it ran.")

    def close(self) -> None:
        """Accept no more jobs; what is submitted still runs. Idempotent."""
        with self._condition:
            if self._closed is None:
                self._closed = self._clock()
                self._changed()

    def abandon(self) -> None:
        """As `cancel`, and the running job ends too: all would end with this process."""
        self._close_and_drop("Abandoned before it ran.")
        self._release()

    def states(self) -> Mapping[str, JobState]:
        """The state of every submitted job, by id, in the order of submission."""
        with self._condition:
            self._changes_seen = self._changes
            return {job.id: job.state for job in self._jobs.values()}

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        """Return once a state differs from what `states` last said, or after `timeout_s`.

        Returns at once when no job is left that could change, or when `is_stopped` says True.
        """
        deadline = time.monotonic() + timeout_s
        while not is_stopped():
            left = deadline - time.monotonic()
            with self._condition:
                if self._condition.wait_for(self._has_news, timeout=max(0.0, min(left, _SLICE_S))):
                    self._changes_seen = self._changes
                    return
            if left <= _SLICE_S:
                return

    def collect(self, job_id: str) -> JobOutcome:
        """The outcome of a finished job. It is handed over once: the batch does not keep it.

        Raises:
            LostJobError: The job is not one of this batch.
            EngineError: It has not finished, or was collected before.
        """
        with self._condition:
            job = self._known(job_id)
            if job.state not in FINAL_STATES:
                raise EngineError(f"Job {job_id} is {job.state}: wait for a final state first.")
            if job.outcome is None:
                raise EngineError(f"Job {job_id} was collected before: keep its first outcome.")
            outcome, job.outcome = job.outcome, None
        return outcome

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            self._run(job)
        self._release()

    def _next_job(self) -> LocalJob | None:
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._queue or self._closed is not None)
                if not self._queue:
                    return None
                job = self._queue.popleft()
                if not self._expired():
                    job.state = "RUNNING"
                    job.running = self._last_started = self._clock()
                    if self._started is None:
                        self._started = job.running
                    self._changed()
                    return job
                self._finish(job, failure="expired", error=f"The job did not start: {self._over()}")

    def _upcoming(self) -> JobRequest | None:
        with self._condition:
            return self._queue[0].request if self._queue else None

    def _run(self, job: LocalJob) -> None:
        request = job.request
        assert request is not None
        start = self._clock()
        try:
            self._prepare(request)
            if (upcoming := self._upcoming()) is not None:
                self._prepare(upcoming)
            simulated = self._simulate(request)
        except BaseException as error:
            # Of any kind: a job whose thread has ended would be waited for, for ever.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            with self._condition:
                usage_s = self._clock() - start
                self._finish(job, failure="internal", error=reason, usage_s=usage_s)
            return
        stop = self._clock()
        with self._condition:
            self._finish(job, simulated=simulated, usage_s=stop - start, span=(start, stop))

    def _finish(
        self,
        job: LocalJob,
        *,
        failure: FailureKind | None = None,
        error: str | None = None,
        simulated: Simulated | None = None,
        usage_s: float = 0.0,
        span: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        now = self._clock()
        if job.running is not None:
            self._last_completed = now
        self._usage_s += usage_s
        job.finish(
            now, failure=failure, error=error, simulated=simulated, usage_s=usage_s, span=span
        )
        self._changed()

    def _close_and_drop(self, reason: str) -> None:
        with self._condition:
            self.close()
            while self._queue:
                self._drop(self._queue.popleft(), reason)

    def _drop(self, job: LocalJob, reason: str) -> None:
        self._finish(job, failure="cancelled", error=reason)

    def _known(self, job_id: str) -> LocalJob:
        job = self._jobs.get(job_id)
        if job is None:
            raise LostJobError(f"Job {job_id} is not one of batch {self._id}.")
        return job

    def _has_news(self) -> bool:
        return self._changes != self._changes_seen or self._all_final()

    def _changed(self) -> None:
        self._changes += 1
        self._condition.notify_all()

    def _all_final(self) -> bool:
        return all(job.state in FINAL_STATES for job in self._jobs.values())

    def _expired(self) -> bool:
        deadline = self._deadline()
        return deadline is not None and self._clock() >= deadline

    def _ended(self) -> float | None:
        """When the batch stopped accepting jobs, or None."""
        over = self._deadline() if self._expired() else None
        return min((at for at in (self._closed, over) if at is not None), default=None)

    def _deadline(self) -> float | None:
        if self._max_time_s is None or self._started is None:
            return None
        return self._started + self._max_time_s

    def _over(self) -> str:
        return (
            f"batch {self._id} reached its max_time of {self._max_time_s} s; "
            "raise batch.max_time or run less."
        )


def _steady_clock() -> Callable[[], float]:
    """The time of day, immune to adjustments of the system's clock after the first reading."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
