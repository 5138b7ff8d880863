"""The events of a journal, and the state of every partition that follows from them.

Pure: `qexp.journal.file` writes and reads the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qexp.core.model import FailureKind, JobState, RunStatus
from qexp.core.spec import ExecutionPolicy


class Event:
    """One line of a journal; its class name in snake case is the event's name in the file."""


@dataclass(frozen=True)
class Started(Event):
    """The experiment begins; nothing is planned yet."""

    host: str
    pid: int
    version: str


@dataclass(frozen=True)
class Planned(Event):
    """The plan is complete and on disk; `parts` has the SHA-256 of each partition's part."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Resumed(Event):
    """Another process (`pid` on `host`) resumes the experiment."""

    host: str
    pid: int
    version: str


@dataclass(frozen=True)
class BatchOpened(Event):
    """A batch exists; `follows` is the one before it.

    The token is random. That of the first batch is part of every job's tag, so that no other
    experiment has the same tags, not even one that is resumed from a copy of the same plan.
    """

    batch: str
    token: str
    follows: str | None = None
    max_time_s: int | None = None


@dataclass(frozen=True)
class Submitting(Event):
    """A job is about to be submitted; from now on, a job with `tag` may exist."""

    partition: int
    attempt: int
    batch: str
    tag: str


@dataclass(frozen=True)
class Submitted(Event):
    """The job exists.

    `adopted` is True if the id is not from the reply to a submission: the job was found on the
    service, or it is to be collected again.
    """

    partition: int
    attempt: int
    batch: str
    job: str
    adopted: bool = False


@dataclass(frozen=True)
class NotSubmitted(Event):
    """The attempt ended without a job: none was accepted, or the service no longer has it."""

    partition: int
    attempt: int
    reason: str
    failure: FailureKind


@dataclass(frozen=True)
class Collected(Event):
    """The attempt's outcome is on disk."""

    partition: int
    attempt: int
    job: str
    state: JobState
    failure: FailureKind | None = None


@dataclass(frozen=True)
class Duplicate(Event):
    """A second job of an attempt that has one; `action` says what was done with it."""

    partition: int
    attempt: int
    job: str
    kept: str
    action: str


@dataclass(frozen=True)
class BatchClosed(Event):
    """The batch accepts no more jobs."""

    batch: str


@dataclass(frozen=True)
class Interrupted(Event):
    """The process stopped early because of `reason`, a signal or an error; work may be left."""

    reason: str


@dataclass(frozen=True)
class Ended(Event):
    """Nothing is left to submit or to collect."""

    status: RunStatus


@dataclass(frozen=True)
class Sealed(Event):
    """The archive is complete and durable."""

    status: RunStatus


@dataclass(frozen=True)
class Repaired(Event):
    """The journal was repaired at this line, which stands for lines that could not be read.

    `lost` lines were left out, `corrected` ones had one flipped bit, and each of `assumed` says in
    English what a line before it, which the repair wrote, rests on.
    """

    lost: int
    corrected: int
    assumed: tuple[str, ...] = ()


@dataclass
class Attempt:
    """One attempt to run a partition."""

    partition: int
    number: int  # from 1
    batch: str  # id of the batch that it was submitted to
    tag: str  # the tag that only its job has
    process_number: int  # of the process that began it; 0 started the experiment, 1 resumed it
    job: str | None = None  # None while it is unknown or does not exist
    state: JobState | None = None  # its final state
    failure: FailureKind | None = None  # the reason why it has no result

    @property
    def is_over(self) -> bool:
        """True if nothing more is expected of it: it has an outcome on disk, or no job."""
        return self.state is not None or self.failure is not None


