"""Repair of a damaged journal: what is readable stays, and what is missing is rebuilt.

A line with one flipped bit is corrected. What a lost line said follows from the others, from the
run's parts, or from the service, which `qexp.batch.recover` asks for everything that carries the
run's tag before anything is submitted. A lost line of each kind:

- `started`, `resumed`, `batch_closed`, `ended`, `sealed`, `interrupted`, `duplicate`: nothing rests
  on it; a batch is closed once more, a duplicate is found once more.
- `planned`: the digests of the parts of the plan are computed again, if a batch was opened. If none
  was, the run is planned anew.
- `batch_opened`: the id is in other lines and in the parts. The token is lost; without that of the
  first batch, jobs are recognised by what their tags say of their PUBs.
- `submitting`: the attempt begins with the next line of it, or with its outcome on disk. If there
  is neither, its job is found by the tag of the run.
- `submitted`: the job is in a later line, on disk, or found by the tag of the attempt.
- `cut`: follows from the pieces that were submitted or adopted; others are cut again.
- `adopted`: its job is found once more, unless a later line has the attempt.
- `collected`, `not_submitted`: the attempt is open, until its outcome on disk or the service closes
  it (`qexp.batch.recover`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from qexp.archive.atomic_files import DamagedFileError, check_digest, matches_crc32, replacing
from qexp.archive.parts import StoredParts, first_row, read_json
from qexp.archive.schema import JOBS, JOURNAL_NAME, PARTITIONS
from qexp.errors import ArchiveError
from qexp.journal.events import (
    Adopted,
    BatchClosed,
    BatchOpened,
    Collected,
    Cut,
    Duplicate,
    Ended,
    Event,
    Interrupted,
    NotSubmitted,
    Planned,
    Repaired,
    Sealed,
    Submitted,
    Submitting,
)
from qexp.journal.file import line_of, read_event
from qexp.journal.ledger import Attempt, Ledger, attempt_tag
from qexp.journal.lock import lock_folder

_LONGEST_TO_CORRECT = 4096
"""Bytes of a line; one with more is the plan, which can be rebuilt from its parts."""

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Stored:
    """The part of a journal's content that the parts of its run tell.

    Attributes:
        parts: SHA-256 of the part of each partition; None for one that is damaged or missing.
        batches: Id of each batch, in order -> id of the one before it, or None.
        outcomes: (partition, attempt) -> ids of the job, `""` for none, and of the batch.
        pubs: Partition -> its first PUB, and one more than its last.
    """

    parts: tuple[str | None, ...] = ()
    batches: Mapping[str, str | None] = field(default_factory=dict)
    outcomes: Mapping[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    pubs: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def repair_journal(folder: Path) -> str | None:
    """Repair the journal of a run that no process works on, and keep a copy of the damaged one.

    Args:
        folder: The run's folder.

    Returns:
        One line that says what was done, or None if nothing was damaged.

    Raises:
        RunLockedError: A process works on the run.
        ArchiveError: It cannot be repaired, or not be written.
    """
    path = folder / JOURNAL_NAME
    with lock_folder(folder):
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
        lines = repaired(raw, stored_in(folder), path)
        if lines is None:
            return None
        copy = _free_name(path)
        content = (line + b"\n" if isinstance(line, bytes) else line_of(line) for line in lines)
        _write(copy, raw)
        _write(path, b"".join(content))
    done = lines[-1]
    assert isinstance(done, Repaired)
    shown = (
        (*done.assumed[:_MOST_SHOWN], "...") if len(done.assumed) > _MOST_SHOWN else done.assumed
    )
    return (
        f"{path} is repaired; lines that could not be read: {done.lost}, with one flipped bit that "
        f"was corrected: {done.corrected}; assumed: {', '.join(shown) or 'nothing'}; the damaged "
        f"journal is kept as {copy.name}"
    )


def _free_name(path: Path) -> Path:
    first = path.with_name(path.name + ".damaged")
    numbered = (path.with_name(f"{first.name}-{number}") for number in count(2))
    return next(name for name in chain([first], numbered) if not name.exists())


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def stored_in(folder: Path) -> Stored:
    """Read what the parts of a run tell of its journal. Parts that are damaged tell nothing."""
    stored = StoredParts(folder)
    paths = stored.numbered("partition")
    parts: list[str | None] = [None] * (max((number for (number,) in paths), default=-1) + 1)
    pubs: dict[int, tuple[int, int]] = {}
    for (number,), path in paths.items():
        with suppress(ArchiveError):
            parts[number] = check_digest(path)
            row = first_row(path, PARTITIONS.path, is_checked=True)
            pubs[number] = int(row["first"]), int(row["stop"])
    batches, outcomes = {}, {}
    for path in stored.numbered("batch").values():
        with suppress(DamagedFileError):
            batch = read_json(path)
            batches[batch["id"]] = batch["follows"]
    for (partition, attempt), path in stored.numbered("job").items():
        with suppress(DamagedFileError):
            row = first_row(path, JOBS.path)
            outcomes[partition, attempt] = (row["job_id"], row["batch_id"])
    return Stored(tuple(parts), batches, outcomes, pubs)


def repaired(raw: bytes, stored: Stored, path: Path) -> list[bytes | Event] | None:
    """Return the lines of a repaired journal.

    Args:
        raw: Content of the damaged one.
        stored: What is on disk besides it.
        path: Where it is, for messages.

    Returns:
        Lines that were read, as they are, without their ends; events that were rebuilt; and last,
        a `Repaired` event. None if nothing is missing or damaged.

    Raises:
        ArchiveError: A line is of a newer version of qexp, or the plan cannot be rebuilt.
    """
    lines, lost, corrected = _readable(raw)
    try:
        events = [read_event(line) for line in lines]
    except ValueError as error:
        raise ArchiveError(
            f"{path}: {error}; repair it with the version that the run was made with"
        ) from None
    rebuilt = _Rebuilt(stored, _batches_in_order(events, stored), path)
    for line, event in zip(lines, events, strict=True):
        rebuilt.prepare(event)
        rebuilt.add(event, line)
    rebuilt.add_stored()
    if not (lost or corrected or rebuilt.assumed):
        return None
    rebuilt.add(Repaired(lost, corrected, tuple(rebuilt.assumed)))
    return rebuilt.lines


class _Rebuilt:
    """A journal in the making: each event after those that it rests on."""

    def __init__(self, stored: Stored, batches: Sequence[str], path: Path) -> None:
        self.lines: list[bytes | Event] = []
        self.assumed: list[str] = []
        self._stored = stored
        self._batches = batches
        self._path = path
        self._ledger = Ledger()

    def add(self, event: Event, line: bytes | None = None) -> None:
        """Add an event, with its line if that was read."""
        self._ledger.apply(event)
        self.lines.append(event if line is None else line)

    def prepare(self, event: Event) -> None:
        """Add what an event rests on, where no line has it."""
        match event:
            case BatchOpened(batch):
                self._plan()
                self._open(batch, including=False)
            case BatchClosed(batch):
                self._open(batch)
            case Submitting(partition, number, batch) | Adopted(partition, number, batch):
                self._open(batch)
                self._begin(partition, number - 1)
                self._cut(partition, event.first, event.stop)
            case Submitted(partition, number, batch):
                self._open(batch)
                self._begin(partition, number, batch)
            case NotSubmitted(partition, number):
                self._begin(partition, number)
            case Collected(partition, number, job):
                self._begin(partition, number)
                self._note_job(partition, number, job)
            case Duplicate(partition, number, _, kept):
                self._begin(partition, number)
                if all(kept != one.job for one in self._ledger.attempts[partition]):
                    self._note_job(partition, number, kept)
            case Ended() | Interrupted() | Sealed():
                self._plan()

    def add_stored(self) -> None:
        """Add what only the parts have."""
        for batch in self._batches:
            self._open(batch)
        for (partition, number), (job, batch) in self._stored.outcomes.items():
            self._begin(partition, number, batch)
            if job:
                self._note_job(partition, number, job)

    def _assume(self, event: Event, text: str) -> None:
        self.assumed.append(text)
        self.add(event)

    def _plan(self) -> None:
        if self._ledger.committed is not None:
            return
        parts = tuple(part for part in self._stored.parts if part is not None)
        if not parts or len(parts) < len(self._stored.parts):
            raise ArchiveError(
                f"{self._path}: the line of the plan is lost, and parts of the plan are missing or "
                f"damaged; restore the run's folder from a copy"
            )
        self._assume(Planned(parts), f"the plan has the {len(parts)} partitions that are on disk")

    def _open(self, batch: str, *, including: bool = True) -> None:
        """Open a batch, and those before it, as far as they are not open."""
        self._plan()
        end = self._batches.index(batch) + including
        opened = {one.batch for one in self._ledger.batches}
        for one in self._batches[:end]:
            if one not in opened:
                before = self._ledger.batches[-1].batch if self._ledger.batches else None
                self._assume(BatchOpened(one, "", before), f"batch {one} was opened; no token")

    def _begin(self, partition: int, number: int, batch: str = "") -> None:
        """Begin attempts of a partition up to a number."""
        self._plan()
        if partition >= self._ledger.num_partitions:
            raise ArchiveError(
                f"{self._path}: partition {partition} is in a line, but not in the plan; restore "
                f"the run's folder from a copy"
            )
        begun = len(self._ledger.attempts.get(partition, ()))
        for missing in range(begun + 1, number + 1):
            known = self._stored.outcomes.get((partition, missing), ("", ""))[1]
            where = known or (batch if missing == number else "") or self._last_batch()
            self._open(where)
            tag = self._tag(partition, missing)
            self._assume(
                Submitting(partition, missing, where, tag),
                f"attempt {missing} of partition {partition} was submitted to batch {where}",
            )

    def _cut(self, partition: int, first: int | None, stop: int | None) -> None:
        """Cut a partition where an attempt has only some of its PUBs."""
        if first is None or stop is None:
            return
        before = self._ledger.cuts.get(partition, self._stored.pubs.get(partition, ()))
        if partition not in self._ledger.cuts or not {first, stop} <= set(before):
            bounds = tuple(sorted({*before, first, stop}))
            shown = ", ".join(map(str, bounds))
            self._assume(
                Cut(partition, bounds), f"partition {partition} was cut before PUBs {shown}"
            )

    def _note_job(self, partition: int, number: int, job: str) -> None:
        attempt: Attempt = self._ledger.attempts[partition][number - 1]
        if attempt.job is None and not attempt.is_over:
            self._assume(
                Submitted(partition, number, attempt.batch, job, adopted=True),
                f"attempt {number} of partition {partition} is job {job}",
            )

    def _last_batch(self) -> str:
        if self._ledger.batches:
            return self._ledger.batches[-1].batch
        if self._batches:
            return self._batches[0]
        raise ArchiveError(
            f"{self._path}: jobs were submitted, and nothing says to which batch; restore the "
            f"run's folder from a copy"
        )

    def _tag(self, partition: int, number: int) -> str:
        """Return the tag of an attempt; `""` if the token is lost."""
        token = self._ledger.token
        if not token:
            return ""
        return attempt_tag(token, self._ledger.part_digests[partition], partition, number)


def _batches_in_order(events: Sequence[Event], stored: Stored) -> list[str]:
    """Return the ids of all batches that a line or a part names, in the order of their opening."""
    order: list[str] = []
    for event in events:
        named = [getattr(event, name, None) for name in ("follows", "batch")]
        order += [batch for batch in named if batch and batch not in order]
    for batch, follows in stored.batches.items():
        if batch not in order:
            order.insert(order.index(follows) + 1 if follows in order else 0, batch)
    submitted_to = (batch for _, batch in stored.outcomes.values())
    return list(dict.fromkeys(filter(None, (*order, *submitted_to))))


def _readable(raw: bytes) -> tuple[list[bytes], int, int]:
    """Return the lines that can be read, and how many are lost, and were corrected.

    A last line without an end was never relied upon: it counts as neither.
    """
    pieces = raw.split(b"\n")
    lines: list[bytes] = []
    lost = corrected = number = 0
    while number < len(pieces):
        piece = pieces[number]
        number += 1
        if matches_crc32(piece):
            lines.append(piece)
        elif right := next(_corrections(piece), None):
            lines += right
            corrected += 1
        elif number < len(pieces) and (joined := next(_joined(piece, pieces[number]), None)):
            lines.append(joined)
            corrected += 1
            number += 1
        else:
            lost += number < len(pieces)
    return lines, lost, corrected


def _corrections(piece: bytes) -> Iterator[list[bytes]]:
    """Yield the line, or the two lines, of which a piece is the same with one flipped bit."""
    if len(piece) > _LONGEST_TO_CORRECT:
        return
    line = bytearray(piece)
    for position in range(len(line)):
        for bit in range(8):
            line[position] ^= 1 << bit
            parts = [part for part in bytes(line).split(b"\n") if part]
            if parts and all(_is_event(part) for part in parts):
                yield parts
            line[position] ^= 1 << bit


def _joined(piece: bytes, following: bytes) -> Iterator[bytes]:
    """Yield the line that two pieces are if one flipped bit made an end of a line in it."""
    for bit in range(8):
        line = piece + bytes([ord("\n") ^ (1 << bit)]) + following
        if _is_event(line):
            yield line


def _is_event(line: bytes) -> bool:
    if not matches_crc32(line):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
