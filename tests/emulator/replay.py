"""Replies from a transcript of `python -m qexp doctor --live`, as another service gave them.

In one terminal `python -m tests.emulator --replay FILE`; in another one what it prints.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any, Self

from tests.emulator.routes import OPEN_TO_ALL, ROUTES, Request, Response
from tests.emulator.server import BASE_PATHS

Key = tuple[str, ...]
OWN_PATHS = {path for _, path, handler in ROUTES if handler in OPEN_TO_ALL}
"""Paths that a transcript lacks, because they are those of another service: the emulator's own."""


class Replay:
    """An `Intercept` that replies what a transcript has, instead of the emulator.

    To the n-th request of a kind (method, path, jobs looked for) it gives the n-th reply, and the
    last one again and again. Tags, which each process draws anew, are translated. Nobody waits for
    a queue: of equal listings of a batch only the first counts.

    Attributes:
        made_by: The first line of the transcript.
        findings: Those in the transcript.
    """

    def __init__(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self.made_by: Mapping[str, Any] = {}
        self.findings: list[Mapping[str, Any]] = []
        self._replies: defaultdict[Key, deque[Mapping[str, Any]]] = defaultdict(deque)
        self._tags: dict[str, str] = {}  # of this process -> in the transcript
        self._lock = threading.Lock()
        for line in lines:
            if "method" in line:
                self._add(line)
            elif "finding" in line:
                self.findings.append(line["finding"])
            else:
                self.made_by = line["made_by"]

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a transcript."""
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return cls(json.loads(line) for line in lines)

    @property
    def command(self) -> str:
        """What to run, to get the findings of the transcript."""
        return f"python -m qexp doctor --live --yes --backend {self.made_by['backend']}"

    def intercept(self, request: Request, proceed: Callable[[], Response]) -> Response:
        """The reply to a request."""
        if request.path in OWN_PATHS or request.host.startswith("globalcatalog."):
            return proceed()
        with self._lock:
            tags = [self._tags.get(tag, tag) for tag in request.query.get("tags", [])]
            key = _key(request.method, request.path, {**request.query, "tags": tags})
            replies = self._replies.get(key)
            if not replies:
                body = {"errors": [{"code": 0, "message": f"not in the transcript: {key}"}]}
                return Response(501, body)
            exchange = replies.popleft() if len(replies) > 1 else replies[0]
            if key == ("POST", "/jobs"):
                pairs = zip(request.body["tags"], exchange["request"]["tags"], strict=True)
                self._tags.update(pairs)
            return self._response(exchange)

    def _add(self, exchange: Mapping[str, Any]) -> None:
        path = exchange["path"]
        for base in BASE_PATHS:
            path = path.removeprefix(base)
        replies = self._replies[_key(exchange["method"], path, exchange["query"])]
        is_wait = path == "/jobs" and "session_id" in exchange["query"]
        if not (is_wait and replies and replies[-1]["body"] == exchange["body"]):
            replies.append(exchange)

    def _response(self, exchange: Mapping[str, Any]) -> Response:
        body = exchange["body"]
        text = body if isinstance(body, str) else json.dumps(body)
        for ours, theirs in self._tags.items():
            text = text.replace(theirs, ours)
        headers = dict(exchange["headers"])
        headers.pop("content-type", None)
        if "date" in headers:
            ahead = parsedate_to_datetime(headers["date"]) - _moment(exchange["received"])
            # Whole seconds, which are cut: half of one is what they lack on average.
            date = datetime.now(UTC) + ahead + timedelta(seconds=0.5)
            headers["date"] = format_datetime(date, usegmt=True)
        return Response(exchange["status"], text, tuple(headers.items()))


def _key(method: str, path: str, query: Mapping[str, list[str]]) -> Key:
    """What makes two requests the same question."""
    wanted = sorted(query.get("tags", [])) + query.get("session_id", []) if path == "/jobs" else []
    return (method, path, *wanted)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
