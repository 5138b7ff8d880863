"""What the service remembers: sessions and jobs, as they look to a client."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

JobStatus = Literal["Queued", "Running", "Completed", "Cancelled", "Failed"]
PENDING: tuple[JobStatus, ...] = ("Queued", "Running")
BATCH_MAX_TTL_S = 28_800
INTERACTIVE_TTL_S = 60


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime | None) -> str | None:
    """A moment as the service writes it, such as `2026-11-22T09:30:00.123456Z`."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def new_id() -> str:
    """An id that looks like those of the service."""
    return uuid.uuid4().hex[:20]


@dataclass
class Job:
    """One job.

    Attributes:
        raw: The body of `POST /jobs` as it came, to be decoded by the worker.
        body: The same as plain JSON.
        result: The encoded result, or the traceback of a failed job.
        usage_s: QPU seconds that are charged.
        reads: How often the result was read; a private one is there once.
        ran: Whether it was executed to its end, whatever became of what it measured.
    """

    instance: str
    raw: str
    body: dict[str, Any]
    id: str = field(default_factory=new_id)
    status: JobStatus = "Queued"
    created: datetime = field(default_factory=now)
    started: datetime | None = None
    finished: datetime | None = None
    reason: str | None = None
    reason_code: int | None = None
    result: str | None = None
    usage_s: float = 0.0
    reads: int = 0
    ran: bool = False
    tags: list[str] = field(default_factory=list)

    @property
    def session_id(self) -> str | None:
        """The session it belongs to, if any."""
        return self.body.get("session_id")

    @property
    def backend(self) -> str:
        """Name of the device it runs on."""
        return str(self.body["backend"])

    def view(self, *, params: bool) -> dict[str, Any]:
        """The reply to `GET /jobs/{id}`."""
        state: dict[str, Any] = {"status": self.status}
        if self.reason is not None:
            state |= {"reason": self.reason, "reason_code": self.reason_code}
            state |= {"reason_solution": "Check the job that was sent."}
        view = {
            "id": self.id,
            "backend": self.backend,
            "state": state,
            "status": self.status,
            "program": {"id": self.body["program_id"]},
            "created": stamp(self.created),
            "runtime": self.body.get("runtime", ""),
            "tags": self.tags,
            "cost": self.body.get("cost", 10_800),
            "private": self.body.get("private", False),
            "estimated_running_time_seconds": self.usage_s,
        }
        if self.finished is not None:
            view["ended"] = stamp(self.finished)
        if self.session_id is not None:
            view["session_id"] = self.session_id
        if params:
            view["params"] = self.body["params"]
        return view

    @property
    def ended(self) -> datetime | None:
        """When it reached its final state."""
        return self.finished

    def metrics(self) -> dict[str, Any]:
        """The reply to `GET /jobs/{id}/metrics`."""
        return {
            "timestamps": {
                "created": stamp(self.created),
                "running": stamp(self.started),
                "finished": stamp(self.finished),
            },
            "usage": {
                "qpu_charge_time_seconds": self.usage_s if self.finished else 0,
                "status": "complete" if self.finished else "pending",
            },
        }


@dataclass(frozen=True)
class Failure:
    """What is to go wrong with a job.

    Attributes:
        reason: As the service tells it.
        code: The service's reason code.
        at: In the queue, before it starts; when it starts to run; or after it was executed.
    """

    reason: str
    code: int
    at: Literal["queue", "start", "end"] = "start"


@dataclass
class Session:
    """One session; `mode` is `batch` for a batch.

    Attributes:
        remaining_s: Seconds until `max_ttl` has passed; None before the first job. Time is virtual:
            it passes when a test says so, see `Queue.pass_time`.
    """

    instance: str
    backend: str
    mode: str
    max_ttl_s: int
    id: str = field(default_factory=new_id)
    state: Literal["open", "active", "closed"] = "open"
    accepting_jobs: bool = True
    timestamps: list[tuple[str, datetime]] = field(default_factory=list)
    last_job_started: datetime | None = None
    last_job_completed: datetime | None = None
    usage_s: float | None = None
    remaining_s: float | None = None

    def __post_init__(self) -> None:
        self.timestamps.append(("open", now()))

    def enter(self, state: Literal["active", "closed"]) -> None:
        """Change the state, once."""
        if self.state not in (state, "closed"):
            self.state = state
            self.timestamps.append((state, now()))
        if state == "closed":
            self.accepting_jobs = False
        elif self.remaining_s is None:
            self.remaining_s = self.max_ttl_s

    def view(self) -> dict[str, Any]:
        """The reply to `POST /sessions` and `GET /sessions/{id}`."""
        entered = dict(self.timestamps)
        view = {
            "id": self.id,
            "backend_name": self.backend,
            "max_ttl": self.max_ttl_s,
            "active_ttl": self.max_ttl_s,
            "interactive_ttl": INTERACTIVE_TTL_S,
            "state": self.state,
            "accepting_jobs": self.accepting_jobs,
            "mode": self.mode,
            "timestamps": [
                {"status": status, "timestamp": stamp(moment)} for status, moment in self.timestamps
            ],
            "elapsed_time": self.usage_s,
            # A batch starts its clock with the first job, hence both are the same moment.
            "started_at": stamp(entered.get("active")),
            "activated_at": stamp(entered.get("active")),
            "closed_at": stamp(entered.get("closed")),
            "last_job_started": stamp(self.last_job_started),
            "last_job_completed": stamp(self.last_job_completed),
        }
        return {key: value for key, value in view.items() if value is not None}
