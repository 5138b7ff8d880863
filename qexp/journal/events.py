"""The events of a journal, one class for each kind of line.

Pure: `qexp.journal.file` writes and reads the file, `qexp.journal.ledger` has what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qexp.core.model import FailureKind, JobState, RunStatus

UNKNOWN = -1
"""The `offset` of an attempt of which a repair does not know the place in its job."""


class Event:
    """One line of a journal; its class name in snake case is the event's name in the file.

    A keyword-only field is written where it differs from its default. So earlier versions, which
    did not have it, wrote the same lines.
    """


@dataclass(frozen=True)
class Started(Event):
    """The experiment begins; nothing is planned yet."""

    host: str
    pid: int
    version: str


@dataclass(frozen=True)
class Planned(Event):
    """The plan of a point is complete and on disk.

    `parts` has the SHA-256 of each partition's part. Partitions are numbered through the
    experiment, in the order of these lines; `first` is the number of the first one.
    """

    parts: tuple[str, ...]
    point: int = field(default=0, kw_only=True)
    first: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Unplanned(Event):
    """A point of a sweep cannot run as declared, because of `reason`; the others go on."""

    point: int
    reason: str
    exit_code: int


@dataclass(frozen=True)
class Resumed(Event):
    """Another process (`pid` on `host`) resumes the experiment; `anew` has its budget, if given."""

    host: str
    pid: int
    version: str
    anew: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class BatchOpened(Event):
    """A batch exists; `follows` is the one before it.

    The token is random. That of the first batch is part of every attempt's tag, so that no other
    folder has the same ones. A foreign batch was opened by another copy of this folder, and found
    by its jobs; it has no token. `point` is the first of those points that share its backend.
    """

    batch: str
    token: str
    follows: str | None = None
    max_time_s: int | None = None
    is_foreign: bool = field(default=False, kw_only=True)
    point: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Cut(Event):
    """From now on, the PUBs of a partition are run in pieces.

    `bounds` are the first PUB of each piece, in order, and one more than the last PUB of all.
    """

    partition: int
    bounds: tuple[int, ...]


@dataclass(frozen=True)
class Submitting(Event):
    """A job is about to be submitted; from now on, a job with `tag` may exist.

    It holds the PUBs `first <= index < stop` of the partition, all of them where that is None, from
    the PUB number `offset` of the job on. A job that partitions share has such a line of each, with
    one tag.
    """

    partition: int
    attempt: int
    batch: str
    tag: str
    first: int | None = field(default=None, kw_only=True)
    stop: int | None = field(default=None, kw_only=True)
    offset: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Adopted(Event):
    """A job that this folder had not noted was found on the service: an attempt like any other.

    A second job of an attempt, one that another copy of this folder submitted, or one whose lines
    were lost. The PUBs of this attempt begin at the PUB number `offset` of the job.
    """

    partition: int
    attempt: int
    batch: str
    tag: str
    job: str
    first: int | None = field(default=None, kw_only=True)
    stop: int | None = field(default=None, kw_only=True)
    offset: int = field(default=0, kw_only=True)


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
    """A second job with PUBs for which there is one; `action` says what was done with it."""

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
class Cancelled(Event):
    """The user cancels the experiment: what is queued is cancelled, and nothing more submitted."""


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
