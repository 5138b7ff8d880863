"""One job of a local batch, from its submission to its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from qexp.core.model import FailureKind, JobOutcome, JobRequest, JobState, Span

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult


@dataclass(frozen=True)
class Simulated:
    """What the simulation of one job gives.

    Attributes:
        result: The job's result.
        executions: Circuit executions of each PUB.
        options: The primitive's options in force.
        backend_properties: The calibration that was simulated, or None.
        info: How it was simulated.
    """

    result: PrimitiveResult[Any]
    executions: tuple[int, ...]
    options: Mapping[str, Any]
    backend_properties: Mapping[str, Any] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


Simulate: TypeAlias = "Callable[[JobRequest], Simulated]"


@dataclass(eq=False)
class LocalJob:
    """A job of a local batch. Moments are in seconds since the epoch.

    Attributes:
        id: Its id.
        batch_id: That of its batch.
        request: What was submitted; None once the job has ended.
        partition: Index of its partition.
        created: When it was submitted.
        state: Its state.
        running: When it began to run, or None.
        finished: When it ended, or None.
        outcome: Its outcome, from its end until it is collected.
    """

    id: str
    batch_id: str
    request: JobRequest | None
    partition: int
    created: float
    state: JobState = "QUEUED"
    running: float | None = None
    finished: float | None = None
    outcome: JobOutcome | None = None

    def finish(
        self,
        at: float,
        *,
        failure: FailureKind | None = None,
        error: str | None = None,
        simulated: Simulated | None = None,
        usage_s: float = 0.0,
        span: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """End the job.

        Args:
            at: When it ended.
            failure: Why it has no result; None if it has one.
            error: The same in one line.
            simulated: What its simulation gave.
            usage_s: How long it was worked on, in seconds.
            span: When its PUBs were simulated.
        """
        request = self.request
        assert request is not None
        # The request holds on to the loader of the circuits.
        self.request = None
        self.finished = at
        self.state = _final_state(failure)
        start, stop = (timestamp(seconds) for seconds in span)
        self.outcome = JobOutcome(
            job_id=self.id,
            partition=self.partition,
            state=self.state,
            result=simulated.result if simulated else None,
            error=error,
            metrics={
                "timestamps": {
                    "created": timestamp_or_none(self.created),
                    "running": timestamp_or_none(self.running),
                    "finished": timestamp_or_none(self.finished),
                },
                "usage": {"qpu_charge_time_seconds": usage_s, "status": "complete"},
            },
            options=simulated.options if simulated else request.primitive.options,
            spans=tuple(
                Span(start, stop, pub, size)
                for pub, size in enumerate(simulated.executions if simulated else ())
            ),
            backend_properties=simulated.backend_properties if simulated else None,
            info={
                "primitive": request.primitive.kind,
                "implementation": request.primitive.implementation,
                "tags": list(request.tags),
                "seed": request.seed,
                **(simulated.info if simulated else {}),
            },
            failure=failure,
            attempt=request.attempt,
            batch_id=self.batch_id,
        )


def timestamp(seconds: float) -> str:
    """A moment in seconds since the epoch as ISO 8601 UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def timestamp_or_none(seconds: float | None) -> str | None:
    """The same, or None where there was no such moment."""
    return None if seconds is None else timestamp(seconds)


def _final_state(failure: FailureKind | None) -> JobState:
    if failure is None:
        return "DONE"
    return "CANCELLED" if failure == "cancelled" else "ERROR"
