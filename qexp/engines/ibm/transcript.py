"""A transcript of requests and replies, without secrets, that `tests/emulator` can replay.

JSON lines: first what made it (`made_by`), then one line per exchange, then the findings. An
exchange has `at_s` (since the beginning), `method`, `path`, `query`, `request` (the body),
`status`, `headers`, `body`, `received` (by the local clock) and `took_s`. Headers of requests are
left out, as they hold the account's token and CRN, and so is the host.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, urlsplit

from qexp.core.findings import Finding
from qexp.core.jsonable import map_text, to_jsonable
from qexp.engines.private_api import connected_clients, reply_hooks
from qexp.redact import MASK, strict_redactor
from qexp.text import utc_now

_KEPT_HEADERS = ("content-type", "date", "retry-after", "ibm-api-version")
_SOFTWARE = ("qexp", "qiskit", "qiskit-ibm-runtime", "requests")
_PERSONAL_KEYS = frozenset(
    {"account", "accountid", "apikey", "crn", "email", "iamid", "instance", "instancecrn"}
    | {"instanceid", "owner", "token", "user", "userid", "username"}
)
_SHORTEST_SECRET = 16
_DATE_RESOLUTION_S = 1.0


class Transcript:
    """Writes a transcript as it comes, so that it is there however the program ends.

    The file is new; `about`, plain JSON, says what is recorded besides the software that makes it.

    Attributes:
        failure: Why the transcript is not complete; empty as long as it is.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.failure = ""
        self._began_s = time.monotonic()
        self._secrets: set[str] = set()
        self._ahead_s: list[float] = []
        versions = {name: version(name) for name in _SOFTWARE}
        with path.open("x", encoding="utf-8"):
            self._write({"made_by": {**about, **versions, "began": utc_now("seconds")}})

    @contextmanager
    def recording(self, service: Any) -> Iterator[None]:
        """Record the requests that all clients of a `QiskitRuntimeService` make meanwhile."""
        hooks = [reply_hooks(client) for client in connected_clients(service)]
        for each in hooks:
            each.append(self._record)
        try:
            yield
        finally:
            for each in hooks:
                each.remove(self._record)

    def note(self, finding: Finding) -> None:
        """Add a finding."""
        self._write({"finding": asdict(finding)})

    def skew_s(self) -> float | None:
        """Return the seconds by which the service's clock is ahead of this one, or None."""
        return median(self._ahead_s) if self._ahead_s else None

    def _record(self, response: Any, *_: Any, **__: Any) -> None:
        request, parts = response.request, urlsplit(response.url)
        for name in ("authorization", "service-crn"):
            # Token, account and instance, to mask them where they stand alone.
            self._learn(*re.split("[/: ]", str(request.headers.get(name) or "")))
        headers = {name.lower(): value for name, value in response.headers.items()}
        with suppress(KeyError, ValueError):
            sent = parsedate_to_datetime(headers["date"]).timestamp()
            self._ahead_s.append(sent + _DATE_RESOLUTION_S / 2 - datetime.now(UTC).timestamp())
        took_s = response.elapsed.total_seconds()
        self._write(
            {
                "at_s": round(time.monotonic() - self._began_s - took_s, 3),
                "method": request.method,
                "path": parts.path,
                "query": parse_qs(parts.query, keep_blank_values=True),
                "status": response.status_code,
                "headers": {name: headers[name] for name in _KEPT_HEADERS if name in headers},
                "received": utc_now("milliseconds"),
                "took_s": round(took_s, 3),
                "request": self._masked(_read_body(request.body)),
                "body": self._masked(_read_body(response.text)),
            }
        )

    def _learn(self, *secrets: str) -> None:
        """Mask these from now on, unless they may be plain words."""
        self._secrets.update(each for each in secrets if len(each) >= _SHORTEST_SECRET)
        self._secrets.discard("quantum-computing")

    def _masked(self, body: Any) -> Any:
        """Mask, and learn, the texts below keys that name people or accounts."""
        if isinstance(body, list):
            return [self._masked(item) for item in body]
        if not isinstance(body, dict):
            return body
        masked = {}
        for key, value in body.items():
            is_personal = key.lower().replace("_", "").replace("-", "") in _PERSONAL_KEYS
            if is_personal and isinstance(value, str):
                self._learn(value)
            masked[key] = MASK if is_personal and isinstance(value, str) else self._masked(value)
        return masked

    def _write(self, line: Mapping[str, Any]) -> None:
        redacted = map_text(to_jsonable(line), strict_redactor(self._secrets))
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(f"{json.dumps(redacted)}\n")
        except OSError as error:
            # Called within a request, which must not fail for it.
            self.failure = str(error.strerror or error)


def _read_body(body: Any) -> Any:
    """Return a JSON object or list as such, and any other body as text."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text
