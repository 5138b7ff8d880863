"""What each path of the API does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.emulator import discovery
from tests.emulator.devices import devices
from tests.emulator.errors import RefusedError
from tests.emulator.limits import check_tags
from tests.emulator.state import PENDING, Job

if TYPE_CHECKING:
    from tests.emulator.worker import Queue

MAX_PAGE = 200
DEFAULT_PAGE = 10


@dataclass(frozen=True)
class Request:
    """A request as it came in.

    Attributes:
        path: Without the base path and the query.
        text: The body.
        host: Whom the client meant, which differs from the emulator where that is the proxy.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    text: str
    host: str

    @property
    def body(self) -> Any:
        """The body as JSON or form, or `None`."""
        if not self.text:
            return None
        if "form-urlencoded" in self.headers.get("content-type", ""):
            return parse_qs(self.text)
        return json.loads(self.text)

    @property
    def instance(self) -> str:
        """The instance that the request is for."""
        return self.headers.get("service-crn", "")


@dataclass(frozen=True)
class Response:
    """A reply.

    Attributes:
        status: HTTP status code.
        body: JSON value, or text that is sent as it is.
        headers: More headers.
        after: For a fault: do what the request asks, and only then reply this instead.
        drop: For a fault: close the connection without any reply.
    """

    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    after: bool = False
    drop: bool = False

    @property
    def text(self) -> str:
        """The body as it is sent."""
        if self.body is None:
            return ""
        return self.body if isinstance(self.body, str) else json.dumps(self.body)


Handler = Callable[["Queue", Request, str], Response]


def respond(queue: Queue, request: Request) -> Response:
    """Find the path and do what it says."""
    try:
        if request.host.startswith("globalcatalog."):
            return Response(body=discovery.plan(request.path.rpartition("/")[2]))
        for method, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match is not None and method == request.method:
                if handler not in OPEN_TO_ALL:
                    authorise(queue, request)
                return handler(queue, request, match.group(1) if match.groups() else "")
        raise RefusedError(404, 1000, f"No such path: {request.method} {request.path}")
    except RefusedError as refused:
        return Response(refused.status, refused.body, refused.headers)


