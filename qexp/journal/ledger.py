"""The state of every partition, which follows from the events of a journal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import chain, pairwise

from qexp.core.model import FINAL_FAILURES, JOB_TAG, FailureKind, JobState, RunStatus
from qexp.core.spec import ExecutionPolicy
from qexp.journal.events import (
    Adopted,
    BatchClosed,
    BatchOpened,
    Cancelled,
    Collected,
    Cut,
    Duplicate,
    Ended,
    Event,
    NotSubmitted,
    Planned,
    Resumed,
    Submitted,
    Submitting,
    Unplanned,
)

_DIGEST_LENGTH = 16


def attempt_tag(token: str, sha256: str, partition: int, number: int) -> str:
    """Return the tag of one attempt of a partition.

    It has a digest of the experiment's token and of the partition's part, so that neither another
    experiment of the same name nor a partition with other circuits has the same one.
    """
    digest = hashlib.sha256(f"{token}:{sha256}".encode("ascii")).hexdigest()
    return f"{JOB_TAG}{partition}.{number}:{digest[:_DIGEST_LENGTH]}"


@dataclass(frozen=True)
class Piece:
    """PUBs `first <= index < stop` of a partition, all of them where that is None."""

    partition: int
    first: int | None = None
    stop: int | None = None

    def is_part_of(self, other: Piece) -> bool:
        """Return True if another piece has all PUBs of this one."""
        if other.first is None or other.stop is None:
            return True
        if self.first is None or self.stop is None:
            return False
        return other.first <= self.first and self.stop <= other.stop


@dataclass
class Attempt:
    """One attempt to run a partition, or a piece of it."""

    partition: int
    number: int  # from 1
    batch: str  # id of the batch that it was submitted to
    tag: str  # the tag that only its job has
    process_number: int  # of the process that began it: 0 started the experiment; -1: it was found
    first: int | None = None  # its PUBs, `first <= index < stop`; None: those of the partition
    stop: int | None = None
    offset: int = 0  # position of its first PUB in the job
    job: str | None = None  # None while it is unknown or does not exist
    state: JobState | None = None  # its final state
    failure: FailureKind | None = None  # the reason why it has no result

    @property
    def piece(self) -> Piece:
        """Its PUBs."""
        return Piece(self.partition, self.first, self.stop)

    @property
    def is_adopted(self) -> bool:
        """True if its job was found on the service, and no line said that it was submitted."""
        return self.process_number < 0

    @property
    def is_over(self) -> bool:
        """True if nothing more is expected of it: it has an outcome on disk, or no job."""
        return self.state is not None or self.failure is not None

    @property
    def holds_result(self) -> bool:
        """True if its PUBs have their result from its job."""
        return self.state == "DONE"


@dataclass
class Ledger:
    """The state of an experiment, derived from its events."""

    planned: dict[int, Planned] = field(default_factory=dict)  # by point, in the order of the plan
    unplanned: dict[int, Unplanned] = field(default_factory=dict)  # points that cannot run
    part_digests: list[str] = field(default_factory=list)  # SHA-256 of each partition's part
    batches: list[BatchOpened] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)  # ids of batches
    duplicates: set[str] = field(default_factory=set)  # ids of jobs that were not needed
    cuts: dict[int, tuple[int, ...]] = field(default_factory=dict)  # partition -> bounds of pieces
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)  # by partition, in order
    _by_job: dict[str, list[Attempt]] = field(default_factory=dict)
    _ranges: dict[int, range] = field(default_factory=dict)  # point -> its partitions
    process_number: int = 0  # number of times that the experiment was resumed
    batches_of_process: int = 0  # number of batches that the present process opened
    ended: RunStatus | None = None  # None while something is left to do
    anew: tuple[str, ...] = ()  # the budget that it was given last when it was resumed
    is_cancelled: bool = False  # by the user, since the last batch was opened

    def apply(self, event: Event) -> None:
        """Update the state by one event.

        Raises:
            ValueError: The event belongs to an attempt that was never begun, or a line of the plan
                before it is lost.
        """
        match event:
            case Planned() | Unplanned():
                self._plan(event)
            case Resumed():
                self.process_number += 1
                self.batches_of_process = 0
                self.ended = None
                self.anew = event.anew or self.anew
            case BatchOpened():
                self.batches.append(event)
                self.batches_of_process += not event.is_foreign
                self.is_cancelled = False
            case Cancelled():
                self.is_cancelled = True
            case Cut():
                self.cuts[event.partition] = event.bounds
            case Submitting() | Adopted():
                self._begin(event)
            case Submitted():
                attempt = self._attempt(event)
                self._give(attempt, event.job)
                attempt.state = attempt.failure = None
            case NotSubmitted():
                attempt = self._attempt(event)
                attempt.state, attempt.failure = None, event.failure
            case Collected():
                attempt = self._attempt(event)
                attempt.state, attempt.failure = event.state, event.failure
            case BatchClosed():
                self.closed.add(event.batch)
            case Duplicate():
                self.duplicates.add(event.job)
            case Ended():
                self.ended = event.status

    @property
    def token(self) -> str:
        """The random part of the tags of all attempts; `""` before the first batch.

        It is `""` also where the line of the first batch was lost.
        """
        return next((opened.token for opened in self.batches if not opened.is_foreign), "")

    def partitions_of(self, point: int) -> range:
        """Return the indices of the partitions of a point; empty before it is planned."""
        return self._ranges.get(point, range(0))

    @property
    def num_partitions(self) -> int:
        """Number of partitions of the committed plan."""
        return len(self.part_digests)

    @property
    def done(self) -> set[int]:
        """Partitions that have a result for every PUB."""
        return {partition for partition in self.attempts if self.has_result(Piece(partition))}

    @property
    def own_batches(self) -> list[str]:
        """Ids of the batches that processes in this folder opened, in order."""
        return [opened.batch for opened in self.batches if not opened.is_foreign]

    @property
    def unclosed_batches(self) -> list[str]:
        """Ids of those of them that no process has closed."""
        return [batch for batch in self.own_batches if batch not in self.closed]

    def point_of(self, batch: str) -> int:
        """Return a point that a batch is for; by its attempts, as a repaired line says nothing."""
        held = next((one.partition for one in self.all_attempts() if one.batch == batch), -1)
        opened = (one.point for one in self.batches if one.batch == batch)
        own = (point for point, indices in self._ranges.items() if held in indices)
        return next(chain(own, opened), 0)

    def pieces(self, partition: int) -> list[Piece]:
        """Return the pieces in which a partition is run: one, unless it was cut."""
        bounds = self.cuts.get(partition)
        if bounds is None:
            return [Piece(partition)]
        return [Piece(partition, first, stop) for first, stop in pairwise(bounds)]

    def pieces_of(self, whole: Piece) -> list[Piece]:
        """Return the pieces that the PUBs of a partition, or a former piece of it, are now in."""
        pieces = self.pieces(whole.partition)
        # As long as a partition is not cut, nothing has only some of its PUBs.
        return pieces if len(pieces) == 1 else [one for one in pieces if one.is_part_of(whole)]

    def attempts_of(self, piece: Piece) -> list[Attempt]:
        """Return the attempts to run a piece, alone or with other PUBs, in order."""
        attempts = self.attempts.get(piece.partition, ())
        return [one for one in attempts if piece.is_part_of(one.piece)]

    def attempts_with(self, job_id: str) -> list[Attempt]:
        """Return the attempts that share a job, in the order of their PUBs in it."""
        return sorted(self._by_job.get(job_id, ()), key=lambda attempt: attempt.offset)

    def has_result(self, whole: Piece) -> bool:
        """Return True if every PUB of a piece has a result."""
        return all(
            any(attempt.holds_result for attempt in self.attempts_of(piece))
            for piece in self.pieces_of(whole)
        )

    def open_attempts(self, partitions: range | None = None) -> list[Attempt]:
        """Return the attempts whose job is in flight, or may exist, of some partitions or all."""
        return [attempt for attempt in self.all_attempts(partitions) if not attempt.is_over]

    def all_attempts(self, partitions: range | None = None) -> list[Attempt]:
        """Return every attempt, by partition, of some partitions or of all."""
        each = self.attempts if partitions is None else partitions
        return [attempt for index in each for attempt in self.attempts.get(index, ())]

    def job_of(self, piece: Piece) -> str | None:
        """Return the job that has given a piece's result, or may still do so, or None."""
        for attempt in self.attempts_of(piece):
            if attempt.job is not None and (attempt.holds_result or not attempt.is_over):
                return attempt.job
        return None

    def is_spare(self, job_id: str) -> bool:
        """Return True if another job, begun earlier, gives each result that a job may give."""
        pieces = [
            piece for one in self.attempts_with(job_id) for piece in self.pieces_of(one.piece)
        ]
        return bool(pieces) and all(self.job_of(one) not in (None, job_id) for one in pieces)

    def next_number(self, partition: int) -> int:
        """Return the number of a partition's next attempt, from 1."""
        return len(self.attempts.get(partition, ())) + 1

    def wanted(self, policy: ExecutionPolicy, partitions: range | None = None) -> list[Piece]:
        """Return the pieces to submit now, in order, of some partitions or of all."""
        each = range(self.num_partitions) if partitions is None else partitions
        pieces = (piece for index in each for piece in self.pieces(index))
        return [piece for piece in pieces if self.is_wanted(piece, policy)]

    def is_wanted(self, piece: Piece, policy: ExecutionPolicy) -> bool:
        """Return True if a piece is to be submitted now.

        A piece that failed in an earlier process is tried again, unless the service refused it: it
        would be refused again, unless `execution.retry_refused` says that the service may have
        changed its mind. Failures in this process are judged by
        `ExecutionPolicy.allows_again`; `qexp.batch.execute` limits the number of batches.
        """
        tried = self.attempts_of(piece)
        if any(not attempt.is_over or attempt.holds_result for attempt in tried):
            return False
        failures = self.failures_of(piece)
        recent = [kind for number, kind in failures if number == self.process_number]
        if recent:
            return policy.allows_again(recent)
        return not failures or failures[-1][1] not in FINAL_FAILURES or policy.retry_refused

    def failures_of(self, piece: Piece) -> list[tuple[int, FailureKind]]:
        """Return the number of the process and the kind of each failure of just these PUBs."""
        return [
            (attempt.process_number, attempt.failure or "internal")
            for attempt in self.attempts.get(piece.partition, ())
            if attempt.piece == piece and attempt.is_over and attempt.failure != "duplicate"
        ]

    def _plan(self, event: Planned | Unplanned) -> None:
        if isinstance(event, Unplanned):
            self.unplanned[event.point] = event
            return
        first = self.num_partitions
        if event.first != first:
            raise ValueError(f"point {event.point} was planned after a point that no line has")
        self.ended = None
        self.planned[event.point] = event
        self.unplanned.pop(event.point, None)
        self._ranges[event.point] = range(first, first + len(event.parts))
        self.part_digests += event.parts

    def _begin(self, event: Submitting | Adopted) -> None:
        attempts = self.attempts.setdefault(event.partition, [])
        attempts.append(
            Attempt(
                event.partition,
                len(attempts) + 1,
                event.batch,
                event.tag,
                self.process_number,
                event.first,
                event.stop,
                event.offset,
            )
        )
        if isinstance(event, Adopted):
            self._give(attempts[-1], event.job)
            # Its failure does not count as one of this process.
            attempts[-1].process_number = -1

    def _give(self, attempt: Attempt, job_id: str) -> None:
        if attempt.job is None:
            self._by_job.setdefault(job_id, []).append(attempt)
        attempt.job = job_id

    def _attempt(self, event: Submitted | NotSubmitted | Collected) -> Attempt:
        attempts = self.attempts.get(event.partition, [])
        if not 1 <= event.attempt <= len(attempts):
            raise ValueError(
                f"attempt {event.attempt} of partition {event.partition} was never begun"
            )
        return attempts[event.attempt - 1]
