"""What befalls jobs rather than replies, and a witness of what the client was told.

Each goes into `IBMEmulator.faults`, like those of `tests.emulator.faults`; the witness comes first.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tests.emulator.faults import (
    JOB,
    LIST_JOBS,
    METRICS,
    POST_JOB,
    RESULTS,
    Endpoint,
    Scripted,
    first,
)

if TYPE_CHECKING:
    from tests.emulator.emulator import IBMEmulator
    from tests.emulator.routes import Request, Response
    from tests.emulator.state import Job


class Witness:
    """Notes what was told of each job, as it left the service, and what other mishaps did to it.

    Attributes:
        told: Ids of the jobs that a listing named, or an answer to a question after them.
        doubled: Ids of the jobs that were made out of a request sent once, besides the first.
        unlisted: How many listings by a tag lacked a job that exists.
        unmeasured: Ids of the jobs of which the service said that it has no metrics, if it never
            told them.
    """

    def __init__(self, emulator: IBMEmulator) -> None:
        self.told: set[str] = set()
        self.doubled: set[str] = set()
        self.unlisted: Counter[str] = Counter()
        self.unmeasured: set[str] = set()
        self._emulator = emulator
        self._spoiled: Counter[str] = Counter()

    def intercept(self, request: Request, proceed: Callable[[], Response]) -> Response:
        """The reply to a request, which is left as it is."""
        reply = proceed()
        if reply.drop:
            return reply
        if reply.status == 200 and (LIST_JOBS.is_of(request) or JOB.is_of(request)):
            with suppress(json.JSONDecodeError):
                text = json.dumps(json.loads(reply.text))
                self.told.update(job.id for job in self._emulator.taken if job.id in text)
        if RESULTS.is_of(request):
            self._note_result(request.path.split("/")[2], reply)
        if METRICS.is_of(request) and reply.status in (200, 404):
            change = self.unmeasured.add if reply.status == 404 else self.unmeasured.discard
            change(request.path.split("/")[2])
        return reply

    def _note_result(self, job_id: str, reply: Response) -> None:
        job = next((job for job in self._emulator.taken if job.id == job_id), None)
        if job is None or job.status != "Completed":
            return
        if reply.status == 200 and reply.text == job.result:
            self._spoiled[job_id] = 0
        elif reply.status in (200, 404):
            self._spoiled[job_id] += 1

    def was_undelivered(self, job: Job) -> bool:
        """Whether a result was damaged or missing when it was last fetched, more than once.

        Who had it before that may have been killed before it was on disk.
        """
        return self._spoiled[job.id] > 1


def doubled(
    endpoint: Endpoint,
    witness: Witness,
    emulator: IBMEmulator,
    *,
    nth: int,
    is_first_told: bool = False,
) -> Scripted:
    """A proxy sends a request twice, and tells the reply to one of them."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        first = proceed()
        second, made = _watched(emulator, proceed)
        witness.doubled.update(job.id for job in made)
        return first if is_first_told else second

    return Scripted(endpoint, act, nth)


def cancelled(emulator: IBMEmulator, *, nth: int) -> Scripted:
    """Somebody cancels the n-th job before it runs."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        emulator.hold()
        reply, made = _watched(emulator, proceed)
        for job in made:
            emulator.cancel_job(job.id)
        emulator.release()
        return reply

    return Scripted(POST_JOB, act, nth)


def expired(emulator: IBMEmulator, *, nth: int) -> Scripted:
    """The batch of the n-th job runs out of time while that job is queued."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        emulator.hold()
        reply, made = _watched(emulator, proceed)
        for job in made:
            if job.session_id is not None:
                emulator.expire_session(job.session_id)
        emulator.release()
        return reply

    return Scripted(POST_JOB, act, nth)


def _watched(emulator: IBMEmulator, proceed: Callable[[], Response]) -> tuple[Response, list[Job]]:
    """The reply to a request, and the jobs that were made by it."""
    before = len(emulator.taken)
    reply = proceed()
    return reply, emulator.taken[before:]


def failing(
    emulator: IBMEmulator, code: int, at: Literal["queue", "start", "end"], *, nth: int
) -> Scripted:
    """The n-th job fails."""
    reason = f"Emulated failure {code}."
    return first(POST_JOB, lambda: emulator.fail_next_job(reason, code, at=at), nth=nth)


def busy(emulator: IBMEmulator, seconds: float, *, nth: int) -> Scripted:
    """The device takes no job for a while, from the n-th submission on."""

    def hold() -> None:
        emulator.hold()
        timer = threading.Timer(seconds, emulator.release)
        timer.daemon = True
        timer.start()

    return first(POST_JOB, hold, nth=nth)


@dataclass
class Late:
    """The n-th job that is submitted is left out of the listings that follow.

    Attributes:
        listings: Of how many that would name it.
    """

    emulator: IBMEmulator
    witness: Witness
    nth: int
    listings: int
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def intercept(self, request: Request, proceed: Callable[[], Response]) -> Response:
        """The reply to a request."""
        reply = proceed()
        jobs = self.emulator.taken
        if not LIST_JOBS.is_of(request) or reply.status != 200 or len(jobs) < self.nth:
            return reply
        with self._lock, suppress(json.JSONDecodeError):
            if self.done < self.listings:
                return self._without(jobs[self.nth - 1].id, request, reply)
        return reply

    def stop(self) -> None:
        """List it from now on."""
        self.listings = 0

    def _without(self, job_id: str, request: Request, reply: Response) -> Response:
        listing = json.loads(reply.text)
        left = [job for job in listing["jobs"] if job["id"] != job_id]
        if len(left) == len(listing["jobs"]):
            return reply
        self.done += 1
        self.witness.unlisted[job_id] += "tags" in request.query
        count = listing["count"] - 1
        return replace(reply, body={**listing, "jobs": left, "count": count})
