"""One batch of IBM's service: jobs are submitted to it, polled together and collected."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from qexp.core.model import FINAL_STATES, JobOutcome, JobRequest, JobState, Span
from qexp.engines.ibm.calibration import Calibrations
from qexp.engines.ibm.client import one_line, redacted, service_call
from qexp.engines.ibm.spans import spans_of
from qexp.engines.primitives import make_primitive
from qexp.errors import EngineError
from qexp.redact import redact

if TYPE_CHECKING:
    from qiskit_ibm_runtime import IBMBackend

_log = logging.getLogger(__name__)

_PAGE = 200
"""Jobs in one reply to a list request (the service's maximum)."""

_RAN_TOO_LONG = 1305
"""Reason code of a job that was ended at its time limit; the service may call it cancelled."""


@dataclass
class _Job:
    """A submitted job; `seen` is what the last list request said of it."""

    handle: Any
    partition: int
    num_pubs: int
    options: Mapping[str, Any]
    state: JobState = "QUEUED"
    seen: dict[str, Any] = field(default_factory=dict)


class IBMBatch:
    """A `qiskit_ibm_runtime.Batch`, opened at construction.

    Args:
        backend: The backend.
        max_time_s: Time to live, from the start of the first job on; None is the service's.
        poll_interval_s: The longest that `wait` sleeps.
        sleep: Sleeps for some seconds.

    Raises:
        EngineError: The service refused the batch or could not be reached.
    """

    def __init__(
        self,
        backend: IBMBackend,
        *,
        max_time_s: int | None,
        poll_interval_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        from qiskit_ibm_runtime import Batch

        self._backend = backend
        self._poll_interval_s = poll_interval_s
        self._sleep = sleep
        self._jobs: dict[str, _Job] = {}
        self._calibrations = Calibrations(backend)
        self._closed = False
        with service_call(f"opening the batch on {backend.name}"):
            self._batch = Batch(backend, max_time=max_time_s)
        if self._batch.session_id is None:
            raise EngineError(f"opening the batch on {backend.name}: the service gave it no id")
        self._id: str = self._batch.session_id

    @property
    def id(self) -> str:
        """The service's session id."""
        return self._id

    def details(self) -> dict[str, Any]:
        """All fields of `Batch.details()`, by one request."""
        with service_call(f"reading the details of batch {self._id}"):
            details = self._batch.details()
        if not details:
            raise EngineError(f"the service knows nothing of batch {self._id}")
        return cast(dict[str, Any], redacted(details))

    def submit(self, request: JobRequest) -> str:
        """Submit one job by the client's own three requests and return its id."""
        index = request.partition.index
        pubs = request.load_pubs()
        primitive = make_primitive(request.primitive, self._batch, request.tags)
        with service_call(f"submitting partition {index} to batch {self._id}"):
            from requests import RequestException

            try:
                handle = primitive.run(pubs)
            except RequestException:
                raise  # Some of these are ValueErrors too.
            except ValueError as error:
                # Checks of IBM's client: not ISA, a faulty qubit, an angle out of range.
                raise EngineError(f"partition {index} was refused: {one_line(error)}") from None
        job_id: str = handle.job_id()
        self._jobs[job_id] = _Job(handle, index, len(pubs), primitive.options)
        return job_id

    def close(self) -> None:
        """Accept no more jobs; what is submitted still runs. Can be repeated until it succeeds."""
        if not self._closed:
            with service_call(f"closing batch {self._id}"):
                self._batch.close()
            self._closed = True

    def abandon(self) -> None:
        """Close; the service runs what is queued, and it can be fetched later by its ids."""
        self.close()

    def queue_length(self) -> int | None:
        """Jobs of all users that wait for the backend, by one request."""
        with service_call(f"reading the status of {self._backend.name}"):
            pending: int = self._backend.status().pending_jobs
        return pending

    def states(self) -> Mapping[str, JobState]:
        """The state of every submitted job, by one list request (per 200 unfinished jobs)."""
        pending = {key for key, job in self._jobs.items() if job.state not in FINAL_STATES}
        offset = 0
        while pending:
            with service_call(f"listing the jobs of batch {self._id}"):
                # service.jobs() would throw the states away and ask for each job again.
                client = self._batch.service._get_api_client(self._backend._instance)
                reply = client.jobs_get(limit=_PAGE, skip=offset, session_id=self._id)
            # Newest first, so that what is unfinished is on the first page.
            page = reply.get("jobs", ())
            for entry in page:
                if entry["id"] in pending:
                    job = self._jobs[entry["id"]]
                    job.seen, job.state = entry, _state_of(entry)
                    pending.discard(entry["id"])
            offset += len(page)
            if not page or offset >= reply.get("count", 0):
                break
        return {job_id: job.state for job_id, job in self._jobs.items()}

    def wait(self, timeout_s: float) -> None:
        """Sleep for the poll interval, or `timeout_s` if that is shorter."""
        self._sleep(max(0.0, min(timeout_s, self._poll_interval_s)))

    def collect(self, job_id: str) -> JobOutcome:
        """Fetch a finished job by at most three requests: result, metrics, calibration.

        A failed job costs its metrics and its log. A result that is not what the job promised is
        an outcome in state ERROR whose `info["service_state"]` says DONE.

        Raises:
            EngineError: The job is unknown or unfinished, or the service could not be reached;
                collecting can be repeated then.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise EngineError(f"job {job_id} was not submitted to batch {self._id}")
        if job.state not in FINAL_STATES:
            self.states()
        if job.state not in FINAL_STATES:
            raise EngineError(f"job {job_id} is {job.state}: it has nothing to collect yet")
        with service_call(f"fetching the metrics of job {job_id}"):
            metrics = redacted(job.handle.metrics())
        info = self._info(job)
        outcome = JobOutcome(
            job_id, job.partition, job.state, None, metrics=metrics, options=job.options, info=info
        )
        if job.state == "DONE":
            return self._with_result(outcome, job)
        return self._with_error(outcome, job)

    def _with_result(self, outcome: JobOutcome, job: _Job) -> JobOutcome:
        started = (outcome.metrics.get("timestamps") or {}).get("running")
        outcome = replace(outcome, backend_properties=self._calibrations.at(started))
        with service_call(f"fetching the result of job {outcome.job_id}"):
            result, problem = _fetch_result(job)
        if problem:
            return replace(
                outcome,
                state="ERROR",
                error=f"the result was not delivered: {problem}",
                info={**outcome.info, "service_state": "DONE"},
            )
        return replace(outcome, result=result, spans=_spans(result, outcome.job_id))

    def _with_error(self, outcome: JobOutcome, job: _Job) -> JobOutcome:
        state = _state_entry(job.seen)
        code, reason = _reason_code(state), state.get("reason")
        info = dict(outcome.info)
        with service_call(f"fetching the log of job {outcome.job_id}"):
            from qiskit_ibm_runtime.exceptions import IBMError

            try:
                if reason:
                    _tell_state(job)
                else:
                    reason = job.handle.error_message()
                info["logs"] = redact(job.handle.logs())
            except IBMError as error:
                _log.warning("job %s: its log cannot be read: %s", outcome.job_id, one_line(error))
        default = "cancelled" if outcome.state == "CANCELLED" else "the service gave no reason"
        return replace(outcome, error=redact(str(reason or default)), error_code=code, info=info)

    def _info(self, job: _Job) -> dict[str, Any]:
        from qiskit_ibm_runtime import __version__

        estimate = job.seen.get("estimated_running_time_seconds")
        solution = _state_entry(job.seen).get("reason_solution")
        known = {
            "tags": list(job.handle.tags or ()),
            "primitive_id": job.handle.primitive_id,
            "session_id": self._id,
            "backend": self._backend.name,
            "created": job.seen.get("created"),
            "private": bool(job.handle.private),
            "usage_estimation": {"quantum_seconds": estimate},
            "reason_solution": solution,
            "client": f"qiskit-ibm-runtime {__version__}",
        }
        return cast(dict[str, Any], redacted({k: v for k, v in known.items() if v is not None}))


def _state_of(entry: Mapping[str, Any]) -> JobState:
    """The state of a job as the client would map it."""
    from qiskit_ibm_runtime.runtime_job_v2 import API_TO_JOB_STATUS

    state = _state_entry(entry)
    status = str(state.get("status") or "").upper()
    if status.startswith("CANCELLED"):
        too_long = _reason_code(state) == _RAN_TOO_LONG or "TOO LONG" in status
        return "ERROR" if too_long else "CANCELLED"
    return cast(JobState, API_TO_JOB_STATUS.get(status, "INITIALIZING"))


def _state_entry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `state` of a listed job; older replies have only a status."""
    state = entry.get("state")
    return state if isinstance(state, Mapping) else {"status": state or entry.get("status")}


def _reason_code(state: Mapping[str, Any]) -> int | None:
    try:
        return int(state.get("reason_code") or state["reasonCode"])
    except (KeyError, TypeError, ValueError):
        return None


def _tell_state(job: _Job) -> None:
    """Tell IBM's job object what the list request said; it would ask for it once more."""
    if isinstance(job.seen.get("state"), Mapping):
        job.handle._set_status(job.seen)


def _fetch_result(job: _Job) -> tuple[Any, str | None]:
    """The decoded result, or what is wrong with it. Errors of the service pass."""
    from qiskit.primitives import PrimitiveResult
    from qiskit_ibm_runtime.exceptions import IBMError
    from requests import RequestException

    _tell_state(job)
    try:
        result = job.handle.result()
    except (IBMError, RequestException, OSError):
        raise
    except Exception as error:  # Whatever a decoder trips over in a damaged reply.
        return None, f"it cannot be decoded ({type(error).__name__}: {one_line(error)})"
    if not isinstance(result, PrimitiveResult):
        return None, f"the client returned {type(result).__name__} instead of a PrimitiveResult"
    if len(result) != job.num_pubs:
        return None, f"it holds {len(result)} PUB results instead of {job.num_pubs}"
    return result, None


def _spans(result: Any, job_id: str) -> tuple[Span, ...]:
    try:
        return spans_of(result)
    except Exception as error:  # A result must not be lost for its timing.
        _log.warning("job %s: its execution spans cannot be read: %s", job_id, one_line(error))
        return ()
