"""A batch on this machine: jobs run one after the other, in the order of submission."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from qexp.core.model import (
    FINAL_STATES,
    FailureKind,
    JobOutcome,
    JobRequest,
    JobState,
    Progress,
    Span,
)
from qexp.core.raw import RawData, joined_raw
from qexp.errors import BatchOverError, EngineError, LostJobError
from qexp.text import one_line, utc_text

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult

_SLICE_S = 0.05
"""Longest sleep of `wait` between two calls of `is_stopped`."""


@dataclass(frozen=True)
class Simulated:
    """The simulation of one job."""

    result: PrimitiveResult[Any]
    executions: tuple[int, ...]  # circuit executions of each PUB
    options: Mapping[str, Any]  # the primitive's options in force
    backend_properties: Mapping[str, Any] | None = None  # the calibration that was simulated
    info: Mapping[str, Any] = field(default_factory=dict)  # simulator, method, versions
    methods: tuple[str, ...] = ()  # the simulation method of each PUB
    raw: RawData | None = None  # of a client-side Estimator


def joined(parts: Sequence[Simulated]) -> Simulated:
    """Return the simulations of consecutive PUBs of a job, or of parts of PUBs, as one."""
    from qiskit.primitives import PrimitiveResult

    from qexp.simulator.parts import wholes

    first = parts[0]
    if len(parts) == 1:
        return first
    found = dict(wholes([pub for part in parts for pub in part.result]))
    executions = [number for part in parts for number in part.executions]
    methods = [method for part in parts for method in part.methods]
    return replace(
        first,
        result=PrimitiveResult(found.values(), metadata=first.result.metadata),
        executions=tuple(executions[index] for index in found),
        methods=tuple(methods[index] for index in found if methods),
        raw=joined_raw([part.raw for part in parts if part.raw is not None]),
    )


@dataclass(eq=False)
class _Job:
    """A job of the batch; times are in seconds since the epoch."""

    id: str
    request: JobRequest | None  # None once the job has ended
    created: float
    state: JobState = "QUEUED"
    running: float | None = None
    finished: float | None = None
    usage_s: float = 0.0
    outcome: JobOutcome | None = None  # from the end of the job until it is collected


class LocalBatch:
    """Runs jobs in a thread of its own, with real times, states and usage.

    Args:
        backend_name: Name of the backend, for `details()`.
        simulate: Loads and simulates the PUBs of one job.
        prepare: Called with a job before it is simulated, and while it is with those after it, in
            order, as long as it returns True: so that no worker process waits for the next job.
        progress: Returns how far jobs are that have not ended, and the work of all jobs so far.
        release: Called when nothing is left to simulate, or when the batch is abandoned.
        max_time_s: Time to live, as on the service: this long after the start of the first job,
            the running job finishes, queued jobs fail and no job is accepted. None: no limit.
        clock: Returns seconds since the epoch, never decreasing.
    """

    def __init__(
        self,
        *,
        backend_name: str,
        simulate: Callable[[JobRequest], Simulated],
        prepare: Callable[[JobRequest], bool] = lambda _request: False,
        progress: Callable[[Sequence[JobRequest]], Progress] = lambda _requests: Progress(),
        release: Callable[[], None] = lambda: None,
        max_time_s: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.id = f"local-{uuid4()}"
        self._backend_name = backend_name
        self._simulate = simulate
        self._prepare = prepare
        self._progress_of = progress
        self._release = release
        self._max_time_s = max_time_s
        self._clock = clock or _steady_clock()
        self._condition = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[_Job] = deque()
        self._worker: threading.Thread | None = None
        self._changes = 0
        self._changes_seen = 0
        self._progress_seen = Progress()
        self._opened = self._clock()
        self._closed: float | None = None

    def details(self) -> dict[str, Any]:
        """Return all fields of `qiskit_ibm_runtime.Batch.details()`, with `mode` `"local"`.

        `interactive_timeout` and `active_timeout` are None: the batch never ends for being idle.
        """
        with self._condition:
            ended, usage_s = self._ended(), sum((job.usage_s for job in self._jobs.values()), 0.0)
            run = [job for job in self._jobs.values() if job.running is not None]
            started = [job.running for job in run if job.running is not None]
            completed = [job.finished for job in run if job.finished is not None]
            is_closed = ended is not None and self._all_final()
        first_started = _timestamp_or_none(min(started, default=None))
        closed_at = _timestamp(max([ended, *completed])) if is_closed and ended else None
        history = {"open": _timestamp(self._opened), "active": first_started, "closed": closed_at}
        reached = [(state, at) for state, at in history.items() if at is not None]
        return {
            "id": self.id,
            "backend_name": self._backend_name,
            "interactive_timeout": None,
            "max_time": self._max_time_s,
            "active_timeout": None,
            "state": reached[-1][0],
            "accepting_jobs": ended is None,
            "last_job_started": _timestamp_or_none(max(started, default=None)),
            "last_job_completed": _timestamp_or_none(max(completed, default=None)),
            "started_at": first_started,
            "closed_at": closed_at,
            "activated_at": first_started,
            "mode": "local",
            "usage_time": usage_s,
            "timestamps": [{"status": state, "timestamp": at} for state, at in reached],
        }

    def submit(self, request: JobRequest) -> str:
        """Queue one job and return its id.

        Raises:
            BatchOverError: The batch is closed or its `max_time` is over.
        """
        with self._condition:
            if self._closed is not None or self._expired():
                over = f"batch {self.id} is closed; open a new batch"
                raise BatchOverError(
                    f"partition {request.partition.index} was not submitted: "
                    f"{over if self._closed is not None else self._over()}"
                )
            job = _Job(str(uuid4()), request, created=self._clock())
            self._jobs[job.id] = job
            self._queue.append(job)
            if self._worker is None:
                # A daemon, so that Ctrl-C does not have to wait for the queue.
                self._worker = threading.Thread(target=self._work, name=self.id, daemon=True)
                self._worker.start()
            self._changed()
        return job.id

    def cancel(self) -> None:
        """Close, and cancel every queued job; the running one finishes."""
        self._close_and_drop("cancelled before it ran")

    def close(self) -> None:
        """Accept no more jobs; submitted ones still run. Can be repeated."""
        with self._condition:
            if self._closed is None:
                self._closed = self._clock()
                self._changed()

    def abandon(self) -> None:
        """Cancel, and end the running job too, which would end with this process."""
        self._close_and_drop("abandoned before it ran")
        self._release()

    def states(self) -> Mapping[str, JobState]:
        """Return job id -> state of every submitted job, in the order of submission."""
        with self._condition:
            self._changes_seen = self._changes
            return {job.id: job.state for job in self._jobs.values()}

    def progress(self) -> Progress:
        """Return how far its jobs are."""
        self._progress_seen = self._progress()
        return self._progress_seen

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        """Return once a state or the progress differs from what was last seen, or in `timeout_s`.

        Returns at once when no job is left that could change, or when `is_stopped` is True.
        """
        deadline = time.monotonic() + timeout_s
        while not is_stopped():
            left = deadline - time.monotonic()
            with self._condition:
                if self._condition.wait_for(self._has_news, timeout=max(0.0, min(left, _SLICE_S))):
                    self._changes_seen = self._changes
                    return
            if left <= _SLICE_S or self._progress() != self._progress_seen:
                return

    def collect(self, job_id: str) -> JobOutcome:
        """Return the outcome of a finished job, once: the batch does not keep it.

        Raises:
            LostJobError: The job is not one of this batch.
            EngineError: It has not finished, or was collected before.
        """
        with self._condition:
            job = self._jobs.get(job_id)
            if job is None:
                raise LostJobError(f"job {job_id} is not one of batch {self.id}")
            if job.state not in FINAL_STATES:
                raise EngineError(f"job {job_id} is {job.state}: wait for a final state first")
            if job.outcome is None:
                raise EngineError(f"job {job_id} was collected before: keep its first outcome")
            outcome, job.outcome = job.outcome, None
        return outcome

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            self._run(job)
        self._release()

    def _next_job(self) -> _Job | None:
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._queue or self._closed is not None)
                if not self._queue:
                    return None
                job = self._queue.popleft()
                if self._expired():
                    self._fail(job, "expired", f"the job did not start: {self._over()}")
                    continue
                job.state, job.running = "RUNNING", self._clock()
                self._changed()
                return job

    def _run(self, job: _Job) -> None:
        request, start = job.request, self._clock()
        assert request is not None
        try:
            with self._condition:
                jobs = [request, *(each.request for each in self._queue if each.request)]
            all(map(self._prepare, jobs))
            simulated = self._simulate(request)
        except BaseException as error:
            # Even SystemExit: if this thread ended, `wait` would wait for its jobs for ever.
            with self._condition:
                job.usage_s = self._clock() - start
                self._fail(job, "internal", one_line(f"{type(error).__name__}: {error}"))
            return
        stop = self._clock()
        span = _timestamp(start), _timestamp(stop)
        with self._condition:
            job.usage_s = stop - start
            self._end(
                job,
                "DONE",
                simulated.result,
                simulated.info,
                options=simulated.options,
                spans=tuple(
                    Span(*span, pub, size) for pub, size in enumerate(simulated.executions)
                ),
                backend_properties=simulated.backend_properties,
                raw=simulated.raw,
            )

    def _fail(self, job: _Job, failure: FailureKind, error: str) -> None:
        assert job.request is not None
        state: JobState = "CANCELLED" if failure == "cancelled" else "ERROR"
        options = job.request.primitive.options
        self._end(job, state, None, {}, failure=failure, error=error, options=options)

    def _end(
        self, job: _Job, state: JobState, result: Any, info: Mapping[str, Any], **fields: Any
    ) -> None:
        request = job.request
        assert request is not None
        # The request holds on to the loader of the circuits.
        job.request = None
        job.finished, job.state = self._clock(), state
        times = {"created": job.created, "running": job.running, "finished": job.finished}
        job.outcome = JobOutcome(
            job.id,
            request.partition.index,
            state,
            result,
            metrics={
                "timestamps": {name: _timestamp_or_none(time) for name, time in times.items()},
                "usage": {"qpu_charge_time_seconds": job.usage_s, "status": "complete"},
            },
            info={
                "primitive": request.primitive.kind,
                "implementation": request.primitive.implementation,
                "tags": list(request.tags),
                "seed": request.seed,
                **info,
            },
            attempt=request.attempt,
            batch_id=self.id,
            **fields,
        )
        self._changed()

    def _close_and_drop(self, reason: str) -> None:
        with self._condition:
            self.close()
            while self._queue:
                self._fail(self._queue.popleft(), "cancelled", reason)

    def _progress(self) -> Progress:
        with self._condition:
            requests = [job.request for job in self._jobs.values() if job.request is not None]
            num_final = len(self._jobs) - len(requests)
        return Progress(num_final) + self._progress_of(requests)

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
        """Return when the batch stopped accepting jobs, or None."""
        over = self._deadline() if self._expired() else None
        return min((at for at in (self._closed, over) if at is not None), default=None)

    def _deadline(self) -> float | None:
        started = [job.running for job in self._jobs.values() if job.running is not None]
        if self._max_time_s is None or not started:
            return None
        return min(started) + self._max_time_s

    def _over(self) -> str:
        return (
            f"batch {self.id} reached its max_time of {self._max_time_s} s; "
            f"raise batch.max_time or run less"
        )


def _timestamp(seconds: float) -> str:
    """Format a time in seconds since the epoch as ISO 8601 UTC."""
    return utc_text(datetime.fromtimestamp(seconds, UTC))


def _timestamp_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else _timestamp(seconds)


def _steady_clock() -> Callable[[], float]:
    """Return a clock of seconds since the epoch that ignores adjustments of the system's clock."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