@dataclass
class Ledger:
    """The state of an experiment, derived from its events."""

    committed: Planned | None = None  # None until the plan is committed
    batches: list[BatchOpened] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)  # ids of batches
    duplicates: set[str] = field(default_factory=set)  # ids of jobs besides an attempt's own
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)  # by partition, in order
    process_number: int = 0  # number of times that the experiment was resumed
    batches_of_process: int = 0  # number of batches that the present process opened
    ended: RunStatus | None = None  # None while something is left to do

    def apply(self, event: Event) -> None:
        """Update the state by one event.

        Raises:
            ValueError: The event belongs to an attempt that was never begun.
        """
        match event:
            case Planned():
                self.committed = event
            case Resumed():
                self.process_number += 1
                self.batches_of_process = 0
                self.ended = None
            case BatchOpened():
                self.batches.append(event)
                self.batches_of_process += 1
            case Submitting(partition, number, batch, tag):
                attempt = Attempt(partition, number, batch, tag, self.process_number)
                self.attempts.setdefault(partition, []).append(attempt)
            case Submitted():
                attempt = self._attempt(event)
                attempt.job, attempt.state, attempt.failure = event.job, None, None
            case NotSubmitted():
                self._attempt(event).failure = event.failure
            case Collected():
                attempt = self._attempt(event)
                attempt.state, attempt.failure = event.state, event.failure
            case BatchClosed():
                self.closed.add(event.batch)
            case Duplicate():
                self.duplicates.add(event.job)
            case Ended():
                self.ended = event.status
            case Started() | Interrupted() | Sealed() | Repaired():
                pass

    @property
    def token(self) -> str:
        """The random part of the tags of all jobs; `""` before the first batch."""
        return self.batches[0].token if self.batches else ""

    @property
    def part_digests(self) -> tuple[str, ...]:
        """SHA-256 of the part of each partition of the committed plan."""
        return self.committed.parts if self.committed else ()

    @property
    def num_partitions(self) -> int:
        """Number of partitions of the committed plan."""
        return len(self.part_digests)

    @property
    def done(self) -> set[int]:
        """Partitions that have a result."""
        return {attempt.partition for attempt in self.all_attempts() if attempt.state == "DONE"}

    def open_attempts(self) -> list[Attempt]:
        """Return the attempts whose job is in flight, or may exist on the service."""
        return [attempt for attempt in self.all_attempts() if not attempt.is_over]

    def all_attempts(self) -> list[Attempt]:
        """Return every attempt, by partition."""
        return [attempt for attempts in self.attempts.values() for attempt in attempts]

    def job_of(self, partition: int) -> str | None:
        """Return the job that has given a partition's result, or may still do so, or None."""
        for attempt in self.attempts.get(partition, ()):
            if attempt.job is not None and (attempt.state == "DONE" or not attempt.is_over):
                return attempt.job
        return None

    def next_number(self, partition: int) -> int:
        """Return the number of a partition's next attempt, from 1."""
        return len(self.attempts.get(partition, ())) + 1

    def wanted(self, policy: ExecutionPolicy) -> list[int]:
        """Return the partitions to submit now, in order."""
        return [index for index in range(self.num_partitions) if self.is_wanted(index, policy)]

    def is_wanted(self, partition: int, policy: ExecutionPolicy) -> bool:
        """Return True if a partition is to be submitted now.

        A partition that failed in an earlier process is tried again, unless the service refused
        it: the plan is fixed, so it would be refused again. Failures in this process are judged by
        `ExecutionPolicy.allows_again`; `qexp.batch.execute` limits the number of batches.
        """
        attempts = self.attempts.get(partition, [])
        if any(not attempt.is_over or attempt.state == "DONE" for attempt in attempts):
            return False
        failures = [
            one.failure or "internal"
            for one in attempts
            if one.process_number == self.process_number
        ]
        if failures:
            return policy.allows_again(failures)
        return not attempts or attempts[-1].failure != "refused"

    def _attempt(self, event: Submitted | NotSubmitted | Collected) -> Attempt:
        attempts = self.attempts.get(event.partition, [])
        if not 1 <= event.attempt <= len(attempts):
            raise ValueError(
                f"attempt {event.attempt} of partition {event.partition} was never begun"
            )
        return attempts[event.attempt - 1]
