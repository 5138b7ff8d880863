"""The queue: takes jobs in, runs them one after the other, keeps the sessions' state."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from tests.emulator.devices import devices
from tests.emulator.discovery import Tokens, instance_names
from tests.emulator.errors import InvalidJobError, RefusedError
from tests.emulator.limits import Limits, check_tags
from tests.emulator.programs import run_program
from tests.emulator.saved import jobs_from, results_from, sessions_from, to_json
from tests.emulator.state import BATCH_MAX_TTL_S, PENDING, Failure, Job, JobStatus, Session, now

if TYPE_CHECKING:
    from tests.emulator.simulate import Truth

SESSION_CLOSED = 1217
JOB_NOT_FOUND = 1291
SESSION_NOT_FOUND = 1210
BACKEND_NOT_FOUND = 1007


class Queue:
    """All jobs and sessions of one emulator; every method may be called from any thread.

    Attributes:
        jobs: By id, in order of submission.
        sessions: By id.
        results: What each completed job measured, by job id.
        taken: All jobs there ever were, deleted ones too, in order of submission.
        limits: What it allows.
        tokens: Who may enter.
        instances: Names of the instances, by CRN.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.sessions: dict[str, Session] = {}
        self.results: dict[str, Truth] = {}
        self.taken: list[Job] = []
        self.limits = Limits()
        self.tokens = Tokens()
        self.instances = instance_names()
        self._changed = threading.Condition(threading.RLock())
        self._held = False
        self._stopping = False
        self._stalls: Literal["no", "next", "now"] = "no"
        self._failures: deque[Failure] = deque()
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

    def fail_next_job(
        self, reason: str, code: int, *, at: Literal["queue", "start", "end"] = "start"
    ) -> None:
        """The next job whose turn it is fails; called twice, the one after it too.

        Args:
            reason: As the service tells it.
            code: The service's reason code.
            at: In the queue, before it starts; when it starts to run; or after it was executed.
        """
        with self._changed:
            self._failures.append(Failure(reason, code, at))

    def stall_next_job(self) -> None:
        """The next job that starts keeps running until `end_stall()`, or until it is cancelled."""
        with self._changed:
            self._stalls = "next"

    def end_stall(self) -> None:
        """Let the job that stalls go on."""
        with self._changed:
            self._stalls = "no"
            self._changed.notify_all()

    def wait_until_running(self, timeout_s: float = 60.0) -> str:
        """Return the id of the job that runs, as soon as one does.

        Raises:
            TimeoutError: If none does after `timeout_s`.
        """

        def running() -> str | None:
            return next((key for key, job in self.jobs.items() if job.status == "Running"), None)

        with self._changed:
            job_id = self._changed.wait_for(running, timeout_s)
        if job_id is None:
            raise TimeoutError(f"no job runs after {timeout_s} s")
        return job_id

    def expire_session(self, session_id: str) -> None:
        """Let a session's `max_ttl` pass now: it takes no more jobs, and none of its queue runs."""
        with self._changed:
            self._expire(self._session(session_id))

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the `max_ttl` of each session that has begun; else none does."""
        with self._changed:
            for session in self.sessions.values():
                if session.remaining_s is not None:
                    session.remaining_s -= seconds
                    if session.remaining_s <= 0:
                        self._expire(session)

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

    def saved(self) -> dict[str, Any]:
        """Return all sessions and jobs as plain JSON."""
        with self._changed:
            return to_json(self.taken, self.jobs, self.sessions, self.results)

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over the sessions and jobs that another queue saved; queued jobs are run.

        Raises:
            ValueError: If there is a session or a job already.
        """
        with self._changed:
            if self.sessions or self.taken:
                raise ValueError("an emulator that has sessions or jobs cannot load others")
            self.sessions.update(sessions_from(saved))
            taken, kept = jobs_from(saved)
            self.taken.extend(taken)
            self.jobs.update(kept)
            self.results.update(results_from(saved))
            self._changed.notify_all()

    def open_session(self, instance: str, body: dict[str, Any]) -> dict[str, Any]:
        """`POST /sessions`."""
        self._device(body.get("backend"))
        ttl_s = body.get("max_ttl", BATCH_MAX_TTL_S)
        session = Session(instance, body["backend"], body.get("mode", "dedicated"), ttl_s)
        with self._changed:
            self.sessions[session.id] = session
            return session.view()

    def check_instance(self, session_id: str, instance: str) -> None:
        """Check that a session is one of this instance.

        Raises:
            RefusedError: If it is not.
        """
        with self._changed:
            if self._session(session_id).instance != instance:
                raise RefusedError(404, SESSION_NOT_FOUND, f"Session not found: {session_id}")

    def move(self, instance: str, target: str) -> None:
        """Move all sessions and jobs of an instance to another one."""
        with self._changed:
            for owned in (*self.sessions.values(), *self.taken):
                if owned.instance == instance:
                    owned.instance = target

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
            pending = sum(
                other.status in PENDING and other.instance == job.instance
                for other in self.jobs.values()
            )
            self.limits.admit(len(job.raw.encode()), pending, self.used_s(job.instance))
            if job.session_id is not None:
                session = self._session(job.session_id)
                if not session.accepting_jobs:
                    raise RefusedError(400, SESSION_CLOSED, f"Session {session.id} is closed.")
            self.jobs[job.id] = job
            self.taken.append(job)
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

    def used_s(self, instance: str) -> float:
        """QPU seconds that an instance was charged."""
        with self._changed:
            return sum(job.usage_s for job in self.taken if job.instance == instance)

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

    def _expire(self, session: Session) -> None:
        session.enter("closed")
        for job in self._pending_of(session.id):
            if job.status == "Queued" and self.limits.at_max_ttl == "cancel":
                self._end(job, "Cancelled")
            elif job.status == "Queued":
                self._end(job, "Failed", "Session has reached its maximum time.", SESSION_CLOSED)

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
                while (job := self._next()) is None and not self._stopping:
                    self._changed.wait()
                if self._stopping or job is None:
                    return
                failure = self._failures.popleft() if self._failures else None
                if failure is not None and failure.at == "queue":
                    self._end(job, "Failed", failure.reason, failure.code)
                    continue
                self._begin(job)
                self._stall(job)
            if job.status == "Running":
                self._run(job, failure)

    def _begin(self, job: Job) -> None:
        job.status, job.started = "Running", now()
        if job.session_id is not None:
            session = self._session(job.session_id)
            session.enter("active")
            session.last_job_started = job.started
        self._changed.notify_all()

    def _stall(self, job: Job) -> None:
        if self._stalls == "no":
            return
        self._stalls = "now"
        self._changed.wait_for(
            lambda: self._stopping or self._stalls != "now" or job.status != "Running"
        )
        if self._stalls == "now":
            self._stalls = "no"

    def _run(self, job: Job, failure: Failure | None) -> None:
        try:
            if failure is not None and failure.at == "start":
                raise InvalidJobError(failure.reason, failure.code)
            outcome = run_program(job)
            self._charge(job, outcome.usage_s)
            if failure is not None:
                raise InvalidJobError(failure.reason, failure.code)
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
                job.result = outcome.text
                self.results[job.id] = outcome.truth
                self._end(job, "Completed")

    def _charge(self, job: Job, usage_s: float) -> None:
        with self._changed:
            job.ran = True
            if job.status == "Running":
                job.usage_s = usage_s
