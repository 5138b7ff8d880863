"""The queue: takes jobs in, runs them one after the other, keeps the sessions' state."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Any

from tests.emulator.devices import devices
from tests.emulator.errors import InvalidJobError, RefusedError
from tests.emulator.programs import run_program
from tests.emulator.state import BATCH_MAX_TTL_S, PENDING, Job, JobStatus, Session, now

if TYPE_CHECKING:
    from tests.emulator.simulate import Truth

SESSION_CLOSED = 1217
JOB_NOT_FOUND = 1291
SESSION_NOT_FOUND = 1210
BACKEND_NOT_FOUND = 1007
TOO_MANY_TAGS = 1204
MAX_TAGS = 8


class Queue:
    """All jobs and sessions of one emulator; every method may be called from any thread.

    Attributes:
        jobs: By id, in order of submission.
        sessions: By id.
        results: What each completed job measured, by job id.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.sessions: dict[str, Session] = {}
        self.results: dict[str, Truth] = {}
        self._changed = threading.Condition(threading.RLock())
        self._held = False
        self._stopping = False
        self._failure: tuple[str, int] | None = None
        self._thread = threading.Thread(target=self._work, name="emulated-qpu", daemon=True)

    def start(self) -> None:
        """Start running jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the job that runs, leave the others."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def hold(self) -> None:
        """Start no job until `release()`."""
        with self._changed:
            self._held = True

    def release(self) -> None:
        """Start jobs again."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def fail_next_job(self, reason: str, code: int) -> None:
        """The next job that starts fails, with this reason and reason code."""
        with self._changed:
            self._failure = (reason, code)

    def expire_session(self, session_id: str) -> None:
        """Let a session's `max_ttl` pass now: its queued jobs fail, it takes no more."""
        with self._changed:
            self._session(session_id).enter("closed")
            for job in self._pending_of(session_id):
                if job.status == "Queued":
                    self._end(
                        job, "Failed", "Session has reached its maximum time.", SESSION_CLOSED
                    )

    def wait_until_idle(self, timeout_s: float = 120.0) -> None:
        """Return when no job is queued or running.

        Raises:
            TimeoutError: If some still are after `timeout_s`.
        """
        with self._changed:
            idle = self._changed.wait_for(
                lambda: not any(job.status in PENDING for job in self.jobs.values()), timeout_s
            )
        if not idle:
            raise TimeoutError(f"jobs are still pending after {timeout_s} s")

    def open_session(self, instance: str, body: dict[str, Any]) -> dict[str, Any]:
        """`POST /sessions`."""
        self._device(body.get("backend"))
        ttl_s = body.get("max_ttl", BATCH_MAX_TTL_S)
        session = Session(instance, body["backend"], body.get("mode", "dedicated"), ttl_s)
        with self._changed:
            self.sessions[session.id] = session
            return session.view()

    def session_view(self, session_id: str) -> dict[str, Any]:
        """`GET /sessions/{id}`."""
        with self._changed:
            return self._session(session_id).view()

    def stop_accepting(self, session_id: str) -> None:
        """`PATCH /sessions/{id}`: no more jobs; closed as soon as none is pending."""
        with self._changed:
            session = self._session(session_id)
            session.accepting_jobs = False
            self._close_if_done(session)

    def cancel_session(self, session_id: str) -> None:
        """`DELETE /sessions/{id}/close`: queued jobs are cancelled."""
        with self._changed:
            session = self._session(session_id)
            session.accepting_jobs = False
            for job in self._pending_of(session_id):
                if job.status == "Queued":
                    self._end(job, "Cancelled")
            self._close_if_done(session)

    def submit(self, job: Job) -> None:
        """`POST /jobs`."""
        self._device(job.body.get("backend"))
        job.tags = check_tags(job.body.get("tags", []))
        with self._changed:
            if job.session_id is not None:
                session = self._session(job.session_id)
                if not session.accepting_jobs:
                    raise RefusedError(400, SESSION_CLOSED, f"Session {session.id} is closed.")
            self.jobs[job.id] = job
            self._changed.notify_all()

    def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            RefusedError: If there is none of this id.
        """
        with self._changed:
            if job_id not in self.jobs:
                raise RefusedError(404, JOB_NOT_FOUND, f"Job not found. Job ID: {job_id}")
            return self.jobs[job_id]

    def all_jobs(self) -> list[Job]:
        """All jobs in order of submission."""
        with self._changed:
            return list(self.jobs.values())

    def cancel(self, job_id: str) -> None:
        """`POST /jobs/{id}/cancel`."""
        with self._changed:
            job = self.job(job_id)
            if job.status not in PENDING:
                raise RefusedError(409, 1292, f"Job {job_id} is in a final state.")
            self._end(job, "Cancelled")

    def delete(self, job_id: str) -> None:
        """`DELETE /jobs/{id}`."""
        with self._changed:
            self.job(job_id)
            del self.jobs[job_id]

    def _device(self, name: str | None) -> None:
        if name not in devices():
            raise RefusedError(404, BACKEND_NOT_FOUND, f"Backend not found: {name}")

    def _session(self, session_id: str) -> Session:
        if session_id not in self.sessions:
            raise RefusedError(404, SESSION_NOT_FOUND, f"Session not found: {session_id}")
        return self.sessions[session_id]

    def _pending_of(self, session_id: str) -> list[Job]:
        return [
            job
            for job in self.jobs.values()
            if job.session_id == session_id and job.status in PENDING
        ]

    def _close_if_done(self, session: Session) -> None:
        if not session.accepting_jobs and not self._pending_of(session.id):
            session.enter("closed")

    def _end(
        self, job: Job, status: JobStatus, reason: str | None = None, code: int | None = None
    ) -> None:
        # The status comes last: whoever reads it without the lock finds the rest in place.
        job.reason, job.reason_code, job.finished, job.status = reason, code, now(), status
        if job.session_id is not None:
            session = self._session(job.session_id)
            if job.started is not None:
                session.last_job_completed = job.finished
                session.usage_s = (session.usage_s or 0.0) + job.usage_s
            self._close_if_done(session)
        self._changed.notify_all()

    def _next(self) -> Job | None:
        if self._held:
            return None
        return next(
            (
                job
                for job in self.jobs.values()
                if job.status == "Queued" and devices()[job.backend].availability == "online"
            ),
            None,
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next() is not None)
                job = self._next()
                if self._stopping or job is None:
                    return
                job.status, job.started = "Running", now()
                if job.session_id is not None:
                    session = self._session(job.session_id)
                    session.enter("active")
                    session.last_job_started = job.started
                failure, self._failure = self._failure, None
            self._run(job, failure)

    def _run(self, job: Job, failure: tuple[str, int] | None) -> None:
        try:
            if failure is not None:
                raise InvalidJobError(*failure)
            outcome = run_program(job)
        except Exception as error:
            reason, code = f"Internal error: {error}", 1000
            if isinstance(error, InvalidJobError):
                reason, code = error.reason, error.code
            with self._changed:
                job.result = traceback.format_exc()
                if job.status == "Running":
                    self._end(job, "Failed", reason, code)
            return
        with self._changed:
            if job.status == "Running":
                job.result, job.usage_s = outcome.text, outcome.usage_s
                self.results[job.id] = outcome.truth
                self._end(job, "Completed")


def check_tags(tags: list[str]) -> list[str]:
    """The tags, if the service would take them."""
    if len(tags) > MAX_TAGS:
        raise RefusedError(
            400, TOO_MANY_TAGS, f"{len(tags)} tags exceed the maximum of {MAX_TAGS}."
        )
    return list(tags)
