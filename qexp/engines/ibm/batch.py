"""One batch of IBM's service: submits or adopts jobs, polls them together and collects them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

from qexp.core.model import FINAL_STATES, JOB_TAG, FoundJob, JobOutcome, JobRequest, JobState
from qexp.engines.ibm.client import client_reason, reading, redact_json, service_call
from qexp.engines.ibm.collect import Collector
from qexp.engines.ibm.expected import expected_form
from qexp.engines.ibm.jobs import Job, read_job, read_page
from qexp.engines.ibm.refusals import submitting
from qexp.engines.ibm.replies import find_reply, is_status
from qexp.engines.primitives import finalised_options, make_primitive
from qexp.engines.private_api import (
    batch_client,
    connected_clients,
    limit_waiting,
    move_to_instance,
    other_clients,
)
from qexp.errors import BatchOverError, EngineError, LostJobError, RefusedError, UnclearError

if TYPE_CHECKING:
    from qiskit_ibm_runtime import Batch, IBMBackend

T = TypeVar("T")

_PAGE = 200
"""Jobs in one reply to a list request (the service's maximum)."""

_MISSED_IN_A_ROW = 3
"""Listings without a job until it is looked up by its id."""

_SLICE_S = 0.1
"""Longest sleep of `wait` between two calls of `is_stopped`."""


def open_session(backend: IBMBackend, max_time_s: int | None) -> Batch:
    """Open a batch on the service that lives for `max_time_s` from the start of its first job.

    Raises:
        RefusedError: The service takes no such batch.
        BusyError, UnclearError: Not now, or the service could not be reached. Another try can at
            worst leave a batch without jobs, whose clock never starts.
        EngineError: The account is not allowed to.
    """
    from qiskit_ibm_runtime import Batch

    doing = f"opening the batch on {backend.name}"
    for client in connected_clients(backend.service):
        limit_waiting(client)
    try:
        with submitting(doing):
            session = Batch(backend, max_time=max_time_s)
    except RefusedError as error:
        if error.failure != "transient":
            raise
        raise UnclearError(str(error)) from None
    if not isinstance(session.session_id, str):
        raise UnclearError(f"{doing}: the reply has no batch id")
    return session


def find_jobs(clients: Sequence[Any], tag: str) -> Sequence[FoundJob]:
    """Find every job that carries `tag` in the instances of some clients, oldest first.

    One request per instance and 200 jobs.
    """
    doing = f"looking for jobs tagged {tag}"
    jobs = [
        read_job(entry)
        for client in clients
        for entries, _ in _pages(client, doing, job_tags=[tag], descending=False)
        for entry in entries
    ]
    # A service that does not know the filter would list everything.
    return sorted((job for job in jobs if tag in job.tags), key=lambda job: job.created)


def read_metrics(clients: Sequence[Any], job_id: str) -> dict[str, Any]:
    """Read the metrics of a job in the first of some clients' instances that knows it."""
    with reading(f"fetching the metrics of job {job_id}"):
        for client in clients:
            try:
                return cast(dict[str, Any], redact_json(client.job_metadata(job_id)))
            except Exception as error:
                if not is_status(error, HTTPStatus.NOT_FOUND):
                    raise
    return {}


class IBMBatch:
    """The jobs of one `qiskit_ibm_runtime.Batch`, opened or attached.

    One that is `attached` is an earlier batch, which takes no more jobs; `poll_interval_s` is the
    longest sleep of `wait`.
    """

    def __init__(
        self,
        session: Batch,
        backend: IBMBackend,
        *,
        attached: bool = False,
        poll_interval_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._backend = backend
        self.id = cast(str, session.session_id)
        self._attached = attached
        self._poll_interval_s = poll_interval_s
        self._sleep = sleep
        self._jobs: dict[str, Job] = {}
        self._others: dict[str, FoundJob] = {}
        self._closed = False
        self._collector = Collector(backend, self.id, self._read_details)
        for client in self._clients():
            limit_waiting(client)

    def details(self) -> dict[str, Any]:
        """Return all fields of `Batch.details()`, by one request."""
        details = self._read_details()
        if details is None:
            raise LostJobError(f"the service knows nothing of batch {self.id}")
        return details

    def _read_details(self) -> dict[str, Any] | None:
        with reading(f"reading the details of batch {self.id}"):
            try:
                details = self._in_its_instance(self._session.details)
            except Exception as error:
                if not is_status(error, HTTPStatus.NOT_FOUND):
                    raise
                return None
            if not details:
                raise TypeError("it is empty")
        return cast(dict[str, Any], redact_json(details))

    def submit(self, request: JobRequest) -> str:
        """Submit one job by the client's own three requests and return its id.

        Raises:
            ArchiveError: The PUBs cannot be loaded.
            EngineError: One of the five kinds that the protocol names.
        """
        doing = f"submitting partition {request.partition.index} to batch {self.id}"
        if self._attached or self._closed:
            raise BatchOverError(f"{doing}: it is closed")
        pubs = request.load_pubs()
        expected = expected_form(pubs)
        primitive = make_primitive(request.primitive, self._session, request.tags)
        with submitting(doing):
            handle = primitive.run(pubs)
            job_id = handle.job_id()
        if not isinstance(job_id, str) or not job_id:
            raise UnclearError(f"{doing}: the reply has no job id")
        self._jobs[job_id] = Job(handle, request, primitive.options, expected)
        return job_id

    def find(self, tag: str) -> Sequence[FoundJob]:
        """Find every job that carries `tag`, oldest first; one request per 200 of them.

        The tag alone decides, not the batch. An earlier batch may be in another instance of the
        account: then all instances are asked.
        """
        return find_jobs(self._clients(), tag)

    def listed(self) -> Sequence[FoundJob]:
        """List every job of this batch, newest first; one request per 200 of them."""
        client, doing = batch_client(self._session), f"listing the jobs of batch {self.id}"
        pages = _pages(client, doing, session_id=self.id)
        return [read_job(entry) for entries, _ in pages for entry in entries]

    def adopt(self, job_id: str, request: JobRequest) -> None:
        """Take over a job that was submitted earlier; the next `states` asks for it."""
        job = Job(None, request, finalised_options(request.primitive, request.tags))
        # If the first listing lacks it, it is looked up at once, in all instances.
        job.missed = _MISSED_IN_A_ROW - 1
        self._jobs[job_id] = job

    def _take(self, job_id: str, entry: dict[str, Any], client: Any) -> None:
        """Store a job as listed by a client; an adopted one gets its handle."""
        from qiskit_ibm_runtime import RuntimeJobV2

        job = self._jobs[job_id]
        job.update(entry)
        if job.handle is not None:
            return
        # The batch is where its job is.
        move_to_instance(self._session, client)
        program = entry.get("program")
        job.handle = RuntimeJobV2(
            backend=self._backend,
            api_client=client,
            job_id=job_id,
            program_id=str(program.get("id") or "") if isinstance(program, Mapping) else "",
            service=self._session.service,
            creation_date=entry.get("created"),
            session_id=self.id,
            tags=list(read_job(entry).tags),
            private=bool(entry.get("private")),
        )

    def strays(self) -> Sequence[FoundJob]:
        """Return qexp's jobs in this batch that were listed, but not submitted or adopted here."""
        return [
            job
            for job_id, job in self._others.items()
            if job_id not in self._jobs and any(tag.startswith(JOB_TAG) for tag in job.tags)
        ]

    def cancel_job(self, job_id: str) -> None:
        """Cancel one job; harmless when it has ended or does not exist."""
        with service_call(f"cancelling job {job_id}"):
            for client in self._clients():
                try:
                    client.job_cancel(job_id)
                except Exception as error:
                    if is_status(error, HTTPStatus.NOT_FOUND):
                        continue
                    if not is_status(error, HTTPStatus.CONFLICT):
                        raise
                return

    def cancel(self) -> None:
        """Close, and cancel every queued job, by one request."""
        self._end("cancelling", self._session.cancel)

    def close(self) -> None:
        """Accept no more jobs; submitted ones still run. Can be repeated until it succeeds."""
        if not self._closed:
            self._end("closing", self._session.close)

    def abandon(self) -> None:
        """Close; the service runs the queued jobs, which can be collected later."""
        self.close()

    def _end(self, doing: str, end: Callable[[], None]) -> None:
        if len(self._clients()) > 1:
            # Finds its instance: in another one, the client takes a 404 for success.
            self._read_details()
        with service_call(f"{doing} batch {self.id}"):
            try:
                end()
            except Exception as error:
                reply = find_reply(error)
                if reply is None or not (
                    reply.status == HTTPStatus.NOT_FOUND or reply.is_batch_over
                ):
                    raise
        self._closed = True

    def _in_its_instance(self, ask: Callable[[], T]) -> T:
        """Ask about the batch; an earlier one is looked for in all instances of the account."""
        own, *others = self._clients()
        for following in (*others, own):
            try:
                return ask()
            except Exception as error:
                if not others or not is_status(error, HTTPStatus.NOT_FOUND):
                    raise
            move_to_instance(self._session, following)
        return ask()

    def queue_length(self) -> int | None:
        """Return the number of jobs of all users in the backend's queue, by one request."""
        with reading(f"reading the status of {self._backend.name}"):
            pending: int = self._backend.status().pending_jobs
        return pending

    def states(self) -> Mapping[str, JobState]:
        """Return the state of every submitted or adopted job, by one list request.

        More pages (of 200 jobs) follow only while an unfinished job, or one never listed so far,
        may be on them. A job that is missing from a listing keeps its state; after several
        such listings in a row it is looked up by its id. One that is not known then, either, counts
        as failed until a later listing or look-up has it; `collect` says so.
        """
        pending = {
            key for key, job in self._jobs.items() if job.state not in FINAL_STATES or job.lost
        }
        if pending:
            doing = f"listing the jobs of batch {self.id}"
            # Newest first, so that unfinished jobs are on the first page. service.jobs() would
            # drop the states and ask for each job again.
            client = batch_client(self._session)
            for entries, count in _pages(client, doing, session_id=self.id):
                for entry in entries:
                    self._update(entry, pending, client)
                if not pending and count <= len(self._jobs.keys() | self._others.keys()):
                    break
            for job_id in pending:
                self._count_missed(job_id)
        return {job_id: job.state for job_id, job in self._jobs.items()}

    def _count_missed(self, job_id: str) -> None:
        job = self._jobs[job_id]
        job.missed += 1
        if job.missed % _MISSED_IN_A_ROW == 0:
            try:
                client, entry = self._look_up(job_id)
                self._take(job_id, entry, client)
            except LostJobError as error:
                job.state, job.lost = "ERROR", str(error)

    def _update(self, entry: dict[str, Any], pending: set[str], client: Any) -> None:
        if entry["id"] not in self._jobs:
            self._others[entry["id"]] = read_job(entry)
        elif entry["id"] in pending:
            self._take(entry["id"], entry, client)
            pending.discard(entry["id"])

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        """Sleep for the poll interval, or `timeout_s` if that is shorter, unless stopped."""
        left_s = min(timeout_s, self._poll_interval_s)
        while left_s > 0 and not is_stopped():
            slice_s = min(left_s, _SLICE_S)
            self._sleep(slice_s)
            left_s -= slice_s

    def collect(self, job_id: str) -> JobOutcome:
        """Fetch a finished job; see `Collector.collect`.

        Raises:
            UndeliveredError: The job is DONE, but the reply is not its result.
            LostJobError: Neither the last listing nor the last look-up has the job.
            EngineError: The job is unknown or unfinished, or the service could not be reached;
                then it can be repeated.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise EngineError(f"job {job_id} is not one of batch {self.id}")
        if job.state not in FINAL_STATES:
            self.states()
        if job.state not in FINAL_STATES:
            raise EngineError(f"job {job_id} is {job.state}: it has nothing to collect yet")
        if job.lost:
            raise LostJobError(job.lost)
        return self._collector.collect(job_id, job)

    def _clients(self) -> list[Any]:
        """Return the client of the batch's instance; for an earlier batch, of all instances."""
        own = batch_client(self._session)
        return [own, *other_clients(self._session)] if self._attached else [own]

    def _look_up(self, job_id: str) -> tuple[Any, dict[str, Any]]:
        reason = ""
        with reading(f"looking for job {job_id}"):
            for client in self._clients():
                try:
                    entry = client.job_get(job_id, exclude_params=True)
                except Exception as error:
                    if not is_status(error, HTTPStatus.NOT_FOUND):
                        raise
                    reason = client_reason(error)
                    continue
                if not isinstance(entry, dict) or entry.get("id") != job_id:
                    raise TypeError("it is not about this job")
                return client, entry
        raise LostJobError(f"the service does not know job {job_id}: {reason}")


def _pages(client: Any, doing: str, **criteria: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield the listed jobs page by page, with the number of jobs on all pages."""
    offset = 0
    while True:
        with reading(doing):
            entries, count = read_page(client.jobs_get(limit=_PAGE, skip=offset, **criteria))
        yield entries, count
        offset += len(entries)
        if not entries or offset >= count:
            return
