"""Faults to put into `IBMEmulator.faults`: which requests, and what becomes of them.

For example `status(POST_JOB, 503, times=2)` or `drop(RESULTS, after=True, nth=2)`. Each counts the
requests that it concerns; faults before it in the list hide requests from those after it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.emulator.routes import Request, Response

Act = Callable[[Request, Callable[[], Response]], Response]
Edit = Callable[[str], str]
LONGEST_DELAY_S = 60.0


@dataclass(frozen=True)
class Endpoint:
    """Some kind of requests.

    Attributes:
        method: Regular expression.
        path: Regular expression.
        tag: Regular expression for one of the tags of the job that is submitted or looked for.
        query: Name of a parameter that has to be there.
        wanted: Has the last word about a path.
    """

    method: str
    path: str
    tag: str | None = None
    query: str | None = None
    wanted: Callable[[str], bool] = lambda path: True

    def tagged(self, tag: str) -> Endpoint:
        """The same for jobs that have such a tag."""
        return replace(self, tag=tag)

    def where(self, wanted: Callable[[str], bool]) -> Endpoint:
        """The same for some paths."""
        return replace(self, wanted=wanted)

    def is_of(self, request: Request) -> bool:
        """Whether the request is one of these."""
        if not (
            re.fullmatch(self.method, request.method) and re.fullmatch(self.path, request.path)
        ):
            return False
        if self.query is not None and self.query not in request.query:
            return False
        if not self.wanted(request.path):
            return False
        return self.tag is None or any(re.fullmatch(self.tag, each) for each in tags_of(request))


TOKEN = Endpoint("POST", "/identity/token")
USAGE = Endpoint("GET", "/instances/usage")
BACKENDS = Endpoint("GET", "/backends")
CONFIGURATION = Endpoint("GET", "/backends/[^/]+/configuration")
PROPERTIES = Endpoint("GET", "/backends/[^/]+/properties")
STATUS = Endpoint("GET", "/backends/[^/]+/status")
OPEN_SESSION = Endpoint("POST", "/sessions")
SESSION = Endpoint("GET", "/sessions/[^/]+")
CLOSE_SESSION = Endpoint("PATCH", "/sessions/[^/]+")
CANCEL_SESSION = Endpoint("DELETE", "/sessions/[^/]+/close")
POST_JOB = Endpoint("POST", "/jobs")
LIST_JOBS = Endpoint("GET", "/jobs")
JOB = Endpoint("GET", "/jobs/[^/]+")
RESULTS = Endpoint("GET", "/jobs/[^/]+/results")
METRICS = Endpoint("GET", "/jobs/[^/]+/metrics")
LOGS = Endpoint("GET", "/jobs/[^/]+/logs")
CANCEL_JOB = Endpoint("POST", "/jobs/[^/]+/cancel")
ANYTHING = Endpoint(".*", ".*")


@dataclass
class Scripted:
    """Does `act` with some of the requests to `endpoint`, and nothing with the others.

    Attributes:
        nth: The first one it concerns, from 1.
        times: How many from then on; None: all.
        seen: Requests to the endpoint so far.
        done: How many of them it concerned.
    """

    endpoint: Endpoint
    act: Act
    nth: int = 1
    times: int | None = 1
    seen: int = 0
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def intercept(self, request: Request, proceed: Callable[[], Response]) -> Response:
        """The reply to a request."""
        if not self.endpoint.is_of(request):
            return proceed()
        with self._lock:
            self.seen += 1
            end = None if self.times is None else self.nth + self.times
            concerned = self.nth <= self.seen and (end is None or self.seen < end)
            self.done += concerned
        return self.act(request, proceed) if concerned else proceed()

    def stop(self) -> None:
        """Concern no further request."""
        with self._lock:
            self.times = 0


def status(
    endpoint: Endpoint,
    code: int,
    *,
    after: bool = False,
    retry_after_s: int | None = None,
    error: int = 1000,
    text: str | None = None,
    nth: int = 1,
    times: int | None = 1,
) -> Scripted:
    """Reply a status.

    Args:
        endpoint: Of which requests.
        code: The HTTP status.
        after: Do what was asked before.
        retry_after_s: Value of `Retry-After`, if any.
        error: The service's code.
        text: The body as it is sent, if it is not to be one of the service's.
        nth: The first request that it concerns, from 1.
        times: How many from then on; None: all.
    """
    errors = [{"code": error, "message": f"Emulated status {code}.", "more_info": ""}]
    body = {"errors": errors} if text is None else text
    headers = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
    return Scripted(endpoint, _instead(Response(code, body, headers), after), nth, times)


def drop(
    endpoint: Endpoint, *, after: bool = False, nth: int = 1, times: int | None = 1
) -> Scripted:
    """Close the connection without a reply, before or after doing what was asked."""
    return Scripted(endpoint, _instead(Response(drop=True), after), nth, times)


def resent(endpoint: Endpoint, copies: int = 1, *, nth: int = 1, times: int | None = 1) -> Scripted:
    """Do what was asked once more for each copy that a proxy sends; the last reply arrives."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        for _ in range(copies):
            proceed()
        return proceed()

    return Scripted(endpoint, act, nth, times)


@dataclass
class Gone:
    """The service does not reply any more, from the n-th request to an endpoint on.

    Attributes:
        acts: Whether it still does what this request asks.
    """

    endpoint: Endpoint
    nth: int = 1
    acts: bool = False
    _seen: int = 0
    _since: bool = False
    _over: bool = False

    def intercept(self, request: Request, proceed: Callable[[], Response]) -> Response:
        """The reply to a request."""
        if self._over or (not self._since and not self._begins(request)):
            return proceed()
        if self.acts and not self._since:
            proceed()
        self._since = True
        return Response(drop=True)

    def stop(self) -> None:
        """The service is back."""
        self._over = True

    def _begins(self, request: Request) -> bool:
        self._seen += self.endpoint.is_of(request)
        return self._seen >= self.nth