def authorise(queue: Queue, request: Request) -> None:
    """Check the access token and the instance.

    Raises:
        RefusedError: If either is not known here.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not queue.tokens.is_valid(token):
        raise RefusedError(401, 1200, "You are not authorized to perform this action.")
    if request.instance not in discovery.PLANS:
        raise RefusedError(403, 1200, f"No access to instance {request.instance}")


def get_token(queue: Queue, request: Request, _: str) -> Response:
    return Response(body=discovery.grant(request.body, queue.tokens))


def get_instances(queue: Queue, request: Request, _: str) -> Response:
    return Response(body=discovery.search(queue.instances))


def get_usage(queue: Queue, request: Request, _: str) -> Response:
    used_s = queue.used_s(request.instance)
    return Response(body=discovery.usage(request.instance, used_s, queue.limits.quota_s))


def get_backends(queue: Queue, request: Request, _: str) -> Response:
    return Response(body={"devices": [device.entry for device in devices().values()]})


def get_backend(queue: Queue, request: Request, matched: str) -> Response:
    name, _, what = matched.partition("/")
    if name not in devices():
        raise RefusedError(404, 1007, f"Backend not found: {name}")
    if what == "properties" and "updated_before" in request.query:
        before = datetime.fromisoformat(request.query["updated_before"][0])
        if datetime.fromisoformat(devices()[name].properties["last_update_date"]) > before:
            return Response(body={})
    return Response(body=getattr(devices()[name], what))


def post_session(queue: Queue, request: Request, _: str) -> Response:
    return Response(body=queue.open_session(request.instance, request.body))


def get_session(queue: Queue, request: Request, session_id: str) -> Response:
    queue.check_instance(session_id, request.instance)
    return Response(body=queue.session_view(session_id))


def patch_session(queue: Queue, request: Request, session_id: str) -> Response:
    if request.body != {"accepting_jobs": False}:
        raise RefusedError(400, 3220, "Payload not valid.")
    queue.check_instance(session_id, request.instance)
    queue.stop_accepting(session_id)
    return Response(204)


def delete_session(queue: Queue, request: Request, session_id: str) -> Response:
    queue.check_instance(session_id, request.instance)
    queue.cancel_session(session_id)
    return Response(204)


def post_job(queue: Queue, request: Request, _: str) -> Response:
    job = Job(request.instance, request.text, request.body)
    queue.submit(job)
    reply = {"id": job.id, "backend": job.backend}
    if job.session_id is not None:
        reply["session_id"] = job.session_id
    return Response(body=reply)


def get_jobs(queue: Queue, request: Request, _: str) -> Response:
    query = {name: values[0] for name, values in request.query.items()}
    found = [job for job in queue.all_jobs() if _is_wanted(job, request)]
    if query.get("sort") != "ASC":
        found.reverse()
    offset = int(query.get("offset", 0))
    limit = min(int(query.get("limit", DEFAULT_PAGE)), MAX_PAGE)
    params = query.get("exclude_params") != "true"
    page = [job.view(params=params) for job in found[offset : offset + limit]]
    return Response(body={"jobs": page, "count": len(found), "limit": limit, "offset": offset})


def _is_wanted(job: Job, request: Request) -> bool:
    query = {name: values[0] for name, values in request.query.items()}
    created = [query.get("created_after"), query.get("created_before")]
    after, before = (None if text is None else datetime.fromisoformat(text) for text in created)
    return (
        job.instance == request.instance
        and query.get("session_id", job.session_id) == job.session_id
        and query.get("backend", job.backend) == job.backend
        and query.get("program", job.body["program_id"]) == job.body["program_id"]
        and ("pending" not in query or (query["pending"] == "true") == (job.status in PENDING))
        and set(request.query.get("tags", [])) <= set(job.tags)
        and (after is None or job.created >= after)
        and (before is None or job.created <= before)
    )


def _job(queue: Queue, request: Request, job_id: str) -> Job:
    job = queue.job(job_id)
    if job.instance != request.instance:
        raise RefusedError(404, 1291, f"Job not found. Job ID: {job_id}")
    return job


def get_job(queue: Queue, request: Request, job_id: str) -> Response:
    params = request.query.get("exclude_params") != ["true"]
    return Response(body=_job(queue, request, job_id).view(params=params))


def get_results(queue: Queue, request: Request, job_id: str) -> Response:
    job = _job(queue, request, job_id)
    if job.status == "Completed" and job.body.get("private", False):
        job.reads += 1
        if job.reads > 1:
            raise RefusedError(404, 1291, f"Results of private job {job_id} were already read.")
    return Response(body=job.result or "")


def get_metrics(queue: Queue, request: Request, job_id: str) -> Response:
    return Response(body=_job(queue, request, job_id).metrics())


def get_logs(queue: Queue, request: Request, job_id: str) -> Response:
    job = _job(queue, request, job_id)
    if job.finished is None:
        raise RefusedError(404, 1291, f"Logs of job {job_id} are not there yet.")
    return Response(body=f"Emulated run of {job.body['program_id']} on {job.backend}.\n")


def cancel_job(queue: Queue, request: Request, job_id: str) -> Response:
    _job(queue, request, job_id)
    queue.cancel(job_id)
    return Response(204)


def delete_job(queue: Queue, request: Request, job_id: str) -> Response:
    _job(queue, request, job_id)
    queue.delete(job_id)
    return Response(204)


def put_tags(queue: Queue, request: Request, job_id: str) -> Response:
    _job(queue, request, job_id).tags = check_tags(request.body["tags"])
    return Response(204)


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/identity/token", get_token),
    ("POST", "/v3/resources/search", get_instances),
    ("GET", "/instances/usage", get_usage),
    ("GET", "/backends", get_backends),
    ("GET", "/backends/([^/]+/(?:configuration|properties|status))", get_backend),
    ("POST", "/sessions", post_session),
    ("GET", "/sessions/([^/]+)", get_session),
    ("PATCH", "/sessions/([^/]+)", patch_session),
    ("DELETE", "/sessions/([^/]+)/close", delete_session),
    ("POST", "/jobs", post_job),
    ("GET", "/jobs", get_jobs),
    ("GET", "/jobs/([^/]+)", get_job),
    ("DELETE", "/jobs/([^/]+)", delete_job),
    ("GET", "/jobs/([^/]+)/results", get_results),
    ("GET", "/jobs/([^/]+)/metrics", get_metrics),
    ("GET", "/jobs/([^/]+)/logs", get_logs),
    ("POST", "/jobs/([^/]+)/cancel", cancel_job),
    ("PUT", "/jobs/([^/]+)/tags", put_tags),
)
OPEN_TO_ALL = (get_token, get_instances)
