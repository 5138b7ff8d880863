"""A batch on this machine: jobs run one after the other, in the order of submission."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from qexp.core.model import FINAL_STATES, JobOutcome, JobRequest, JobState, Span
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult

    from qexp.core.model import Pub


@dataclass(frozen=True)
class Simulated:
    """What the simulation of one job gives.

    Attributes:
        result: The job's result.
        executions: Circuit executions of each PUB.
        options: The primitive's options in force.
        backend_properties: The calibration that was simulated, or None.
        info: How it was simulated.
    """

    result: PrimitiveResult[Any]
    executions: tuple[int, ...]
    options: Mapping[str, Any]
    backend_properties: Mapping[str, Any] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


Simulate: TypeAlias = "Callable[[JobRequest, Sequence[Pub]], Simulated]"


@dataclass
class _Job:
    id: str
    partition: int
    created: float
    request: JobRequest | None
    state: JobState = "QUEUED"
    running: float | None = None
    finished: float | None = None
    outcome: JobOutcome | None = None


class LocalBatch:
    """Runs jobs in one worker thread; times, states and usage are what really happened.

    Args:
        backend_name: Name of the backend, for `details()`.
        simulate: Simulates one job.
        max_time_s: As on the service: from this long after the start of the first job on, the
            running job finishes, queued jobs fail and no job is accepted. None means no limit.
        clock: Seconds since the epoch, never decreasing.
    """

    def __init__(
        self,
        *,
        backend_name: str,
        simulate: Simulate,
        max_time_s: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._id = f"local-{uuid4()}"
        self._backend_name = backend_name
        self._simulate = simulate
        self._max_time_s = max_time_s
        self._clock = clock or _steady_clock()
        self._condition = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[_Job] = deque()
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
            "last_job_started": _iso(last_started),
            "last_job_completed": _iso(last_completed),
            "started_at": _iso(started),
            "closed_at": _iso(closed_at),
            "activated_at": _iso(started),
            "mode": "local",
            "usage_time": usage_s,
            "timestamps": [{"status": state, "timestamp": _iso(at)} for state, at in reached],
        }

    def submit(self, request: JobRequest) -> str:
        """Queue one job and return its id.

        Raises:
            EngineError: If the batch is closed or its `max_time` is over.
        """
        with self._condition:
            if self._closed is not None:
                raise EngineError(
                    f"Partition {request.partition.index} was not submitted: batch {self._id} is "
                    "closed; open a new batch."
                )
            if self._expired():
                raise EngineError(
                    f"Partition {request.partition.index} was not submitted: {self._over()}"
                )
            job = _Job(str(uuid4()), request.partition.index, self._clock(), request)
            self._jobs[job.id] = job
            self._queue.append(job)
            if self._worker is None:
                # A daemon, so that Ctrl-C does not have to wait for the queue.
                self._worker = threading.Thread(target=self._work, name=self._id, daemon=True)
                self._worker.start()
            self._changed()
        return job.id

    def close(self) -> None:
        """Accept no more jobs; what is submitted still runs. Idempotent."""
        with self._condition:
            if self._closed is None:
                self._closed = self._clock()
                self._changed()

    def queue_length(self) -> None:
        """None: a simulator has no queue."""

    def abandon(self) -> None:
        """Close, and cancel every queued job; the one that is running finishes."""
        self.close()
        with self._condition:
            while self._queue:
                self._finish(self._queue.popleft(), "CANCELLED", error="Abandoned before it ran.")

    def states(self) -> Mapping[str, JobState]:
        """The state of every submitted job, by id, in the order of submission."""
        with self._condition:
            self._changes_seen = self._changes
            return {job.id: job.state for job in self._jobs.values()}

    def wait(self, timeout_s: float) -> None:
        """Return once a state differs from what `states` last said, or after `timeout_s`.

        Returns at once when no job is left that could change.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: self._changes != self._changes_seen or self._all_final(),
                timeout=timeout_s,
            )
            self._changes_seen = self._changes

    def collect(self, job_id: str) -> JobOutcome:
        """The outcome of a finished job. It is handed over once: the batch does not keep it.

        Raises:
            EngineError: If the job is unknown, not finished, or was collected before.
        """
        with self._condition:
            job = self._jobs.get(job_id)
            if job is None:
                raise EngineError(f"Job {job_id} is not one of batch {self._id}.")
            if job.state not in FINAL_STATES:
                raise EngineError(f"Job {job_id} is {job.state}: wait for a final state first.")
            if job.outcome is None:
                raise EngineError(f"Job {job_id} was collected before: keep its first outcome.")
            outcome, job.outcome = job.outcome, None
        return outcome

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            self._run(job)

    def _next_job(self) -> _Job | None:
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
                self._finish(job, "ERROR", error=f"The job did not start: {self._over()}")

    def _run(self, job: _Job) -> None:
        request = job.request
        assert request is not None
        start = self._clock()
        try:
            pubs = request.load_pubs()
            start = self._clock()
            simulated = self._simulate(request, pubs)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            with self._condition:
                self._finish(job, "ERROR", error=reason, usage_s=self._clock() - start)
            return
        stop = self._clock()
        with self._condition:
            self._finish(job, "DONE", simulated=simulated, usage_s=stop - start, span=(start, stop))

    def _finish(
        self,
        job: _Job,
        state: JobState,
        *,
        error: str | None = None,
        simulated: Simulated | None = None,
        usage_s: float = 0.0,
        span: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        request = job.request
        assert request is not None
        # The request holds on to the loader of the circuits.
        job.request = None
        job.finished = self._clock()
        if job.running is not None:
            self._last_completed = job.finished
        job.state = state
        self._usage_s += usage_s
        start, stop = (_timestamp(seconds) for seconds in span)
        job.outcome = JobOutcome(
            job_id=job.id,
            partition=job.partition,
            state=state,
            result=simulated.result if simulated else None,
            error=error,
            metrics={
                "timestamps": {
                    "created": _iso(job.created),
                    "running": _iso(job.running),
                    "finished": _iso(job.finished),
                },
                "usage": {"qpu_charge_time_seconds": usage_s, "status": "complete"},
            },
            options=simulated.options if simulated else request.primitive.options,
            spans=tuple(
                Span(start, stop, pub, size)
                for pub, size in enumerate(simulated.executions if simulated else ())
            ),
            backend_properties=simulated.backend_properties if simulated else None,
            info={
                "primitive": request.primitive.kind,
                "implementation": request.primitive.implementation,
                "tags": list(request.tags),
                "seed": request.seed,
                **(simulated.info if simulated else {}),
            },
        )
        self._changed()

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


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else _timestamp(seconds)