def gone_at(endpoint: Endpoint, *, nth: int = 1) -> Gone:
    """The service is gone from the n-th request to an endpoint on."""
    return Gone(endpoint, nth)


def gone_after(endpoint: Endpoint, *, nth: int = 1) -> Gone:
    """The same, but it still does what this request asks."""
    return Gone(endpoint, nth, acts=True)


def edited(endpoint: Endpoint, edit: Edit, *, nth: int = 1, times: int | None = 1) -> Scripted:
    """Do something to the text of a reply, such as `truncated` or `garbled`."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        reply = proceed()
        return replace(reply, body=edit(reply.text)) if reply.status == 200 else reply

    return Scripted(endpoint, act, nth, times)


def delayed(
    endpoint: Endpoint, until: threading.Event, *, nth: int = 1, times: int | None = 1
) -> Scripted:
    """Do what was asked, but reply only once `until` is set."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        reply = proceed()
        until.wait(LONGEST_DELAY_S)
        return reply

    return Scripted(endpoint, act, nth, times)


def then(
    endpoint: Endpoint, do: Callable[[], Any], *, nth: int = 1, times: int | None = 1
) -> Scripted:
    """Do what was asked, then something else, then reply: what happens meanwhile elsewhere."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        reply = proceed()
        do()
        return reply

    return Scripted(endpoint, act, nth, times)


def first(
    endpoint: Endpoint, do: Callable[[], Any], *, nth: int = 1, times: int | None = 1
) -> Scripted:
    """Do something else, and then what was asked."""

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        do()
        return proceed()

    return Scripted(endpoint, act, nth, times)


def truncated(text: str) -> str:
    """The first half."""
    return text[: len(text) // 2]


def garbled(text: str) -> str:
    """What a broken proxy may reply, with status 200."""
    return "<html><body>Bad gateway</body></html>"


def empty(text: str) -> str:
    """Nothing."""
    return ""


def without_last_pub(text: str) -> str:
    """A sampler's result that lacks its last PUB, in either encoding."""
    return _with_pubs(text, lambda pubs: pubs[:-1])


def with_pubs_swapped(text: str) -> str:
    """A result whose PUBs are in reverse order, in either encoding."""
    return _with_pubs(text, lambda pubs: pubs[::-1])


def without_last_shot(text: str) -> str:
    """A sampler's result that lacks the last shot of every PUB, in either encoding."""
    return _with_bits(text, lambda name, bits: (name, bits[..., :-1, :]))


def with_register_renamed(text: str) -> str:
    """A sampler's result whose registers have other names."""
    return _with_bits(text, lambda name, bits: (f"{name}2", bits))


def with_wider_register(text: str) -> str:
    """A sampler's result whose registers have one more bit."""
    return _with_bits(text, lambda name, bits: (name, np.concatenate([bits, bits[..., :1]], -1)))


def with_another_axis(text: str) -> str:
    """A sampler's result as of PUBs with one set of parameter values in an axis of its own."""
    return _with_bits(text, lambda name, bits: (name, bits[np.newaxis]))


def _with_pubs(text: str, change: Callable[[list[Any]], list[Any]]) -> str:
    result = json.loads(text)
    pubs = result["data"] if "data" in result else result["__value__"]["pub_results"]
    pubs[:] = change(pubs)
    return json.dumps(result)


def _with_bits(text: str, change: Callable[[str, Any], tuple[str, Any]]) -> str:
    """Change name and bits, of shape `(*shape, shots, bits)`, of each register of a result."""
    if "__type__" in json.loads(text):
        return _legacy_with_bits(text, change)
    from ibm_quantum_schemas.common import CompressedTensorModel

    result = json.loads(text)
    for item in result["data"]:
        changed = [
            change(name, CompressedTensorModel.model_validate(tensor).to_numpy())
            for name, tensor in item["results"].items()
        ]
        item["results"] = {
            name: CompressedTensorModel.from_numpy(np.ascontiguousarray(bits)).model_dump(
                mode="json"
            )
            for name, bits in changed
        }
    return json.dumps(result)


def _legacy_with_bits(text: str, change: Callable[[str, Any], tuple[str, Any]]) -> str:
    from qiskit.primitives import BitArray, DataBin, PrimitiveResult, SamplerPubResult
    from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder

    whole = json.loads(text, cls=RuntimeDecoder)
    pubs = []
    for pub in whole:
        registers = dict(
            change(name, bits.to_bool_array("little")) for name, bits in pub.data.items()
        )
        fields = {
            name: BitArray.from_bool_array(bits, "little") for name, bits in registers.items()
        }
        shape = next(iter(fields.values())).shape
        pubs.append(SamplerPubResult(DataBin(**fields, shape=shape), pub.metadata))
    return json.dumps(PrimitiveResult(pubs, whole.metadata), cls=RuntimeEncoder)


def tags_of(request: Request) -> Sequence[str]:
    """The tags of a job that is being submitted, or those that are being looked for."""
    if request.method == "POST" and request.path == "/jobs":
        found: Iterable[str] = request.body.get("tags", [])
        return list(found)
    return request.query.get("tags", [])


def _instead(response: Response, after: bool) -> Act:
    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        if after:
            proceed()
        return response

    return act
