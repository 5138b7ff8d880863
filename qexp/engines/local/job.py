"""One job of a local batch, from its submission to its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from qexp.core.model import FailureKind, JobOutcome, JobRequest, JobState, Span
from qexp.text import utc_text

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult


@dataclass(frozen=True)
class Simulated:
    """The simulation of one job.

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
        batch_id: The id of its batch.
        request: What was submitted; None once the job has ended.
        partition: Index of its partition.
        created: When it was submitted.
        state: Its state.
        running: When it began to run, or None.
        finished: When it ended, or None.
        usage_s: How long it ran, in seconds.
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
    usage_s: float = 0.0
    outcome: JobOutcome | None = None

    def finish(self, at: float, simulated: Simulated, span: tuple[float, float]) -> None:
        """End the job with a result.

        Args:
            at: When it ended.
            simulated: Its simulation.
            span: When its PUBs were simulated.
        """
        start, stop = (timestamp(seconds) for seconds in span)
        self._end(
            at,
            "DONE",
            result=simulated.result,
            options=simulated.options,
            spans=tuple(
                Span(start, stop, pub, size) for pub, size in enumerate(simulated.executions)
            ),
            backend_properties=simulated.backend_properties,
            info=simulated.info,
        )

    def fail(self, at: float, failure: FailureKind, error: str) -> None:
        """End the job without a result.

        Args:
            at: When it ended.
            failure: The kind of failure.
            error: The reason on one line.
        """
        state: JobState = "CANCELLED" if failure == "cancelled" else "ERROR"
        self._end(at, state, failure=failure, error=error)

    def _end(
        self,
        at: float,
        state: JobState,
        *,
        result: Any = None,
        info: Mapping[str, Any] | None = None,
        **known: Any,
    ) -> None:
        request = self.request
        assert request is not None
        # The request holds on to the loader of the circuits.
        self.request = None
        self.finished, self.state = at, state
        times = {"created": self.created, "running": self.running, "finished": at}
        self.outcome = JobOutcome(
            self.id,
            self.partition,
            state,
            result,
            metrics={
                "timestamps": {name: timestamp_or_none(time) for name, time in times.items()},
                "usage": {"qpu_charge_time_seconds": self.usage_s, "status": "complete"},
            },
            info={
                "primitive": request.primitive.kind,
                "implementation": request.primitive.implementation,
                "tags": list(request.tags),
                "seed": request.seed,
                **(info or {}),
            },
            attempt=request.attempt,
            batch_id=self.batch_id,
            **{"options": request.primitive.options, **known},
        )


def timestamp(seconds: float) -> str:
    """Format a moment in seconds since the epoch as ISO 8601 UTC."""
    return utc_text(datetime.fromtimestamp(seconds, UTC))


def timestamp_or_none(seconds: float | None) -> str | None:
    """Format a moment as `timestamp` does, or return None where there was no such moment."""
    return None if seconds is None else timestamp(seconds)
