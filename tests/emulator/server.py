"""The HTTP side: one socket on the loopback interface, and a journal of what came in."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import parse_qs, urlsplit

from tests.emulator.routes import Request, Response, respond

if TYPE_CHECKING:
    from tests.emulator.worker import Queue

BASE_PATHS = ("/experimental", "/api/v1")
Fault = Callable[[str, str], Response | None]


@runtime_checkable
class Intercept(Protocol):
    """A fault that sees the request and what the reply would have been."""

    def intercept(self, request: Request, proceed: Callable[[], Response]) -> Response:
        """The reply to a request.

        Args:
            request: The request.
            proceed: Does what is asked, with what the other faults make of it, and replies.
        """
        ...


@dataclass(frozen=True)
class Record:
    """One request and the status of its reply; 0 if the connection was dropped.

    Attributes:
        path: Without base path and query.
        query: All values of each parameter.
        body: The JSON body, a form's fields, or `None`.
        instance: The CRN that the request is for.
    """

    index: int
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    status: int
    instance: str


class Journal:
    """Everything that was asked, in order of the replies; safe to read at any time."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._lock = threading.Lock()

    def add(self, request: Request, status: int) -> None:
        """Note one request."""
        with self._lock:
            self._records.append(
                Record(
                    index=len(self._records),
                    method=request.method,
                    path=request.path,
                    query=request.query,
                    body=request.body,
                    status=status,
                    instance=request.instance,
                )
            )

    def find(self, method: str, path: str) -> list[Record]:
        """The requests with this method and exact path."""
        return [record for record in self if (record.method, record.path) == (method, path)]

    def __iter__(self) -> Iterator[Record]:
        with self._lock:
            return iter(list(self._records))

    def __len__(self) -> int:
        with self._lock:
            return len(self._records)


class Server(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1, with a thread per connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, queue: Queue, journal: Journal, faults: list[Fault | Intercept]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.queue = queue
        self.journal = journal
        self.faults = faults
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="emulated-api"
        )

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and hang up on clients that keep their connection open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: a client that hangs up is none of the server's business."""

    def answer(self, request: Request) -> Response:
        """The reply to a request, from the first fault that wants it or from the routes."""
        return self._answer(request, list(self.faults))

    def _answer(self, request: Request, faults: list[Fault | Intercept]) -> Response:
        for index, fault in enumerate(faults):
            proceed = partial(self._answer, request, faults[index + 1 :])
            if isinstance(fault, Intercept):
                return fault.intercept(request, proceed)
            reply = fault(request.method, request.path)
            if reply is not None:
                if reply.after:
                    proceed()
                return reply
        return respond(self.queue, request)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        size = int(headers.get("content-length", 0))
        body = self.rfile.read(size)
        if len(body) < size:
            # The client died while it was sending: it has asked for nothing.
            self.close_connection = True
            return
        path = parts.path
        for base in BASE_PATHS:
            path = path.removeprefix(base)
        request = Request(
            method=self.command,
            path=path,
            query=parse_qs(parts.query, keep_blank_values=True),
            headers=headers,
            text=body.decode(),
            host=parts.netloc or headers.get("host", ""),
        )
        try:
            response = self.server.answer(request)
        except Exception:
            # 501 is none of the codes that the client sends a request again for.
            response = Response(501, traceback.format_exc())
        self.server.journal.add(request, 0 if response.drop else response.status)
        if response.drop:
            self.close_connection = True
            return
        self._send(response)

    def _send(self, response: Response) -> None:
        payload = response.text.encode()
        has_date = any(name.lower() == "date" for name, _ in response.headers)
        (self.send_response_only if has_date else self.send_response)(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the journal holds it all."""
